"""What a measurement measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trans3dhead_ros.bench.timing import ELAPSED, PROCESSOR


@dataclass(frozen=True)
class Settings:
    """What is measured; all values are those of JSON."""

    source: str = ''
    """Picture, folder, video or camera index; '' is the bundled clip."""
    model: str = 'default'
    """Path of a model, 'default' or 'open'."""
    device: str = 'auto'
    """'auto', 'cpu', 'cuda' or 'cuda:N'."""
    backend: str = 'auto'
    """Name of an engine, or 'auto'."""
    detector: str = ''
    """Path of a head detector or of a YuNet file, or 'open'; '' is the bundled detector."""
    yunet: str = ''
    """Path of a YuNet file that is timed beside the detector; '' for none."""
    threads: int = 1
    """Of the engine and of OpenCV; the environment limits the others."""
    batches: Sequence[int] = (1, 2, 5, 10, 20)
    """Numbers of heads in one call."""
    rounds: int = 60
    """Measurements of each action."""
    processor_time: bool = False
    """Count the processor's time of the process instead of the time that elapses."""

    @property
    def clock(self) -> Callable[[], float]:
        """The clock of `take_turns`."""
        return PROCESSOR if self.processor_time else ELAPSED
