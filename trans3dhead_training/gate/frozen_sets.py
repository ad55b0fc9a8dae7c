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
"""Clips of heads whose yaw goes from -50 to 50 degrees at a constant rate."""
NODS = 'nods'
"""Clips of heads whose pitch goes from -30 to 30 degrees at the same rate."""
EYES = 'eyes'
"""Clips of still heads: eyes open, closed, and looking left, right, up and down."""
HEADS = (REPLAY, POSES, DARK, MASKS)
CLIPS = (TURNS, NODS, EYES)
"""Frames in order, a group each."""


def read_frozen(name: str, folder: Path = FROZEN) -> list[Sample]:
    """
    Read a frozen set.

    :param name: `REPLAY` and so on.
    :param folder: of the sets.
    :return: its samples; those of `NO_HEADS` have a box only.
    :raises UserError: the file is missing or damaged.
    """
    return read_shards(folder / f'{name}{SUFFIX}')
