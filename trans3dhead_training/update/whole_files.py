"""JSON and arrays of a run; each file is written atomically, so the run can be killed any time."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trans3dhead_ros.atomic_files import replacing
from trans3dhead_ros.errors import UserError


def read_json(path: Path) -> dict[str, Any]:
    """
    Read a JSON object.

    :param path: the file.
    :return: its content.
    :raises UserError: it is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(content, dict):
            raise ValueError('not an object')
        return content
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from None
    except ValueError as error:
        raise UserError(f'{path}: is damaged ({error}); remove the run and start again') from None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as .npz atomically."""
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """
    Read arrays.

    :param path: the .npz file.
    :param names: of the arrays that are needed.
    :return: arrays by name.
    :raises UserError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f'{path}: is missing or damaged ({error}); remove it, and the same command '
                        'makes it again') from None
