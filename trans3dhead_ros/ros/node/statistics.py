"""Counters and measurements of the node, and their report on /diagnostics."""

from __future__ import annotations

import resource
import sys
import threading
from collections import Counter, deque
from pathlib import Path

import numpy as np
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
        self._pending_since: float | None = None

    def received(self, now: float) -> None:
        """Count a received image; `now` is from a monotonic clock."""
        with self._lock:
            self._received.append(now)
            self._pending_since = now if self._pending_since is None else self._pending_since
            self._counts['received'] += 1

    def processed(self, inference: float, age: float, heads: int) -> None:
        """
        Count an image whose heads were published.

        :param inference: processing time, seconds.
        :param age: age of the image when its heads were published, seconds.
        :param heads: their number.
        """
        with self._lock:
            self._inference.append(inference)
            self._counts['processed'] += 1
            self._age, self._heads = age, heads
            self._pending_since = None

    def rejected(self, kind: str) -> int:
        """Count an invalid message, 'image' or 'camera_info', and return how many there were."""
        with self._lock:
            self._counts[f'bad {kind}'] += 1
            if kind == 'image':
                self._pending_since = None
            return self._counts[f'bad {kind}']

    def failed(self) -> None:
        """Count an image that was not processed because of a defect."""
        with self._lock:
            self._counts['failed'] += 1
            self._pending_since = None

    def replaced(self) -> None:
        """Count an image that was replaced by a newer one before it was processed."""
        with self._lock:
            self._counts['replaced'] += 1

    def skipped(self) -> None:
        """Count an image that exceeds `max_rate`."""
        with self._lock:
            self._counts['skipped'] += 1
            self._pending_since = None

    def bad(self) -> int:
        """Return the number of invalid messages."""
        with self._lock:
            return self._counts['bad image'] + self._counts['bad camera_info']

    def failures(self) -> int:
        """Return the number of images that were not processed because of a defect."""
        with self._lock:
            return self._counts['failed']

    def last_received(self) -> float | None:
        """Return the time of the last image."""
        with self._lock:
            return self._received[-1] if self._received else None

    def pending_since(self) -> float | None:
        """Return the time of the first image since one was last dealt with; None if none waits."""
        with self._lock:
            return self._pending_since

    def reset_pending(self) -> None:
        """Expect no results for the images received so far."""
        with self._lock:
            self._pending_since = None

    def values(self, now: float) -> dict[str, str]:
        """Return the report as names and texts; `now` is from the clock of `received`."""
        with self._lock:
            recent = [t for t in self._received if now - t < 5.0]
            rate = (len(recent) - 1) / (recent[-1] - recent[0]) \
                if len(recent) > 1 and recent[-1] > recent[0] else 0.0
            report = {
                'input rate (Hz)': f'{rate:.1f}',
                'images received': str(self._counts['received']),
                'images processed': str(self._counts['processed']),
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


def memory(device: str) -> dict[str, str]:
    """Return the memory of the process and, on a GPU, that of torch's tensors."""
    # Linux reports the peak in KiB.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = {'peak memory (MB)': f'{peak / 1024:.0f}'}
    if _STATM.is_file():
        resident = int(_STATM.read_text().split()[1]) * resource.getpagesize()
        report['memory (MB)'] = f'{resident / 2 ** 20:.0f}'
    torch = sys.modules.get('torch')
    if device.startswith('cuda') and torch is not None:
        report['device memory (MB)'] = f'{torch.cuda.memory_reserved(device) / 2 ** 20:.0f}'
    return report


def diagnostic_status(
    name: str, hardware: str, level: bytes, summary: str, values: dict[str, str],
) -> DiagnosticStatus:
    """
    Make one status of /diagnostics.

    :param name: what the status is about.
    :param hardware: id of the hardware.
    :param level: `DiagnosticStatus.OK`, `.WARN`, `.ERROR` or `.STALE`.
    :param summary: its message.
    :param values: names and texts.
    :return: the status.
    """
    return DiagnosticStatus(
        level=level, name=name, message=summary, hardware_id=hardware,
        values=[KeyValue(key=key, value=value) for key, value in values.items()])


def _milliseconds(seconds: float) -> str:
    return 'unknown' if np.isnan(seconds) else f'{1000.0 * seconds:.1f}'
