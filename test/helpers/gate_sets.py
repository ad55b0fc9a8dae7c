"""A few samples of the frozen sets of the gate, for tests that are not about its figures."""

from pathlib import Path

from trans3dhead_training.data.shards import write_shard
from trans3dhead_training.evaluation.motion import clips
from trans3dhead_training.gate.frozen_sets import (
    HEADS,
    NO_HEADS,
    REPLAY,
    TURNS,
    read_frozen,
)


def write_small_sets(folder: Path) -> Path:
    """Write the first samples of every frozen set; return the folder."""
    turn = next(clips(read_frozen(TURNS)))
    counts = {**dict.fromkeys(HEADS, 6), REPLAY: 12, NO_HEADS: 4, TURNS: len(turn)}
    for name, count in counts.items():
        write_shard(folder / f'{name}.safetensors', read_frozen(name)[:count])
    return folder
