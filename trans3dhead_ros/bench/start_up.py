"""How long a process takes to its first head, and how much memory it holds then."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from trans3dhead_ros.bench.settings import Settings

_STATM = Path('/proc/self/statm')


def measure_start_up(settings: Settings, started: float) -> dict[str, Any]:
    """
    Load a pipeline and align a first head.

    :param settings: model, device, engine, detector and threads.
    :param started: `time.time()` when this process was started.
    :return: JSON values: seconds from there to the first head, and megabytes in memory.
    :raises UserError: when what the settings name does not exist.
    """
    from trans3dhead_ros.perception.pipeline import HeadPipeline
    pipeline = HeadPipeline.load(settings.model, settings.device, settings.backend,
                                 settings.detector, threads=settings.threads)
    image = np.full((480, 640, 3), 120, np.uint8)
    pipeline.align(image, [[260.0, 180.0, 380.0, 300.0]])
    return {'first_head_s': round(time.time() - started, 3), **memory_mb()}


def memory_mb() -> dict[str, float]:
    """Return the resident memory of this process and its peak so far, megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    resident = peak
    if _STATM.is_file():
        resident = int(_STATM.read_text().split()[1]) * resource.getpagesize()
    return {'resident_mb': round(resident / 1e6, 1), 'peak_mb': round(peak / 1e6, 1)}
