"""The folder of the demo's results, which only another demo may replace."""

from __future__ import annotations

import os
from pathlib import Path

from trans3dhead_ros.errors import UserError

RESULTS = ('overlay.mp4', 'overlay.png', 'heads.jsonl', 'bag')
"""What the recorder writes."""

_MARK = '.trans3dhead_demo'


def check_folder(folder: Path) -> None:
    """
    Refuse to replace results that no demo has left.

    :param folder: of the results.
    :raises UserError: it holds files of their names that no demo has written.
    """
    path = next((folder / name for name in RESULTS if os.path.lexists(folder / name)), None)
    if path is not None and not (folder / _MARK).is_file():
        raise UserError(f'output: {path} exists and is not from a demo (no {_MARK} next to it); '
                        f'choose another folder, or remove {path.name}')


def mark_folder(folder: Path) -> None:
    """Mark a folder as one whose results the next demo may replace."""
    (folder / _MARK).write_text('The results of a demo, which the next one replaces.\n')
