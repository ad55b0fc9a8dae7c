"""`track` on folders and long videos: order, cuts, cameras by size, memory."""

import json
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from trans3dhead_ros.cli.main import main
from trans3dhead_ros.cli.track_summary import TrackSummary
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source


@pytest.fixture(scope='module')
def people() -> np.ndarray:
    """Return a picture of two people."""
    with open_source(bundled_clip()) as source:
        return next(iter(source)).image


def tracked(folder: Path, *arguments: str) -> list[dict]:
    rows = folder.with_suffix('.jsonl')
    assert main(['track', str(folder), '--json', str(rows), '--force', *arguments]) == 0
    return [json.loads(line) for line in rows.read_text().splitlines()]


def test_people_of_other_pictures_get_other_ids_and_cameras_have_the_size_of_the_picture(
        people, tmp_path):
    folder = tmp_path / 'film'
    folder.mkdir()
    half = people[:, :people.shape[1] // 2]
    # Mirrored and recoloured, on another background: what a folder of portraits holds.
    other = np.where(people[:, ::-1] > 128, people[:, ::-1] // 2, 255 - people[:, ::-1] // 2)
    for index, image in enumerate((people, people, half, other.astype(np.uint8), people)):
        cv2.imwrite(str(folder / f'{index}.png'), image)
    rows = tracked(folder, '--fov', '60')
    ids = [{head['id'] for head in row['heads']} for row in rows]
    assert ids[0] == ids[1] != set()
    assert not ids[1] & ids[2] and not ids[2] & ids[4] and not ids[1] & ids[4]
    # The half as wide picture with the same field of view is of a lens twice as long.
    nearest = [min(head['position'][2] for head in rows[index]['heads']) for index in (0, 2)]
    assert nearest[1] < 0.75 * nearest[0]


def test_a_folder_without_an_order_is_tracked_only_with_the_option_frames(people, tmp_path, capsys):
    folder = tmp_path / 'album'
    folder.mkdir()
    for name in ('anna', 'ben'):
        cv2.imwrite(str(folder / f'{name}.png'), people[:96, :128])
    assert main(['track', str(folder)]) == 2
    error = capsys.readouterr().err
    assert 'detect' in error and '--frames' in error and error.count('\n') == 1
    assert [Path(row['file']).name for row in tracked(folder, '--frames')] == ['anna.png',
                                                                               'ben.png']


def test_memory_does_not_grow_with_the_length_of_a_video(people, tmp_path):
    cv2.imwrite(str(tmp_path / '0.png'), people[:32, :32])
    summary = TrackSummary(open_source(tmp_path))
    head = {'id': 1, 'euler_deg': [1.0, 2.0, 3.0]}

    def add(frames: int) -> None:
        for index in range(frames):
            summary.add({'frame': index, 'heads': [
                {**head, 'landmarks': [[float(index)] * 3] * 68}]})

    add(100)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    add(2000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000
    assert '2100 frames, heads in 2100' in summary.text(1.0)
    assert 'head 1: 2100 frames, yaw +1…+1°' in summary.text(1.0)
