"""Where the user's training data is."""

from __future__ import annotations

import os
from pathlib import Path

from trans3dhead_ros.errors import UserError

VARIABLE = 'TRANS3DHEAD_DATA'


def data_root() -> Path:
    """
    Return the folder that the environment variable TRANS3DHEAD_DATA names.

    :return: an existing folder.
    :raises UserError: the variable is not set, or there is no such folder.
    """
    value = os.environ.get(VARIABLE)
    if not value:
        raise UserError(f'{VARIABLE} is not set; set it to the folder of the training data')
    root = Path(value)
    if not root.is_dir():
        raise UserError(f'{VARIABLE}: no folder {root}; set it to the folder of the training data')
    return root
