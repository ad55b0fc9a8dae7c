"""The split keeps photographs and near-duplicates on one side, and bad tables are named."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import DATA
from scipy.optimize import linear_sum_assignment

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import CURVES, MIRROR_68, mirror_points
from trans3dhead_training.data.labels import (
    check_face,
    near_duplicates,
    photo_name,
    read_labels,
)

FACES = DATA / 'faces'
HEADER = ','.join(['file,source,split', *(f'x{i},y{i}' for i in range(68))])
needs_faces = pytest.mark.skipif(not (FACES / 'labels.csv').is_file(),
                                 reason=f'needs the photographs of {FACES} (TRANS3DHEAD_DATA)')


def noise(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    return cv2.resize(small, (96, 96), interpolation=cv2.INTER_CUBIC)


def write_table(folder: Path, rows: list[tuple[str, str, str, int]]) -> Path:
    """Rows of (file, source, split, seed of the picture)."""
    points = ','.join(f'{10 + i}.5,{20 + i % 7}' for i in range(68))
    lines = [HEADER]
    for file, source, split, seed in rows:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / file), noise(seed))
        lines.append(f'{file},{source},{split},{points}')
    (folder / 'labels.csv').write_text('\n'.join(lines) + '\n')
    return folder


def test_faces_of_one_photograph_share_their_side(tmp_path):
    rows = [(f'helen/train_{photo}_{face}.png', 'helen', 'train', photo * 10 + face)
            for photo in range(60) for face in (1, 2, 3)]
    sides: dict[str, set[bool]] = {}
    for record in read_labels(write_table(tmp_path, rows)):
        sides.setdefault(record.photo, set()).add(record.is_validation)
    assert len(sides) == 60 and all(len(side) == 1 for side in sides.values())
    assert {True} in sides.values() and {False} in sides.values()


def test_near_duplicates_share_their_side(tmp_path):
    # Forty pictures of one seed each have a twin under another name.
    rows = [(f'lfpw/train_image_{i:04d}.png', 'lfpw', 'train', i % 40) for i in range(80)]
    records = read_labels(write_table(tmp_path, rows))
    assert [r.is_validation for r in records[:40]] == [r.is_validation for r in records[40:]]
    assert len(near_duplicates([r.path for r in records])) == 40


def test_the_split_does_not_depend_on_the_rows_around(tmp_path):
    rows = [(f'afw/train_{i}_1.png', 'afw', 'train', i) for i in range(50)]
    whole = {r.file: r.is_validation for r in read_labels(write_table(tmp_path / 'a', rows))}
    part = {r.file: r.is_validation for r in read_labels(write_table(tmp_path / 'b', rows[::-2]))}
    assert part == {file: whole[file] for file in part}


def test_points_and_unlabelled_pictures(tmp_path):
    folder = write_table(tmp_path, [('helen/train_1_1.png', 'helen', 'train', 1)])
    with (folder / 'labels.csv').open('a') as file:
        nan = ','.join(['nan'] * 136)
        file.write(f'congress/unlabelled_A1.png,congress,unlabelled,{nan}\n')
    labelled, unlabelled = read_labels(folder)
    assert labelled.points.shape == (68, 2) and tuple(labelled.points[1]) == (11.5, 21.0)
    assert unlabelled.points is None and not unlabelled.is_validation


def test_names_of_photographs():
    assert photo_name('helen/train_100040721_2.jpg', 'helen') == 'helen/train_100040721'
    assert photo_name('lfpw/train_image_0001.jpg', 'lfpw') == 'lfpw/train_image_0001'
    for file in ('ytf/test_Kit_Bond_20.jpg', 'ytf/training_Kit_Bond_51.jpg'):
        assert photo_name(file, 'ytf') == 'ytf/Kit_Bond'


@pytest.mark.parametrize(('text', 'message'), [
    ('file,x0\n', 'does not start with the columns'),
    (HEADER + '\na.png,helen,train,1\n', 'line 2 has 4 columns'),
    (HEADER + '\na.png,own,train,' + ','.join(['x'] * 136) + '\n', 'line 2 contains something'),
    (HEADER + '\na.png,own,train,' + ','.join(['1'] * 135 + ['nan']) + '\n', 'only some'),
    (HEADER + '\na.png,helen,train,' + ','.join(['1'] * 136) + '\n', r'a\.png is missing'),
])
def test_a_bad_table_is_named(tmp_path, text, message):
    (tmp_path / 'labels.csv').write_text(text)
    with pytest.raises(ValueError, match=message):
        read_labels(tmp_path)


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-16-le', 'latin-1'])
def test_tables_of_spreadsheets_are_read_or_their_encoding_is_named(tmp_path, encoding):
    table = write_table(tmp_path, [('own/größe_1.png', 'own', 'test', 1)]) / 'labels.csv'
    table.write_bytes(table.read_text().encode(encoding))
    if encoding in ('utf-8-sig', 'utf-16'):
        (record,) = read_labels(tmp_path)
        assert record.file == 'own/größe_1.png' and record.points[0, 0] == 10.5
    else:
        with pytest.raises(UserError, match=r'labels\.csv is .*UTF-16.* save it as "CSV UTF-8"'):
            read_labels(tmp_path)


@pytest.mark.parametrize(('change', 'message'), [
    (lambda text: text.replace(',', ';'), 'has semicolons between its columns'),
    (lambda text: text.replace(',', ';').replace('.5', ',5'), 'has semicolons .* not commas'),
    (lambda text: text.replace(',', '\t'), 'has tabs between its columns'),
    (lambda text: text.replace('10.5', '"10,5"'), 'line 2 has decimal commas'),
    (lambda text: text + '"', 'line 2|not a table'),
    (lambda text: text.replace('10.5', 'inf'), 'has only some of its points'),
    (lambda text: text.replace('10.5', '1e30'), 'far outside any picture')])
def test_the_format_of_another_spreadsheet_is_named(tmp_path, change, message):
    table = write_table(tmp_path, [('own/a_1.png', 'own', 'test', 1)]) / 'labels.csv'
    table.write_text(change(table.read_text()))
    with pytest.raises(UserError, match=f'labels.csv.*{message}'):
        read_labels(tmp_path)


@pytest.mark.parametrize('points', [
    np.zeros((68, 2)), np.full((68, 2), 33.3), np.column_stack([np.arange(68), np.full(68, 5)]),
    np.column_stack([np.arange(68), 2 * np.arange(68)])])
def test_a_face_without_extent_is_refused(points):
    with pytest.raises(UserError, match='a.pts has all its points in one place or on one line'):
        check_face(points, 'a.pts')


def test_a_folder_without_a_table_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'no labels\.csv'):
        read_labels(tmp_path)


def test_the_mirror_swaps_sides_and_is_its_own_inverse():
    assert (MIRROR_68[MIRROR_68] == np.arange(68)).all()
    assert (MIRROR_68[[0, 8, 27, 36, 48, 60]] == [16, 8, 27, 45, 54, 64]).all()
    for curve, _ in CURVES:
        assert {int(MIRROR_68[i]) for i in curve} in [set(other) for other, _ in CURVES]


def test_a_mirrored_point_lies_as_far_from_the_other_border():
    points = np.random.default_rng(0).uniform(0, 99, (68, 2))
    mirrored = mirror_points(points, 100)
    np.testing.assert_allclose(mirrored[45], [99 - points[36, 0], points[36, 1]])
    np.testing.assert_allclose(mirror_points(mirrored, 100), points)


@needs_faces
def test_the_split_of_the_real_photographs():
    records = read_labels(FACES)
    held_out = [r for r in records if r.is_validation]
    manual = [r for r in records if r.source in ('helen', 'lfpw', 'afw')]
    assert 0.07 < len(held_out) / len(manual) < 0.13
    assert not {r.photo for r in held_out} & {r.photo for r in records if not r.is_validation}
    assert {r.source for r in held_out} == {'helen', 'lfpw', 'afw'}


@needs_faces
def test_the_mirrored_order_agrees_with_real_faces():
    points = np.stack([r.points for r in read_labels(FACES) if r.source == 'helen'])
    points = (points - points.mean(1, keepdims=True)) / points.std(axis=(1, 2), keepdims=True)
    mean = points.mean(0)
    distance = np.linalg.norm(mean[None] * [-1.0, 1.0] - mean[:, None], axis=-1)
    np.testing.assert_array_equal(linear_sum_assignment(distance)[1], MIRROR_68)
