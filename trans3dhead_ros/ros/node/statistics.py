"""What the node counts and measures, and its report on /diagnostics."""

from __future__ import annotations

import resource
import threading
from collections import Counter, deque
from pathlib import Path

import numpy as np
import torch
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

_WINDOW = 300  # frames
_STATM = Path('/proc/self/statm')


class Statistics:
    """Counters of one camera, safe to use from several threads; times are seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received: deque[float] = deque(maxlen=_WINDOW)
        self._inference: deque[float] = deque(maxlen=_WINDOW)
        self._counts: Counter[str] = Counter()
        self._age = float('nan')
        self._heads = 0
        self._owed: float | None = None

    def received(self, now: float) -> None:
        """Note that an image has come; `now` is of a clock that only goes forward."""
        with self._lock:
            self._received.append(now)
            self._owed = now if self._owed is None else self._owed
            self._counts['received'] += 1

    def answered(self, inference: float, age: float, heads: int) -> None:
        """Note an answer: how long it took, how old the image was then, how many heads."""
        with self._lock:
            self._inference.append(inference)
            self._counts['answered'] += 1
            self._age, self._heads = age, heads
            self._owed = None

    def rejected(self, kind: str) -> int:
        """Count a message that could not be used: 'image' or 'camera_info'. Return how many."""
        with self._lock:
            self._counts[f'bad {kind}'] += 1
            if kind == 'image':
                self._owed = None
            return self._counts[f'bad {kind}']

    def failed(self) -> None:
        """Count an image that a defect has kept from being answered."""
        with self._lock:
            self._counts['failed'] += 1
            self._owed = None

    def replaced(self) -> None:
        """Count an image that a newer one has replaced before it was looked at."""
        with self._lock:
            self._counts['replaced'] += 1

    def skipped(self) -> None:
        """Count an image that came sooner than `max_rate` asks for."""
        with self._lock:
            self._counts['skipped'] += 1
            self._owed = None

    def bad(self) -> int:
        """Return how many messages could not be used."""
        with self._lock:
            return self._counts['bad image'] + self._counts['bad camera_info']

    def failures(self) -> int:
        """Return how many images a defect has kept from being answered."""
        with self._lock:
            return self._counts['failed']

    def last_received(self) -> float | None:
        """Return when the last image came."""
        with self._lock:
            return self._received[-1] if self._received else None

    def pending_since(self) -> float | None:
        """Return when the first image came since one was done with in whatever way; or None."""
        with self._lock:
            return self._owed

    def reset_pending(self) -> None:
        """Note that no answer is expected to the images that have come."""
        with self._lock:
            self._owed = None

    def values(self, now: float) -> dict[str, str]:
        """Return the report as names and texts."""
        with self._lock:
            recent = [t for t in self._received if now - t < 5.0]
            rate = (len(recent) - 1) / (recent[-1] - recent[0]) \
                if len(recent) > 1 and recent[-1] > recent[0] else 0.0
            report = {
                'input rate (Hz)': f'{rate:.1f}',
                'images received': str(self._counts['received']),
                'images answered': str(self._counts['answered']),
                'images replaced by newer ones': str(self._counts['replaced']),
                'images above max_rate': str(self._counts['skipped']),
                'images that failed': str(self._counts['failed']),
                'bad images': str(self._counts['bad image']),
                'bad camera_info': str(self._counts['bad camera_info']),
                'frame age (ms)': _milliseconds(self._age),
                'heads': str(self._heads),
            }
            for percent in (50, 95):
                time = np.percentile(self._inference, percent) if self._inference else np.nan
                report[f'inference p{percent} (ms)'] = _milliseconds(float(time))
        return report


def memory(device: torch.device) -> dict[str, str]:
    """Return the memory of the process, and what its tensors take on an accelerator."""
    # Linux reports the peak in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = {'peak memory (MB)': f'{peak / 1024:.0f}'}
    if _STATM.is_file():
        resident = int(_STATM.read_text().split()[1]) * resource.getpagesize()
        report['memory (MB)'] = f'{resident / 2 ** 20:.0f}'
    if device.type == 'cuda':
        report['device memory (MB)'] = f'{torch.cuda.memory_reserved(device) / 2 ** 20:.0f}'
    return report


def diagnostic_status(
    name: str, hardware: str, level: bytes, summary: str, values: dict[str, str],
) -> DiagnosticStatus:
    """
    Return one report for /diagnostics.

    :param level: `DiagnosticStatus.OK`, `.WARN`, `.ERROR` or `.STALE`.
    """
    return DiagnosticStatus(
        level=level, name=name, message=summary, hardware_id=hardware,
        values=[KeyValue(key=key, value=value) for key, value in values.items()])


def _milliseconds(seconds: float) -> str:
    return 'unknown' if np.isnan(seconds) else f'{1000.0 * seconds:.1f}'
