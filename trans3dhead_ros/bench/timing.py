"""Interleaved timing: what is compared is measured in the same minute, so that drift cancels."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from tqdm import tqdm

from trans3dhead_ros.types import Array

Action = Callable[[], object]

ELAPSED, PROCESSOR = time.perf_counter, time.process_time
"""Clocks, s; the second counts what all threads of this process compute, so that one thread can be
measured where other programs take the cores."""


def take_turns(
    actions: Mapping[str, Action], rounds: int, warm_up: int = 3,
    clock: Callable[[], float] = ELAPSED,
) -> dict[str, Array]:
    """
    Time actions in turns; each of them waits for its results.

    :param actions: what to time, by name.
    :param rounds: turns that count.
    :param warm_up: turns before them that do not count.
    :param clock: `ELAPSED` or `PROCESSOR`.
    :return: milliseconds (rounds,) of each action.
    """
    taken = {name: np.empty(rounds) for name in actions}
    turns = range(-warm_up, rounds)
    for turn in tqdm(turns, desc='bench', unit='turn', leave=False, disable=None):
        for name, action in actions.items():
            start = clock()
            action()
            if turn >= 0:
                taken[name][turn] = 1e3 * (clock() - start)
    return taken


def percentiles(times: Array) -> dict[str, float]:
    """Return p50_ms, p95_ms and p99_ms of milliseconds (N,)."""
    return {f'p{percent}_ms': round(float(np.percentile(times, percent)), 3)
            for percent in (50, 95, 99)}
