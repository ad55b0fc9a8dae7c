"""What the README promises holds: its example runs, its links lead somewhere."""

import re
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import FACING_CAMERA
from trans3dhead_ros.network.checkpoint import load_head_model
from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text()


def test_the_python_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r'```python\n(.*?)```', README, re.DOTALL)
    camera = Camera.from_fov((640, 480), 60)
    person = HeadRenderer.from_model(load_head_model()).render(
        np.full((480, 640, 3), 128, np.uint8), camera, FACING_CAMERA, np.array([0.0, 0.0, 0.6]))
    cv2.imwrite(str(tmp_path / 'people.jpg'), person)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(example, 'README.md', 'exec'), names)
    assert 'yaw' in capsys.readouterr().out
    # The very head that was rendered.
    np.testing.assert_allclose(names['head'].translation, [0.0, 0.0, 0.6], atol=0.1)


def test_it_is_short_and_leaves_the_rest_to_the_site():
    assert len(README.splitlines()) <= 200


def test_links_to_files_exist():
    links = [link for link in re.findall(r'\]\(([^)]+)\)', README) if not link.startswith('#')]
    assert links
    files = [link.split('#')[0] for link in links if not link.startswith('https://')]
    missing = [file for file in files if not (ROOT / file).exists()]
    assert not missing
