"""What the operating system knows about a process, and what a scenario hands back."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ros_graph import TrackerProcess

#: What a log must not hold, whatever happened.
TRACEBACK, INCOMPATIBLE = SAD_WORDS = ('Traceback', 'incompatible QoS')


@dataclass(frozen=True)
class Usage:
    """Memory is in MB (2^20 bytes)."""

    #: Everything resident, files and shared memory as well.
    resident: float
    #: The part that is neither a file nor shared memory: where a leak shows.
    anonymous: float
    threads: int
    #: Open file descriptors.
    handles: int


@dataclass
class Outcome:
    """What a scenario found."""

    name: str
    figures: dict[str, object] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def demand(self, holds: bool, violation: str) -> None:
        """Note a violation where something does not hold."""
        if not holds:
            self.violations.append(violation)

    def read_log(self, process: TrackerProcess, sad_words: Sequence[str] = SAD_WORDS) -> None:
        """Demand that the log of a process holds nothing that no fault may bring forth."""
        text = process.text()
        for words in sad_words:
            self.demand(words not in text, f'"{words}" in {process.log}')


def usage(pid: int) -> Usage:
    """
    Return what a process holds now.

    :raises FileNotFoundError: when it has ended.
    """
    folder = Path(f'/proc/{pid}')
    kilobytes = {}
    for line in (folder / 'status').read_text().splitlines():
        name, _, value = line.partition(':')
        if value.endswith('kB'):
            kilobytes[name] = int(value.split()[0])
    return Usage(kilobytes.get('VmRSS', 0) / 1024, kilobytes.get('RssAnon', 0) / 1024,
                 len(os.listdir(folder / 'task')), len(os.listdir(folder / 'fd')))


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f'/proc/{pid}/status').read_text()
    mask = next(line for line in status.splitlines() if line.startswith('SigCgt:'))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


def windows(values: Sequence[float], warm_up: float = 0.2, width: float = 0.2,
            ) -> tuple[float, float]:
    """
    Return the medians of two windows: the first one behind the warm-up, and the last one.

    :param warm_up: share of the values that is left out.
    :param width: share of the values that a window takes.
    """
    first, length = round(len(values) * warm_up), max(round(len(values) * width), 1)
    return (statistics.median(values[first:first + length] or values),
            statistics.median(values[-length:]))
