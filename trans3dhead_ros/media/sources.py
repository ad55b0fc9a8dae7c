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
from trans3dhead_ros.media.clip_truth import Truth, read_truth
from trans3dhead_ros.media.picture_header import check_complete
from trans3dhead_ros.types import Image

if TYPE_CHECKING:
    from trans3dhead_ros.camera import Camera


PICTURE_SUFFIXES = frozenset(
    ['.bmp', '.jpg', '.jpeg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp'])

#: Pictures of a folder carry no time: this many a second.
FOLDER_FPS = 10.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a source."""

    index: int
    """0, 1, 2 … in the order of the source."""
    stamp: float
    """seconds; 0 at the start of the source, strictly increasing."""
    image: Image
    """(H, W, 3) BGR."""
    file: str | None = None
    """Path of the picture; None for other sources than pictures."""


class FrameSource(ABC):
    """
    Frames in order; iterating again starts again from the first (a camera just goes on).

    Iteration raises `ValueError` where a picture of the source cannot be read.
    """

    #: Whether frames come when they come, and not when they are asked for: a camera, a stream.
    live = False

    def __init__(self, name: str, fps: float, size: tuple[int, int], count: int | None,
                 truth: Truth | None = None) -> None:
        #: The source as it was given.
        self.name = name
        #: frames a second, on average.
        self.fps = fps
        #: (width, height) px of the first frame; pictures of a folder may differ from it.
        self.size = size
        #: How many frames there will be, as far as the container knows; None for a live source.
        self.count = count
        #: The pose of the head in every frame, for a clip that was rendered.
        self.truth = truth

    @property
    def camera(self) -> 'Camera | None':
        """The camera that made the clip, where its truth is known."""
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
        """Nothing stays open between pictures."""


class VideoSource(FrameSource):
    """A file or stream of OpenCV's video reader; GIFs come composed, with their own durations."""

    def __init__(self, name: str, target: str, live: bool) -> None:
        self._target = target
        self.live = live
        # A stream may refuse a second connection, so a live one keeps the reader that was opened.
        self._capture = cv2.VideoCapture(target)
        opened, image = self._capture.read() if self._capture.isOpened() else (False, None)
        if not opened:
            self._capture.release()
            raise UserError(f'source: {name} cannot be read as a picture or a video')
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
                # Some containers and some OpenCV versions give no time, or the same one twice.
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
    """A camera by its index, stamped when the frame arrives."""

    live = True

    def __init__(self, index: int) -> None:
        self._capture = cv2.VideoCapture(index)
        opened, image = self._capture.read() if self._capture.isOpened() else (False, None)
        if not opened:
            self._capture.release()
            raise UserError(f'source: camera {index} cannot be opened; is it plugged in and free?')
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

    Raises:
        ValueError: nothing is there, or it cannot be read; the message says which.

    """
    name = str(source)
    path = Path(name)
    if path.is_dir():
        # Joined as text: the paths begin as the folder was given, `./` included.
        pictures = sorted((os.path.join(name, file.name) for file in path.iterdir()
                           if file.suffix.lower() in PICTURE_SUFFIXES), key=natural_order)
        if not pictures:
            raise UserError(f'source: the folder {name} holds no picture '
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
    Read a picture file as (H, W, 3) BGR uint8, turned upright by its EXIF orientation.

    Raises:
        ValueError: the file is missing, is no picture, or is cut short.

    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'picture: {path} cannot be read ({error.strerror})') from error
    return decode_picture(data, str(path))


def decode_picture(data: bytes, name: str) -> Image:
    """
    Decode the bytes of a picture file to (H, W, 3) BGR uint8; `name` is for the message.

    Raises:
        ValueError: the bytes are no picture, or end too early (decoders fill the rest with grey).

    """
    try:
        check_complete(data)
    except UserError as error:
        raise UserError(f'picture: {name}: {error}') from None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise UserError(f'picture: {name} is not a picture that OpenCV can read')
    return image


def natural_order(path: str) -> list[tuple[int, str]]:
    """Return the key that sorts frame2 before frame10."""
    return [(int(part), '') if part.isdigit() else (-1, part.lower())
            for part in re.split(r'(\d+)', path)]
