"""Frames from a picture, a folder of pictures, a GIF, a video file, a stream or a camera."""

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.clip_truth import ClipTruth, read_truth
from trans3dhead_ros.media.picture_header import check_complete
from trans3dhead_ros.types import Image

if TYPE_CHECKING:
    from trans3dhead_ros.camera import Camera

PICTURE_SUFFIXES = frozenset(
    ['.bmp', '.jpg', '.jpeg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp'])
"""Names of picture files end in these, in lower or upper case."""

FOLDER_FPS = 10.0
"""Pictures per second of a folder, which has no stamps."""


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


class FrameSource(ABC):
    """
    An iterable of frames, see `open_source`.

    Iterating again starts from the first frame (a camera resumes at the current frame). Iteration
    raises `UserError` where a picture cannot be read.

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


class PictureSource(FrameSource):
    """One picture, or the pictures of a folder in natural order."""

    def __init__(self, name: str, paths: list[str]) -> None:
        self._paths = paths
        height, width = read_picture(paths[0]).shape[:2]
        super().__init__(name, FOLDER_FPS, (width, height), len(paths))

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._paths):
            yield Frame(index, index / self.fps, read_picture(path), path)

    def close(self) -> None:
        """Do nothing: no file stays open between pictures."""


class VideoSource(FrameSource):
    """A video file, GIF or stream that OpenCV can read, with its own time stamps."""

    def __init__(self, name: str, target: str, live: bool) -> None:
        self._target = target
        self.live = live
        # A stream may refuse a second connection, so the first reader of a live source is kept.
        self._capture = cv2.VideoCapture(target)
        opened, image = self._capture.read() if self._capture.isOpened() else (False, None)
        if not opened:
            self._capture.release()
            raise UserError(
                f'source: {name} cannot be opened: not an image or video that OpenCV can decode')
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if not live:
            self._capture.release()
        super().__init__(
            name,
            fps=fps if 0 < fps <= 1000 else 25.0,
            size=(image.shape[1], image.shape[0]),
            count=count if count > 0 and not live else None,
            truth=None if live else read_truth(target),
        )

    def __iter__(self) -> Iterator[Frame]:
        capture = self._capture if self.live else cv2.VideoCapture(self._target)
        index, previous = 0, -np.inf
        try:
            while True:
                read, image = capture.read()
                if not read:
                    return
                stamp = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
                # Some containers and OpenCV versions give no time, or the same one twice.
                if not np.isfinite(stamp) or stamp <= previous:
                    stamp = index / self.fps if previous < 0 else previous + 1 / self.fps
                yield Frame(index, stamp, image)
                index, previous = index + 1, stamp
        finally:
            if not self.live:
                capture.release()

    def close(self) -> None:
        """Release the video reader."""
        self._capture.release()


class CameraSource(FrameSource):
    """A camera by its index; frames are stamped on arrival."""

    live = True

    def __init__(self, index: int) -> None:
        self._capture = cv2.VideoCapture(index)
        opened, image = self._capture.read() if self._capture.isOpened() else (False, None)
        if not opened:
            self._capture.release()
            raise UserError(
                f'source: camera {index} cannot be opened; check that it is connected and not in '
                'use')
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        super().__init__(str(index), fps if 0 < fps <= 1000 else 30.0,
                         (image.shape[1], image.shape[0]), None)
        self._start = time.monotonic()
        self._next_index = 0

    def __iter__(self) -> Iterator[Frame]:
        while True:
            read, image = self._capture.read()
            if not read:
                return
            yield Frame(self._next_index, time.monotonic() - self._start, image)
            self._next_index += 1

    def close(self) -> None:
        """Release the video reader."""
        self._capture.release()


def open_source(source: str | Path) -> FrameSource:
    """
    Open a picture, a folder of pictures, a GIF, a video, a stream (``rtsp://…``) or a camera.

    :param source: a path, a URL, or the index of a camera.
    :return: the source; close it after use, or use it as a context manager.
    :raises UserError: for a source that does not exist or cannot be read.

    Example::

        with open_source('clip.mp4') as source:
            for frame in source:
                heads = pipeline.track(frame.image, frame.stamp, source.camera)

    """
    name = str(source)
    path = Path(name)
    if path.is_dir():
        # Joined as text, so that paths start with the folder as it was given, `./` included.
        pictures = sorted((os.path.join(name, file.name) for file in path.iterdir()
                           if file.suffix.lower() in PICTURE_SUFFIXES), key=natural_order)
        if not pictures:
            raise UserError(f'source: the folder {name} contains no picture '
                            f'({" ".join(sorted(PICTURE_SUFFIXES))})')
        return PictureSource(name, pictures)
    if path.is_file():
        if path.suffix.lower() in PICTURE_SUFFIXES:
            return PictureSource(name, [name])
        return VideoSource(name, str(path), live=False)
    if re.fullmatch(r'\d+', name):
        return CameraSource(int(name))
    if '://' in name:
        return VideoSource(name, name, live=True)
    raise UserError(f'source: {name} does not exist; give a picture, a folder of pictures, '
                    'a video or a camera index')


def read_picture(path: str | Path) -> Image:
    """
    Read a picture file, rotated upright according to its EXIF orientation.

    :param path: of the file.
    :return: (H, W, 3) uint8 BGR.
    :raises UserError: for a file that is missing, not a picture, or truncated.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'picture: {path} cannot be read ({error.strerror})') from error
    return decode_picture(data, str(path))


def decode_picture(data: bytes, name: str) -> Image:
    """
    Decode a picture file, rotated upright according to its EXIF orientation.

    :param data: the whole file.
    :param name: of the picture, for error messages.
    :return: (H, W, 3) uint8 BGR.
    :raises UserError: for data that are not a picture, or truncated.
    """
    try:
        check_complete(data)
    except UserError as error:
        raise UserError(f'picture: {name}: {error}') from None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:  # as for more pixels than OpenCV decodes
        image = None
    if image is None:
        raise UserError(f'picture: {name} is not a picture that OpenCV can read')
    return image


def natural_order(path: str) -> list[tuple[int, str]]:
    """Return a sort key that puts frame2 before frame10."""
    return [(int(part), '') if part.isdigit() else (-1, part.lower())
            for part in re.split(r'(\d+)', path)]
