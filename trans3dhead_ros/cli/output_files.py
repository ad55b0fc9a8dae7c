"""The files that `detect` and `track` write: lines of JSON, pictures, a video."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.sources import FrameSource
from trans3dhead_ros.types import Image

VIDEO_CODECS = {'.mp4': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}


@contextmanager
def line_writer(path: str | None) -> Iterator[Callable[[str], object]]:
    """
    Open a file to write lines to.

    :param path: a file; '-' is the standard output, None writes nothing.
    :yield: the function that writes a line.
    """
    if path is None:
        yield lambda line: None
    elif path == '-':
        # Whoever reads a pipe gets each line at once, and a closed one ends the run.
        yield lambda line: print(line, end='', flush=True)
    else:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # Line by line, so that everything so far is in the file when a long run is stopped.
        with Path(path).open('w', buffering=1) as file:
            yield file.write


@contextmanager
def overlay_writer(
    path: Path | None, source: FrameSource,
) -> Iterator[Callable[[Image], object] | None]:
    """
    Open a file or folder to write overlays to.

    :param path: a video, a folder for numbered pictures, or None.
    :param source: the video.
    :yield: the function that writes the overlay of the next frame; None where no path is given.
    :raises UserError: the path has another ending, or cannot be written.
    """
    if path is None:
        yield None
        return
    suffix = path.suffix.lower()
    if suffix and suffix not in VIDEO_CODECS:
        raise UserError(f'output: {path} does not end in one of {" ".join(sorted(VIDEO_CODECS))}; '
                        'a folder for numbered pictures has no ending')
    (path.parent if suffix else path).mkdir(parents=True, exist_ok=True)
    if not suffix:
        numbers = iter(range(sys.maxsize))
        yield lambda image: write_picture(path / f'{next(numbers):06d}.png', image)
        return
    codec = cv2.VideoWriter_fourcc(*VIDEO_CODECS[suffix])
    writer = cv2.VideoWriter(str(path), codec, source.fps, source.size)
    if not writer.isOpened():
        raise UserError(f'output: {path} cannot be written')
    try:
        yield lambda image: writer.write(_letterboxed(image, source.size))
    finally:
        writer.release()


def write_picture(path: Path, image: Image) -> None:
    """
    Write a picture.

    :param path: its ending chooses the format.
    :param image: (H, W, 3) BGR.
    :raises UserError: it cannot be written.
    """
    if not cv2.imwrite(str(path), image):
        raise UserError(f'output: {path} cannot be written')


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
