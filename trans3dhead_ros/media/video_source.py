"""Frames of a video file, a stream or a camera."""

import os
import time
from collections.abc import Iterator

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.clip_truth import read_truth
from trans3dhead_ros.media.frame_source import Frame, FrameSource
from trans3dhead_ros.media.picture_pages import MAX_PICTURE_PIXELS

# After its end, every read of a video fails; a damaged one continues after some failures.
_LEAST_TRIES, _MOST_TRIES = 8, 1000
_IRREGULAR_SHARE = 0.1


class VideoSource(FrameSource):
    """A video file, GIF or stream that OpenCV can read, with its own time stamps."""

    def __init__(self, name: str, target: str, live: bool) -> None:
        # FFmpeg takes a name with a colon for a URL, but not a path from the root.
        self._target = target if live else os.path.abspath(target)
        self.live = live
        # A stream may refuse a second connection, so the first reader of a live source is kept.
        self._capture = self._open()
        width, height = (int(self._capture.get(side)) for side in (
            cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_PICTURE_PIXELS:
            raise UserError(f'source: {name} has frames of {width} x {height} pixels, more than '
                            f'the {MAX_PICTURE_PIXELS // 1_000_000} million that are decoded; '
                            'scale it down')
        opened, image = False, None
        for _ in range(1 if live else _LEAST_TRIES):
            if not opened and self._capture.isOpened():
                opened, image = self._capture.read()
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

    def _open(self) -> cv2.VideoCapture:
        # Other backends take a % in a file name for a number.
        return cv2.VideoCapture(self._target, cv2.CAP_ANY if self.live or '%' not in self._target
                                else cv2.CAP_FFMPEG)

    def __iter__(self) -> Iterator[Frame]:
        capture = self._capture if self.live else self._open()
        index, previous, failed, irregular = 0, -np.inf, 0, 0
        self.losses = []
        try:
            while True:
                read, image = capture.read()
                if not read:
                    failed += 1
                    missing = (self.count or 0) - index
                    if self.live or failed > min(max(missing, _LEAST_TRIES), _MOST_TRIES):
                        break
                    continue
                failed = 0
                stamp = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
                # Some containers and OpenCV versions give no time, or the same one twice.
                if not np.isfinite(stamp) or stamp <= previous:
                    stamp = index / self.fps if previous < 0 else previous + 1 / self.fps
                irregular += index > 0 and abs((stamp - previous) * self.fps - 1) > 0.1
                yield Frame(index, stamp, image)
                index, previous = index + 1, stamp
        finally:
            if not self.live:
                capture.release()
        # Other containers have an estimate, which holds for a constant rate.
        if self.count is not None and index < self.count and (
                irregular < _IRREGULAR_SHARE * index or _states_count(self._target)):
            self.losses.append(f'source: {self.name} has {self.count} frames according to its '
                               f'header, and {index} of them could be read')

    def close(self) -> None:
        """Release the video reader."""
        self._capture.release()


def _states_count(path: str) -> bool:
    """Return whether the container of a file states its number of frames: MP4 and AVI do."""
    with open(path, 'rb') as file:
        head = file.read(12)
    return head[4:8] == b'ftyp' or (head[:4] == b'RIFF' and head[8:] == b'AVI ')


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
