"""What pip installs from a source distribution finds heads in a picture."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source

pytestmark = pytest.mark.slow
setuptools = pytest.importorskip('setuptools', minversion='70.1', reason='it writes no wheels')

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True,
                          env={**os.environ, **variables}, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_wheel_made_of_the_source_distribution_finds_heads(tmp_path):
    run(sys.executable, 'setup.py', '-q', 'egg_info', '--egg-base', tmp_path, 'sdist',
        '--dist-dir', tmp_path, folder=ROOT)
    (source,) = tmp_path.glob('*.tar.gz')
    pip, alone = (sys.executable, '-m', 'pip'), ('--no-deps', '--no-index', '--quiet')
    run(*pip, 'wheel', *alone, '--no-build-isolation', source, folder=tmp_path)
    (wheel,) = tmp_path.glob('*.whl')
    site = tmp_path / 'site'
    run(*pip, 'install', *alone, '--target', site, wheel, folder=tmp_path)
    with open_source(bundled_clip()) as opened:
        cv2.imwrite(str(tmp_path / 'people.png'), next(iter(opened)).image)
    command = site / 'bin' / 'trans3dhead'
    run(command, 'detect', 'people.png', '--json', 'heads.jsonl', folder=tmp_path,
        PYTHONPATH=str(site))
    declared = re.search(r'<version>(.*)</version>', (ROOT / 'package.xml').read_text())[1]
    assert run(command, '--version', folder=tmp_path,
               PYTHONPATH=str(site)) == f'trans3dhead {declared}\n'
    assert len(json.loads((tmp_path / 'heads.jsonl').read_text())['heads']) == 2
    imported = run(sys.executable, '-c', 'import trans3dhead_ros as t; print(t.__file__)',
                   folder=tmp_path, PYTHONPATH=str(site))
    assert site in Path(imported.strip()).parents
    licences = {path.name for path in site.glob('*.dist-info/**/*') if path.is_file()}
    assert {'LICENSE', 'LICENSE-WEIGHTS', 'NOTICE'} <= licences
