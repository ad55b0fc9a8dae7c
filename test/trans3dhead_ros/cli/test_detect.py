"""`trans3dhead detect`: pictures, each on its own, in rows that name their file."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from trans3dhead_ros.cli.main import main
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Return a folder of two people twice, and of nobody in between."""
    folder = tmp_path_factory.mktemp('detect')
    with open_source(bundled_clip()) as source:
        people = next(iter(source)).image
    (folder / 'pictures').mkdir()
    for name, image in (('p2', people), ('p10', np.full((60, 80, 3), 99, np.uint8)),
                        ('p11', people[:, :people.shape[1] // 2])):
        cv2.imwrite(str(folder / 'pictures' / f'{name}.png'), image)
    (folder / 'pictures' / 'notes.txt').write_text('not a picture')
    return folder


def rows(capsys, *arguments: str) -> list[dict]:
    assert main(['detect', *arguments, '--json', '-', '--device', 'cpu']) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_rows_name_their_file_as_it_was_given(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    found = rows(capsys, 'pictures/p11.png', './pictures', 'pictures/p1*.png')
    assert [row['file'] for row in found] == [
        'pictures/p11.png', './pictures/p2.png', './pictures/p10.png', './pictures/p11.png',
        'pictures/p10.png', 'pictures/p11.png']
    assert [row['frame'] for row in found] == [0, 1, 2, 3, 4, 5]


def test_each_picture_is_processed_independently(folder, capsys):
    first, again = rows(capsys, *[str(folder / 'pictures' / 'p2.png')] * 2)
    assert first['heads'] and first['heads'] == again['heads']
    assert {head['id'] for head in first['heads']} == {None} and first['stamp'] is None


def test_there_is_one_overlay_per_picture(folder, tmp_path, capsys):
    new = tmp_path / 'new' / 'dir'
    assert main(['detect', str(folder / 'pictures'), '--output', str(new)]) == 0
    assert sorted(file.name for file in new.iterdir()) == [
        '000000_p2.png', '000001_p10.png', '000002_p11.png']
    assert cv2.imread(str(new / '000001_p10.png')).shape == (60, 80, 3)
    assert 'pictures: 3, with heads: ' in capsys.readouterr().out


def test_overlays_have_names_that_fit_whatever_the_picture_is_called(tmp_path):
    picture = cv2.imencode('.png', np.full((60, 80, 3), 99, np.uint8))[1].tobytes()
    (tmp_path / 'in').mkdir()
    for name in (b'a' * 250 + b'.png', b'caf\xe9.png'):
        Path(os.fsdecode(os.fsencode(tmp_path / 'in') + b'/' + name)).write_bytes(picture)
    assert main(['detect', str(tmp_path / 'in'), '--output', str(tmp_path / 'out')]) == 0
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        f'000000_{"a" * 200}.png', '000001_caf.png']


def test_folders_with_circular_links_are_searched_once(folder, tmp_path, monkeypatch,
                                                               capsys):
    for name in ('one', 'two'):
        (tmp_path / name).mkdir()
        shutil.copy(folder / 'pictures' / 'p10.png', tmp_path / name)
    (tmp_path / 'one' / 'link').symlink_to('../two')
    (tmp_path / 'two' / 'link').symlink_to('../one')
    monkeypatch.chdir(tmp_path)
    for start in ('', f'../{tmp_path.name}/'):
        assert [row['file'] for row in rows(capsys, f'{start}one/**/*.png')] == [
            f'{start}one/link/p10.png', f'{start}one/p10.png']


def test_a_field_of_view_makes_the_pose_metric(folder, capsys):
    near, far = (rows(capsys, str(folder / 'pictures' / 'p2.png'), '--fov', fov)[0]['heads'][0]
                 for fov in ('90', '30'))
    assert far['position'][2] > 2 * near['position'][2]


@pytest.mark.parametrize(('arguments', 'message'), [
    ([], 'the following arguments are required: SOURCE'),
    (['nowhere.png'], 'nowhere.png does not exist'),
    (['{folder}/*.jpeg'], 'source: no file matches'),
    (['{folder}'], 'holds no picture'),
    (['{folder}/pictures/notes.txt'], 'notes.txt is not a picture; `trans3dhead track` takes'),
    (['{folder}/pictures', '--fov', '200', '--json', '{folder}/out.jsonl'], 'between 0 and 180'),
    (['{folder}/pictures', '--model', '{folder}/nothing'], 'no such checkpoint'),
])
def test_a_mistake_is_one_line_and_code_2(folder, arguments, message, capsys):
    assert main(['detect', *(argument.format(folder=folder) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith('trans3dhead: error: ') and message in error
    assert error.count('\n') == 1
    assert [path.name for path in folder.iterdir()] == ['pictures']
