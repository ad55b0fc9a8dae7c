"""Each layout of labelled landmarks is read as its makers meant it, and a bad file is named."""

import csv
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import euler_from_rotation
from trans3dhead_ros.landmarks import COUNT
from trans3dhead_training.data.labels import COLUMNS, is_held_out
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.formats import aflw, pts
from trans3dhead_training.formats.mat_file import read_mat
from trans3dhead_training.formats.readers import READERS, read_samples

POINTS = np.random.default_rng(5).uniform([30, 20], [130, 120], (COUNT, 2))
LEFT = range(9, 17)
Z = np.random.default_rng(6).uniform(-40, 60, COUNT)


def write_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((160, 160, 3), 99, np.uint8))


def write_mat(folder: Path, name: str, euler_rad: tuple = (0.1, -0.5, 0.2), **arrays) -> None:
    """Write a picture and its labels; pitch, yaw, roll in radians, then translation and scale."""
    write_picture(folder / f'{name}.jpg')
    savemat(folder / f'{name}.mat', {
        'Pose_Para': np.array([[*euler_rad, 80.0, 80.0, 0.0, 1e-3]]),
        'Shape_Para': np.ones((199, 1)), 'Exp_Para': np.ones((29, 1)),
        'roi': np.array([[1, 2, 3, 4]]), **arrays})


def write_aflw(folder: Path, name: str) -> None:
    write_mat(folder, name, pt3d_68=np.vstack([POINTS.T, Z]), pt2d=np.full((2, 21), -1.0))


def write_pts(path: Path, points: np.ndarray, count: int = COUNT) -> None:
    """Write points (P, 2) that already count pixels from 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = '\n'.join(f'{x:.6f} {y:.6f}' for x, y in points)
    path.write_text(f'version: 1\nn_points:  {count}\n{{\n{rows}\n}}\n')


@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize('kind', [np.float64, np.float32, np.int16, np.uint8])
def test_arrays_of_mat_files_are_those_that_scipy_wrote(compressed, kind):
    buffer = io.BytesIO()
    arrays = {'a': np.arange(12).reshape(3, 4).astype(kind), 'longer_name': np.ones((1, 1), kind),
              'empty': np.zeros((0, 5), kind), 'text': 'not numbers', 'cells': [{'x': 1}],
              'deep': np.arange(24).reshape(2, 3, 4).astype(kind)}
    savemat(buffer, arrays, do_compression=compressed)
    found = read_mat(buffer.getvalue(), ('a', 'longer_name', 'empty', 'deep', 'missing'))
    assert set(found) == {'a', 'longer_name', 'empty', 'deep'}
    for name, array in found.items():
        np.testing.assert_array_equal(array, arrays[name])
    with pytest.raises(UserError, match='text does not hold real numbers'):
        read_mat(buffer.getvalue(), ('text',))


def test_hidden_files_of_macos_are_not_labels(tmp_path):
    write_aflw(tmp_path / 'aflw', 'a')
    write_pts(tmp_path / 'pts' / 'a.pts', POINTS)
    write_picture(tmp_path / 'pts' / 'a.jfif.png')
    (tmp_path / 'pts' / 'a.jfif.png').rename(tmp_path / 'pts' / 'a.jfif')
    for name in ('aflw/._a.mat', 'pts/._a.pts'):
        (tmp_path / name).write_bytes(b'\0\x05\x16\x07' + bytes(99))
    for form in ('aflw', 'pts'):
        assert len(read_samples(f'{form}:{tmp_path}/{form}', 'all')) == 1


@pytest.mark.parametrize(('data', 'message'), [
    ('faces', 'not FORMAT:PATH'), ('wflw:faces', 'one of crops, profiles, aflw'),
    ('aflw:nowhere', 'no folder nowhere'), ('crops:nowhere', r'no labels\.csv'),
    ('profiles:nowhere', r'no labels\.csv'), ('pts:nowhere', 'no folder nowhere'),
    ('biwi:nowhere', 'no folder nowhere'), ('dad:nowhere', 'no folder nowhere'),
    ('300wlp:nowhere', 'nowhere has none of the folders'),
])
def test_an_unknown_set_is_named(data, message):
    with pytest.raises(ValueError, match=message):
        read_samples(data)


def test_an_unknown_split_is_named(tmp_path):
    with pytest.raises(ValueError, match="'test' is unknown; use one of validation, train, all"):
        read_samples(f'aflw:{tmp_path}', 'test')


def test_a_pts_file_may_begin_with_a_byte_order_mark_and_decimal_commas_are_named(tmp_path):
    write_pts(tmp_path / 'a.pts', POINTS)
    text = (tmp_path / 'a.pts').read_text()
    (tmp_path / 'b.pts').write_text(text, encoding='utf-8-sig')
    np.testing.assert_array_equal(pts.read_points(tmp_path / 'b.pts'),
                                  pts.read_points(tmp_path / 'a.pts'))
    (tmp_path / 'b.pts').write_text(text.replace('.', ','))
    with pytest.raises(ValueError, match='points instead of commas'):
        pts.read_points(tmp_path / 'b.pts')


@pytest.mark.parametrize('form', ['aflw', 'pts'])
def test_a_set_without_faces_in_its_split_is_named(tmp_path, form):
    with pytest.raises(ValueError, match="has no .* split 'validation'; try --split all$"):
        read_samples(f'{form}:{tmp_path}')
    with pytest.raises(ValueError, match='has no labelled face$'):
        read_samples(f'{form}:{tmp_path}', 'all')


def test_every_format_has_its_reader():
    assert {'crops', 'aflw', '300wlp', 'biwi', 'pts', 'dad'} <= READERS.keys()


def test_a_sample_without_points_and_box_is_refused():
    with pytest.raises(ValueError, match='a has neither points nor a box'):
        Sample(Path('a.jpg'), 'set', 'group', True)
    with pytest.raises(ValueError, match=r'points of a: expected shape \(68, 2\), got \(67, 2\)'):
        Sample(Path('a.jpg'), 'set', 'group', True, points=POINTS[:67])


def test_a_sample_reads_its_picture_from_a_file_or_from_bytes(tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    for picture in (tmp_path / 'a.png', (tmp_path / 'a.png').read_bytes()):
        sample = Sample(picture, 'set', 'group', True, points=POINTS)
        np.testing.assert_array_equal(sample.image(), image)
    with pytest.raises(ValueError, match='group is not a picture'):
        Sample(b'x' * 99, 'set', 'group', True, points=POINTS).image()


def test_the_aflw_layout_is_read_with_its_order_of_angles(tmp_path):
    write_aflw(tmp_path, 'image00002')
    (sample,) = read_samples(f'aflw:{tmp_path}')
    np.testing.assert_allclose(sample.points, POINTS)
    np.testing.assert_allclose(
        euler_from_rotation(sample.rotation), np.rad2deg([-0.5, 0.1, 0.2]))
    assert sample.points_are_3d and sample.is_validation
    assert sample.shape is None and sample.expression is None
    with pytest.raises(ValueError, match='has no labelled face'):
        read_samples(f'aflw:{tmp_path}', 'train')


def test_depth_is_smaller_where_a_point_is_nearer_and_zero_at_the_sellion(tmp_path):
    write_aflw(tmp_path, 'a')
    (sample,) = read_samples(f'aflw:{tmp_path}')
    assert sample.depth[27] == 0
    np.testing.assert_allclose(sample.depth, Z[27] - Z)


def test_an_aflw_label_without_its_picture_is_named(tmp_path):
    write_aflw(tmp_path, 'a')
    (tmp_path / 'a.jpg').unlink()
    with pytest.raises(ValueError, match=r'a\.mat has no picture a\.jpg'):
        read_samples(f'aflw:{tmp_path}')


def test_a_mat_file_of_something_else_is_named(tmp_path):
    write_aflw(tmp_path, 'a')
    (tmp_path / 'a.mat').write_text('not a mat file at all, only text')
    with pytest.raises(ValueError, match=r'a\.mat has no readable pt3d_68'):
        read_samples(f'aflw:{tmp_path}')


def test_a_mat_file_without_points_or_with_few_is_named(tmp_path):
    for arrays in ({'pt2d': POINTS.T}, {'pt3d_68': POINTS[:67].T}):
        write_mat(tmp_path, 'a', **arrays)
        with pytest.raises(ValueError, match=r'a\.mat has no readable pt3d_68 of 68 finite'):
            read_samples(f'aflw:{tmp_path}')
    savemat(tmp_path / 'a.mat', {'pt3d_68': POINTS.T})
    with pytest.raises(ValueError, match=r'a\.mat has no readable Pose_Para'):
        read_samples(f'aflw:{tmp_path}')


def write_300w_lp(root: Path, part: str, name: str) -> None:
    """Write a picture whose own labels have the points of another view, as in turned copies."""
    write_mat(root / part, name, pt2d=POINTS.T + 50)
    (root / 'landmarks' / part).mkdir(parents=True, exist_ok=True)
    savemat(root / 'landmarks' / part / f'{name}_pts.mat', {'pts_3d': POINTS, 'pts_2d': POINTS + 3})


def test_300w_lp_has_both_jaws_by_its_landmarks_folder(tmp_path):
    write_300w_lp(tmp_path, 'AFW', 'AFW_134212_2_5')
    # A mirrored twin has no landmarks of its own; Code holds .mat files that are no labels.
    write_mat(tmp_path / 'AFW_Flip', 'AFW_134212_2_5', pt2d=POINTS.T)
    (tmp_path / 'Code').mkdir()
    savemat(tmp_path / 'Code' / 'Model.mat', {'a': 1})
    (sample,) = read_samples(f'300wlp:{tmp_path}', 'all')
    np.testing.assert_allclose(sample.points, POINTS)
    np.testing.assert_allclose(sample.contour, POINTS[:17] + 3)
    np.testing.assert_allclose(
        euler_from_rotation(sample.rotation), np.rad2deg([-0.5, 0.1, 0.2]))
    assert sample.points_are_3d and sample.depth is None
    assert (sample.source, sample.group) == ('300wlp-afw', 'afw/train_134212')


def test_300w_lp_without_its_landmarks_is_named(tmp_path):
    write_mat(tmp_path / 'AFW', 'AFW_134212_2_5', pt2d=POINTS.T)
    with pytest.raises(ValueError, match=r'AFW_134212_2_5\.mat has no landmarks .*_pts\.mat'):
        read_samples(f'300wlp:{tmp_path}', 'all')
    write_300w_lp(tmp_path, 'AFW', 'AFW_134212_2_5')
    savemat(tmp_path / 'landmarks' / 'AFW' / 'AFW_134212_2_5_pts.mat', {'pts_3d': POINTS})
    with pytest.raises(ValueError, match=r'_pts\.mat has no readable pts_2d'):
        read_samples(f'300wlp:{tmp_path}', 'all')


def test_profiles_have_only_the_points_that_are_labelled(tmp_path):
    points = POINTS.copy()
    points[LEFT] = np.nan
    with (tmp_path / 'labels.csv').open('w', newline='') as file:
        csv.writer(file).writerows([
            COLUMNS, *([f'cfp/{name}.png', 'cfp', 'train', *points.flatten()]
                       for name in ('profile_007_01', 'frontal_401_02'))])
    for name in ('profile_007_01', 'frontal_401_02'):
        write_picture(tmp_path / 'cfp' / f'{name}.png')
    profile, frontal = read_samples(f'profiles:{tmp_path}', 'all')
    assert [profile.source, frontal.source] == ['profile', 'frontal']
    assert [profile.is_validation, frontal.is_validation] == [False, True]
    assert np.flatnonzero(~profile.visible).tolist() == list(LEFT)
    np.testing.assert_array_equal(np.isnan(profile.labelled_points).all(1), ~profile.visible)
    seen = np.delete(POINTS, LEFT, axis=0)
    np.testing.assert_allclose(profile.box, [*seen.min(0), *seen.max(0)])


@pytest.mark.parametrize(('part', 'stem', 'photo'), [
    ('HELEN', 'HELEN_100040721_2_7', 'helen/train_100040721'),
    ('LFPW', 'LFPW_image_test_0001_0', 'lfpw/test_image_0001'),
    ('IBUG', 'IBUG_image_003_1_12', 'ibug/train_image_003'),
])
def test_turned_copies_are_named_as_their_photograph_in_the_table_of_crops(part, stem, photo):
    assert aflw.photograph(part, stem) == photo


def test_300w_lp_holds_out_the_photographs_that_the_crops_hold_out(tmp_path):
    for number in range(40):
        for step in range(2):
            write_300w_lp(tmp_path, 'HELEN', f'HELEN_{number}_1_{step}')
    held_out = [s.group for s in read_samples(f'300wlp:{tmp_path}', 'validation')]
    trained = [s.group for s in read_samples(f'300wlp:{tmp_path}', 'train')]
    assert sorted(held_out) == sorted(2 * [
        f'helen/train_{number}' for number in range(40) if is_held_out(f'helen/train_{number}')])
    assert held_out and not set(held_out) & set(trained) and len(held_out + trained) == 80


def test_pts_files_count_pixels_from_one(tmp_path):
    write_picture(tmp_path / 'helen' / 'testset' / '232194_1.jpg')
    write_pts(tmp_path / 'helen' / 'testset' / '232194_1.pts', POINTS)
    (sample,) = read_samples(f'pts:{tmp_path}')
    np.testing.assert_allclose(sample.points, POINTS - 1, atol=1e-6)
    assert not sample.points_are_3d and sample.rotation is None
    assert (sample.source, sample.group) == ('helen', 'helen/232194')


def test_pts_under_a_training_folder_are_for_training(tmp_path):
    for part, name in (('trainset', 'image_0001.png'), ('testset', 'image_0002.jpg')):
        write_picture(tmp_path / 'lfpw' / part / name)
        write_pts((tmp_path / 'lfpw' / part / name).with_suffix('.pts'), POINTS)
    assert [s.name for s in read_samples(f'pts:{tmp_path}', 'train')] == ['image_0001']
    assert [s.name for s in read_samples(f'pts:{tmp_path}', 'validation')] == ['image_0002']
    assert [s.name for s in read_samples(f'pts:{tmp_path / "lfpw" / "trainset"}', 'all')] == [
        'image_0001']


@pytest.mark.parametrize(('stem', 'photo'), [
    ('232194_1', '232194'), ('image_0001', 'image_0001'), ('image_003_1', 'image_003'),
    ('indoor_017', 'indoor_017'), ('image_0001_mirror', 'image_0001'),
])
def test_faces_of_one_photograph_share_its_name(stem, photo):
    assert pts.photograph(stem) == photo


def test_a_pts_file_that_is_damaged_is_named(tmp_path):
    path = tmp_path / 'a.pts'
    write_picture(tmp_path / 'a.png')
    write_pts(path, POINTS[:67], 67)
    with pytest.raises(ValueError, match=r'a\.pts announces 67 points and holds 67; 68'):
        read_samples(f'pts:{tmp_path}')
    write_pts(path, POINTS[:67])
    with pytest.raises(ValueError, match=r'a\.pts announces 68 points and holds 67; 68'):
        read_samples(f'pts:{tmp_path}')
    path.write_text(path.read_text().replace('}', ''))
    with pytest.raises(ValueError, match=r'a\.pts is not of the form "version: 1"'):
        read_samples(f'pts:{tmp_path}')
    write_pts(path, POINTS)
    path.write_text(path.read_text().replace('{\n', '{\nx y\n'))
    with pytest.raises(ValueError, match=r'a\.pts has a line that is not two numbers'):
        read_samples(f'pts:{tmp_path}')


def test_a_pts_file_without_its_picture_is_named(tmp_path):
    write_pts(tmp_path / 'a.pts', POINTS)
    with pytest.raises(ValueError, match=r'a\.pts has no picture a\.jpg or \.png beside it'):
        read_samples(f'pts:{tmp_path}')
