"""Real clips of people for tests; they are not part of the repository."""

import functools
import os
from pathlib import Path

import pytest

from trans3dhead_ros.media.sources import open_source

# Where the variable is not set, a path that does not exist and says why a test is skipped.
DATA = Path(os.environ.get('TRANS3DHEAD_DATA') or '$TRANS3DHEAD_DATA')


def data(*parts: str) -> Path:
    """Return a file of the data folder, or skip the test."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f'no {path}; set TRANS3DHEAD_DATA to the data folder')
    return path


def clip(name: str) -> list:
    """Return the frames (H, W, 3) uint8 BGR of a clip, or skip the test."""
    return _frames(data('video', f'{name}.gif'))


@functools.cache
def _frames(path: Path) -> list:
    frames = [frame.image for frame in open_source(str(path))]
    for frame in frames:
        frame.setflags(write=False)
    return frames
