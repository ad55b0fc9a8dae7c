"""The site of the pages is built without a warning; `make docs` brings what it needs."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
for name in ('sphinx', 'myst_parser', 'furo'):
    pytest.importorskip(name, reason='Sphinx is not installed: make docs')

ROOT = Path(__file__).resolve().parents[2]


def test_the_site_is_built_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-c', 'docs', '.', tmp_path],
        cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / 'docs' / 'python_api.html').read_text()
    assert 'HeadPipeline' in page and 'translation' in page
