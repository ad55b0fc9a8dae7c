"""Outputs never destroy a source or earlier results, and a full disk loses no complete row."""

import json
import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from trans3dhead_ros.cli.main import main
from trans3dhead_ros.cli.output_files import line_writer, overlay_writer, write_picture
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.sources import open_source
from trans3dhead_ros.output_paths import check_outputs, partial_path

NOISE = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return a folder with the folder of frames `film` and the picture `a.png`."""
    (tmp_path / 'film').mkdir()
    for index in range(3):
        cv2.imwrite(str(tmp_path / 'film' / f'{index}.png'), NOISE)
    cv2.imwrite(str(tmp_path / 'a.png'), NOISE)
    return tmp_path


@contextmanager
def files_limited_to(size: int):
    """Let no file of this process grow beyond a size, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize('option', ['json', 'output'])
@pytest.mark.parametrize('link', [None, os.symlink, os.link])
def test_the_source_is_not_written_to_under_any_name(folder, option, link, capsys):
    source, output = folder / 'a.png', folder / 'a.png'
    if link:
        output = folder / 'other.mp4'
        link(source, output)
    before = source.read_bytes()
    for command in ('detect', 'track'):
        assert main([command, str(source), f'--{option}', str(output), '--force']) == 2
        assert 'is the source' in capsys.readouterr().err
    assert source.read_bytes() == before


@pytest.mark.parametrize(('source', 'output', 'message'), [
    ('film', 'film', 'is the source'),
    ('film', 'film/1.png', 'one of the files'),
    ('film', 'link_to_1', 'one of the files'),
    ('film', '.', 'holds the source'),
    ('film', 'link_to_all', 'holds the source'),
    ('link_to_film', 'film', 'is the source'),
    ('a.png', 'A.PNG', 'is the source'),
    ('film', 'FILM', 'is the source'),
    ('film/1.png', 'film', 'holds the source'),
])
def test_outputs_that_hold_or_link_to_a_source_are_refused(
        folder, monkeypatch, source, output, message):
    monkeypatch.chdir(folder)
    os.symlink('film/1.png', 'link_to_1')
    os.symlink('film', 'link_to_film')
    os.symlink('.', 'link_to_all')
    with pytest.raises(UserError, match=message):
        check_outputs({'output': output}, [source], force=True)


@pytest.mark.train
def test_no_command_writes_to_what_it_reads(folder, capsys):
    source = folder / 'film' / '0.png'
    before = source.read_bytes()
    os.link(source, folder / 'other.onnx')
    for arguments in (['average', source, source, '--output', source],
                      ['export', source, '--output', folder / 'other.onnx'],
                      ['prepare', 'faces', f'pts:{folder}/film', '--output', folder / 'film'],
                      ['bench', source, '--plot', source], ['view', source, '--save', source]):
        assert main([str(word) for word in arguments]) == 2
        error = capsys.readouterr().err
        assert 'is the source' in error and error.count('\n') == 1
    assert source.read_bytes() == before


def test_outputs_beside_the_source_are_allowed(folder):
    check_outputs({'json': folder / 'film' / 'heads.jsonl', 'output': folder / 'film' / 'drawn'},
                  [str(folder / 'film')], force=False)


def test_two_outputs_do_not_share_a_file(folder):
    with pytest.raises(UserError, match='is the file of --json too'):
        check_outputs({'json': folder / 'x.mp4', 'output': folder / 'x.mp4'}, [], force=True)


@pytest.mark.parametrize('arguments', [
    ['--json', '{folder}/kept'], ['--output', '{folder}/full'], ['--json', '{folder}/left.json']])
def test_what_exists_is_kept_without_force(folder, arguments, capsys):
    (folder / 'kept').write_text('mine')
    (folder / 'full').mkdir()
    (folder / 'full' / 'mine.txt').write_text('mine')
    partial_path(folder / 'left.json').write_text('{}')
    for command in (['detect', str(folder / 'a.png')], ['track', str(folder / 'film')]):
        assert main([*command, *(word.format(folder=folder) for word in arguments)]) == 2
        error = capsys.readouterr().err
        assert '--force' in error and error.count('\n') == 1
    assert (folder / 'kept').read_text() == 'mine'


def test_lines_get_their_file_name_at_the_end_and_are_readable_before(folder):
    path = folder / 'new' / 'rows.jsonl'
    with line_writer(str(path)) as write:
        write('{"frame": 0}\n')
        assert not path.exists() and partial_path(path).read_text() == '{"frame": 0}\n'
    assert path.read_text() == '{"frame": 0}\n' and not partial_path(path).exists()


def test_a_full_disk_keeps_whole_rows(folder):
    path = folder / 'rows.jsonl'
    with (pytest.raises(UserError, match=r'rows\.jsonl cannot be written .*; 9 rows are in it'),
          files_limited_to(1000), line_writer(str(path)) as write):
        for index in range(20):
            write(json.dumps({'frame': index, 'x': 'y' * 80}).ljust(109) + '\n')
    assert [json.loads(row)['frame'] for row in path.read_text().splitlines()] == [*range(9)]


def test_a_full_disk_keeps_the_file_that_force_would_replace(folder):
    path = folder / 'rows.jsonl'
    path.write_text('earlier')
    with (pytest.raises(UserError, match='the results so far are in'),
          files_limited_to(100), line_writer(str(path)) as write):
        write('{}\n')
        write('x' * 200 + '\n')
    assert path.read_text() == 'earlier' and partial_path(path).read_text() == '{}\n'


@pytest.mark.parametrize('suffix', ['.mp4', '.avi'])
def test_a_full_disk_leaves_a_video_that_can_be_played(folder, suffix):
    path = folder / f'overlay{suffix}'
    written = 0
    with (pytest.raises(UserError, match='cannot be written .no space left'),
          files_limited_to(2 ** 19), open_source(folder / 'film') as source,
          overlay_writer(path, source) as write):
        for _ in range(500):
            write(NOISE)
            written += 1
    capture = cv2.VideoCapture(str(path))
    frames = 0
    while capture.read()[0]:
        frames += 1
    assert 0 < frames == written


def test_a_full_disk_leaves_no_half_picture(folder):
    with files_limited_to(1000), pytest.raises(UserError, match='cannot be written'):
        write_picture(folder / 'x.png', NOISE)
    assert not [path for path in folder.iterdir() if path.name.startswith('x')]


def test_an_overlay_replaces_a_link_and_not_its_target(folder):
    before = (folder / 'a.png').read_bytes()
    os.symlink(folder / 'a.png', folder / 'drawn.png')
    write_picture(folder / 'drawn.png', NOISE[:50])
    assert (folder / 'a.png').read_bytes() == before
    assert cv2.imread(str(folder / 'drawn.png')).shape == (50, 160, 3)


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs /dev/full')
def test_a_standard_output_that_is_full_is_one_line(folder):
    script = ('import sys; from trans3dhead_ros.cli import main as m; '
              'm.run = lambda argv: print("x" * 100) or 0; sys.exit(m.main([]))')
    with open('/dev/full', 'w') as full:
        done = subprocess.run([sys.executable, '-c', script], stdout=full, text=True,
                              stderr=subprocess.PIPE)
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert 'the output cannot be written (No space left on device)' in done.stderr
    with (pytest.raises(UserError, match='/dev/full cannot be written'),
          line_writer('/dev/full') as write):
        write('{}\n')
