"""
The files that `detect` and `track` write: lines of JSON, pictures, a video.

A file is written under a temporary name and renamed when the run ends, even if Ctrl-C or a full
disk ends it, so that the results so far stay readable. Only a file that --force would replace is
then left alone, and the results keep their temporary name.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.sources import FrameSource
from trans3dhead_ros.output_paths import is_special, partial_path
from trans3dhead_ros.types import Image

VIDEO_CODECS = {'.mp4': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}
# FFmpeg does not report a failed write, so that a video ends while its index still fits.
_RESERVED_BYTES = 2 ** 18


@contextmanager
def line_writer(path: str | None) -> Iterator[Callable[[str], object]]:
    """
    Open a file to write lines to.

    :param path: a file; '-' is the standard output, None writes nothing.
    :yield: the function that writes a line; whoever reads the file gets each line at once, whole.
    :raises UserError: the file cannot be written.
    """
    if path is None:
        yield lambda line: None
    elif path == '-':
        # A closed pipe ends the run.
        yield lambda line: print(line, end='', flush=True)
    elif is_special(path):
        with _LineFile(Path(path), path) as file:
            yield file.write
    else:
        with _moved_at_the_end(Path(path)) as partial, _LineFile(partial, path) as file:
            yield file.write


class _LineFile:
    """A file of whole lines: one that does not fit is cut off again."""

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        self._file = path.open('wb', buffering=0)
        self._lines, self._size = 0, 0

    def write(self, line: str) -> None:
        data = line.encode()
        try:
            written = 0
            while written < len(data):
                written += self._file.write(data[written:]) or 0
        except BrokenPipeError:
            raise
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._size)
            raise UserError(f'json: {self._name} cannot be written ({error.strerror}); '
                            f'{self._lines} rows are in it') from None
        self._lines, self._size = self._lines + 1, self._size + len(data)

    def __enter__(self) -> _LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextmanager
def _moved_at_the_end(path: Path) -> Iterator[Path]:
    """
    Yield where to write a file, and move it to its name.

    :param path: the file; a link stays, and what it leads to is replaced.
    :yield: a path beside it.
    :raises UserError: an error ended the run and the file exists, so that it was left alone.
    """
    target, partial = Path(os.path.realpath(path)), partial_path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
    except KeyboardInterrupt:
        _move(partial, target)
        raise
    except Exception as error:
        if not partial.exists():
            raise
        if not target.exists():
            _move(partial, target)
            raise
        message = f'{error}; the results so far are in {partial}, and {path} is as before'
        raise (UserError(message) if isinstance(error, UserError) else error) from None
    else:
        _move(partial, target)


def _move(partial: Path, target: Path) -> None:
    if partial.exists():
        partial.replace(target)


@contextmanager
def overlay_writer(
    path: Path | None, source: FrameSource,
) -> Iterator[Callable[[Image], object] | None]:
    """
    Open a file or folder to write overlays to.

    :param path: a video, a folder for numbered pictures, or None.
    :param source: the video.
    :yield: the function that writes the overlay of the next frame; None where no path is given.
    :raises UserError: the path has another extension, or cannot be written.
    """
    if path is None:
        yield None
        return
    check_overlay(path)
    if not path.suffix:
        path.mkdir(parents=True, exist_ok=True)
        numbers = iter(range(sys.maxsize))
        yield lambda image: write_picture(path / f'{next(numbers):06d}.png', image)
        return
    with _moved_at_the_end(path) as partial:
        video = _Video(partial, path, source)
        try:
            yield video.write
        finally:
            video.close()
        video.check()


def check_overlay(path: Path | None) -> None:
    """
    Refuse an overlay whose extension is not that of a video.

    :param path: a video, a folder, which has no extension, or None.
    :raises UserError: for another extension.
    """
    if path is not None and path.suffix and path.suffix.lower() not in VIDEO_CODECS:
        raise UserError(f'output: {path} is neither a video ({" ".join(sorted(VIDEO_CODECS))}) nor '
                        'a folder for numbered pictures, whose name has no extension; a bag is '
                        'written only if the source is a bag')


class _Video:
    """A video that is ended where its disk has no room left for what is still to be written."""

    def __init__(self, file: Path, name: Path, source: FrameSource) -> None:
        self._file, self._name, self._size, self._frames = file, name, source.size, 0
        codec = cv2.VideoWriter_fourcc(*VIDEO_CODECS[name.suffix.lower()])
        # Other backends take a % in a file name for a number.
        backend = cv2.CAP_FFMPEG if '%' in str(file) else cv2.CAP_ANY
        self._writer = cv2.VideoWriter(str(file), backend, codec, source.fps, source.size)
        if not self._writer.isOpened():
            raise UserError(f'output: {name} cannot be written')

    def write(self, image: Image) -> None:
        room = _room_left(self._file)
        if room < _RESERVED_BYTES + image.size // 8:
            raise UserError(f'output: {self._name} cannot be written (no space left); '
                            f'{self._frames} frames are in it')
        self._writer.write(_letterboxed(image, self._size))
        self._frames += 1

    def close(self) -> None:
        self._writer.release()

    def check(self) -> None:
        """Raise `UserError` where the file is not what was written to it."""
        if not self._frames:
            return
        capture = cv2.VideoCapture(str(self._file))
        complete = capture.isOpened() and capture.read()[0]
        capture.release()
        if not complete:
            raise UserError(f'output: {self._name} could not be written completely; is there '
                            'space left on the disk?')


def _room_left(path: Path) -> float:
    """Return how many bytes the file system and the limit of the process let a file grow."""
    import resource
    size = path.stat().st_size if path.exists() else 0
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    room = shutil.disk_usage(path.parent).free
    return room if limit == resource.RLIM_INFINITY else min(room, limit - size)


def write_picture(path: Path, image: Image) -> None:
    """
    Write a picture, whole or not at all.

    :param path: its extension determines the format.
    :param image: (H, W, 3) BGR.
    :raises UserError: it cannot be written.
    """
    # A link of that name is replaced, not what it leads to.
    partial = path.with_name(f'{path.stem}.partial{path.suffix}')
    try:
        try:
            partial.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UserError(f'output: {path} cannot be written ({error.strerror})') from None


def _letterboxed(image: Image, size: tuple[int, int]) -> Image:
    """Scale an image into (width, height) with black bars: a video has one size of frame."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    scale = min(size[0] / width, size[1] / height)
    small = cv2.resize(image, (max(round(width * scale), 1), max(round(height * scale), 1)),
                       interpolation=cv2.INTER_AREA)
    boxed = np.zeros((size[1], size[0], 3), np.uint8)
    y, x = (size[1] - small.shape[0]) // 2, (size[0] - small.shape[1]) // 2
    boxed[y:y + small.shape[0], x:x + small.shape[1]] = small
    return boxed
