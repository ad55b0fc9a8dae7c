"""Resources of a process, and the outcome of a scenario."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ros_graph import TrackerProcess

# What a log must not contain.
TRACEBACK, INCOMPATIBLE = FORBIDDEN_WORDS = ('Traceback', 'incompatible QoS')


@dataclass(frozen=True)
class Usage:
    """Memory is in MB (2^20 bytes)."""

    resident: float
    """Resident memory, including files and shared memory."""
    anonymous: float
    """Resident memory without files and shared memory; leaks show here."""
    threads: int
    """Number of threads."""
    handles: int
    """Number of open file descriptors."""


@dataclass
class Outcome:
    """Figures and violations of a scenario."""

    name: str
    figures: dict[str, object] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def demand(self, holds: bool, violation: str) -> None:
        """Note a violation where something does not hold."""
        if not holds:
            self.violations.append(violation)

    def read_log(
        self, process: TrackerProcess, forbidden_words: Sequence[str] = FORBIDDEN_WORDS,
    ) -> None:
        """Demand that the log of a process does not contain any of these words."""
        text = process.text()
        for words in forbidden_words:
            self.demand(words not in text, f'"{words}" in {process.log}')


def usage(pid: int) -> Usage:
    """
    Read the resources of a process.

    :param pid: of the process.
    :return: its present usage.
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
    Compare two windows of a series: the first one after the warm-up, and the last one.

    :param values: the series.
    :param warm_up: share of the values that is left out.
    :param width: share of the values in a window.
    :return: the medians of both windows.
    """
    first, length = round(len(values) * warm_up), max(round(len(values) * width), 1)
    return (statistics.median(values[first:first + length] or values),
            statistics.median(values[-length:]))
