"""Frames of a source, in order, each with its time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trans3dhead_ros.media.clip_truth import ClipTruth
from trans3dhead_ros.types import Image

if TYPE_CHECKING:
    from trans3dhead_ros.camera import Camera


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a source."""

    index: int
    """0, 1, 2 … in the order of the source."""
    stamp: float
    """Seconds since the start of the source, strictly increasing."""
    image: Image
    """(H, W, 3) BGR."""
    file: str | None = None
    """Path of the picture; None for frames that are not files."""
    page: int | None = None
    """Number of the frame in a picture file of several, from 0; None for others."""


class FrameSource(ABC):
    """
    An iterable of frames, see `open_source`.

    Iterating again starts from the first frame (a camera resumes at the current frame). What
    cannot be read is left out and named in `losses`.

    :param name: the source as it was given.
    :param fps: frames per second, on average.
    :param size: (width, height) px of the first frame; pictures of a folder can differ.
    :param count: number of frames according to the container; None for a live source.
    :param truth: poses of the heads, for a rendered clip.
    """

    live = False
    """Whether frames arrive at their own pace, as from a camera or a stream."""

    def __init__(self, name: str, fps: float, size: tuple[int, int], count: int | None,
                 truth: ClipTruth | None = None) -> None:
        self.name = name
        self.fps = fps
        self.size = size
        self.count = count
        self.truth = truth
        self.losses: list[str] = []
        """What could not be read so far, one line each; the last iteration counts."""
        self.notes: list[str] = []
        """What was assumed, one line each."""

    @property
    def camera(self) -> 'Camera | None':
        """The camera of a rendered clip; None for other sources."""
        if self.truth is None:
            return None
        from trans3dhead_ros.camera import Camera
        return Camera(self.truth.intrinsics, size=self.truth.size)

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames."""

    @abstractmethod
    def close(self) -> None:
        """Release the device or the file."""

    def __enter__(self) -> 'FrameSource':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
