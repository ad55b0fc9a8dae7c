"""Where the user's training data lies."""

from __future__ import annotations

import os
from pathlib import Path

from trans3dhead_ros.errors import UserError

VARIABLE = 'TRANS3DHEAD_DATA'
DEFAULT = Path('../shared/data')


def data_root() -> Path:
    """
    Return the data folder: the environment variable TRANS3DHEAD_DATA, else ../shared/data.

    :raises ValueError: when that folder does not exist.
    """
    root = Path(os.environ.get(VARIABLE) or DEFAULT)
    if not root.is_dir():
        raise UserError(f'{VARIABLE}: no folder {root}; set it to the folder of the data')
    return root
