"""
The frozen sets that ship with the package: synthetic, free for any use, drawn for no training.

`python -m tools.gate_sets` has rendered them, from people, light and occluders with a seed of their
own.
"""

from __future__ import annotations

from pathlib import Path

from trans3dhead_training.data.sample import Sample
from trans3dhead_training.data.shards import SUFFIX, read_shards

FROZEN = Path(__file__).parent / 'frozen'

REPLAY = 'replay'
"""People of the preset `wide`: what a model was trained for and must not forget."""
POSES = 'poses'
"""Faces turned, nodding or tilted further than most."""
DARK = 'dark'
"""A twentieth to a fifth of the usual light."""
MASKS = 'masks'
"""Faces with surgical and cloth masks."""
NO_HEADS = 'no_heads'
"""Places without people."""
TURNS = 'turns'
"""Clips of heads that turn at a constant rate."""
HEADS = (REPLAY, POSES, DARK, MASKS)

TURN_FRAMES = 20
"""Frames of each clip of `TURNS`."""
TURN_STEP_DEG = 4.0
"""Change of the yaw between two frames of it."""


def read_frozen(name: str, folder: Path = FROZEN) -> list[Sample]:
    """
    Read a frozen set.

    :param name: `REPLAY` and so on.
    :param folder: of the sets.
    :return: its samples; those of `NO_HEADS` have a box only.
    :raises UserError: the file is missing or damaged.
    """
    return read_shards(folder / f'{name}{SUFFIX}')
