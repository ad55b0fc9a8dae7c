"""
What `trans3dhead gate` found of a model: `NAME.gate.json`, beside the two files of the model.

Written by training, read by the node and `trans3dhead info`, which need nothing of training for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trans3dhead_ros.atomic_files import write_json
from trans3dhead_ros.errors import UserError

FORMAT, VERSION = 'trans3dhead gate', 1
SUFFIX = '.gate.json'

_MAX_BYTES = 2 ** 20


@dataclass(frozen=True, eq=False)
class GateVerdict:
    """Whether a candidate may replace a model."""

    passed: bool
    """Nothing is worse, and the target, where there was one, is better."""
    sha256: str
    """Of the candidate's weights."""
    current_sha256: str
    """Of the weights of the model that it was compared with."""
    reasons: tuple[str, ...]
    """Why it failed, one line each; empty where it passed."""


def verdict_path(model: str | os.PathLike[str]) -> Path:
    """Return where the verdict on a model lies, by the path of either of its files."""
    return Path(model).with_suffix(SUFFIX)


def write_verdict(model: Path, content: Mapping[str, Any]) -> Path:
    """
    Write a verdict next to a model, atomically.

    :param model: path of either of its files.
    :param content: JSON values, among them those of `GateVerdict`.
    :return: the path of the verdict.
    """
    path = verdict_path(model)
    write_json(path, {'format': FORMAT, 'version': VERSION, **content}, allow_nan=False)
    return path


def read_verdict(model: Path, sha256: str) -> GateVerdict | None:
    """
    Read the verdict on a model.

    :param model: path of either of its files.
    :param sha256: of its weights.
    :return: the verdict; None where there is none, or it is on other weights.
    :raises UserError: the file is damaged.
    """
    path = verdict_path(model)
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f'it has more than {_MAX_BYTES} bytes')
        content = json.loads(path.read_text(encoding='utf-8'))
        if (content['format'], content['version']) != (FORMAT, VERSION):
            raise ValueError(f'its format is {content["format"]!r} {content["version"]!r}')
        if type(content['passed']) is not bool:
            raise ValueError('passed is neither true nor false')
        verdict = GateVerdict(content['passed'], str(content['candidate']['sha256']),
                              str(content['current']['sha256']),
                              tuple(map(str, content['reasons'])))
    except (OSError, KeyError, TypeError, RecursionError, ValueError) as error:
        raise UserError(f'{path}: not a verdict of `trans3dhead gate` ({error}); judge the model '
                        'again, or remove the file') from None
    return verdict if verdict.sha256 == sha256 else None
