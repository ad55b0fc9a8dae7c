"""`trans3dhead detect`: pictures, each on its own, in rows that name their file."""

import json
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


def test_each_picture_stands_alone(folder, capsys):
    first, again = rows(capsys, *[str(folder / 'pictures' / 'p2.png')] * 2)
    assert first['heads'] and first['heads'] == again['heads']
    assert {head['id'] for head in first['heads']} == {None} and first['stamp'] is None


def test_overlays_are_one_a_picture(folder, tmp_path, capsys):
    new = tmp_path / 'new' / 'dir'
    assert main(['detect', str(folder / 'pictures'), '--output', str(new)]) == 0
    assert sorted(file.name for file in new.iterdir()) == [
        '000000_p2.png', '000001_p10.png', '000002_p11.png']
    assert cv2.imread(str(new / '000001_p10.png')).shape == (60, 80, 3)
    assert 'pictures: 3, with heads: ' in capsys.readouterr().out


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
    (['{folder}/pictures', '--fov', '200'], 'between 0 and 180'),
    (['{folder}/pictures', '--model', '{folder}/nothing'], 'no such checkpoint'),
])
def test_a_mistake_is_one_line_and_code_2(folder, arguments, message, capsys):
    assert main(['detect', *(argument.format(folder=folder) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert error.startswith('trans3dhead: error: ') and message in error
    assert error.count('\n') == 1
