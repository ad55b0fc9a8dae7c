"""Blocks of code in the pages run as they stand, on a few frames of the bundled clip."""

import json
import re
import shlex
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from trans3dhead_ros.cli.main import main
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source

DOCS = Path(__file__).resolve().parents[2] / 'docs'
FRAMES = 4


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf'^```{language}\n(.*?)^```$', (DOCS / page).read_text(),
                      re.DOTALL | re.MULTILINE)


@pytest.fixture
def pictures(tmp_path, monkeypatch) -> Path:
    """Return the current folder, with the video and the picture of the pages."""
    with open_source(bundled_clip()) as opened:
        images = [frame.image for frame in islice(opened, FRAMES)]
    writer = cv2.VideoWriter(str(tmp_path / 'talk.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 25.0,
                             images[0].shape[1::-1])
    for image in images:
        writer.write(image)
    writer.release()
    cv2.imwrite(str(tmp_path / 'people.jpg'), images[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_the_first_minutes_do_what_they_say(pictures):
    lines = [line for block in blocks('start.md', 'sh') for line in block.splitlines()
             if line.startswith('trans3dhead ')]
    assert len(lines) == 3
    for line in lines:
        assert main(shlex.split(line, comments=True)[1:]) == 0
    assert len((pictures / 'heads.jsonl').read_text().splitlines()) == FRAMES
    assert len(json.loads((pictures / 'people.jsonl').read_text())['heads']) == 2
    assert (pictures / 'overlay.mp4').stat().st_size > 1000


def test_the_first_program_prints_a_line_for_every_head(pictures, capsys):
    (example,) = blocks('start.md', 'python')
    exec(compile(example, 'start.md', 'exec'), {})
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) >= 2 * (FRAMES - 1) and len({row['id'] for row in rows}) == 2
    assert all(-90 <= row['yaw'] <= 90 for row in rows)


@pytest.mark.parametrize(('down_deg', 'target'), [(45.0, (1.2, 0.0, 0.0)), (-5.0, None)])
def test_the_ray_of_a_head_meets_the_floor_where_it_looks(down_deg, target):
    (example,) = blocks('gaze_target.md', 'python')
    names = {}
    exec(compile(example, 'gaze_target.md', 'exec'), names)
    rotation = Rotation.from_euler('y', down_deg, degrees=True).as_quat()
    pose = SimpleNamespace(transform=SimpleNamespace(
        translation=SimpleNamespace(x=0.0, y=0.0, z=1.2),
        rotation=SimpleNamespace(**dict(zip('xyzw', rotation, strict=True)))))
    found = names['target_on_plane'](pose)
    if target is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, target, atol=1e-9)
