"""Frames from a picture, a folder of pictures, an animation, a video file, a stream or a camera."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.bit_depth import BitDepth
from trans3dhead_ros.media.decoder_messages import damage, decoder_messages
from trans3dhead_ros.media.frame_source import Frame, FrameSource
from trans3dhead_ros.media.picture_format import PICTURE_SUFFIXES, file_format, refusal
from trans3dhead_ros.media.picture_header import JPEG_END
from trans3dhead_ros.media.picture_pages import PicturePages
from trans3dhead_ros.media.video_source import CameraSource, VideoSource
from trans3dhead_ros.types import Image

FOLDER_FPS = 10.0
"""Pictures per second of a folder, which has no stamps."""

# More than the largest picture that is decoded has without compression.
_MAX_FILE_BYTES = 2 ** 30

# What decoders put where the data of a JPEG are lost, and how much of it is too much.
_FILLED, _MOST_FILLED = 128, 0.9


class PictureSource(FrameSource):
    """
    Picture files in the given order, and each frame of one that has several.

    :param name: the source as it was given.
    :param paths: of the files.
    :param losses: what was passed over before, one line each.
    :param bits: significant bits of 16-bit samples; 0 infers them from the pictures.
    :raises UserError: none of them can be read.
    """

    def __init__(self, name: str, paths: list[str], losses: Iterable[str] = (),
                 bits: int = 0) -> None:
        self.paths, self._passed_over, self._bits = paths, list(losses), bits
        failed = []
        for path in paths:
            try:
                image, seconds, page = next(read_pages(path, BitDepth(bits)))
                break
            except UserError as error:
                failed.append(str(error))
        else:
            raise UserError(failed[0] if len(paths) == 1 else
                            f'source: none of the {len(paths)} pictures of {name} can be read; '
                            f'the first: {failed[0]}')
        count = len(paths) if len(paths) > 1 or page is None else _opened(path, BitDepth()).count
        super().__init__(name, 1 / seconds if seconds and len(paths) == 1 else FOLDER_FPS,
                         (image.shape[1], image.shape[0]), count)
        self.losses = self._passed_over + failed

    def __iter__(self) -> Iterator[Frame]:
        self.losses = list(self._passed_over)
        depth, index, stamp = BitDepth(self._bits), 0, 0.0
        for path in self.paths:
            try:
                for image, seconds, page in read_pages(path, depth):
                    yield Frame(index, stamp, image, path, page)
                    index, stamp = index + 1, round(stamp + (seconds or 1 / FOLDER_FPS), 6)
            except UserError as error:
                self.losses.append(str(error))
            self.notes = [depth.note] if depth.note else []

    def close(self) -> None:
        """Do nothing: no file stays open between pictures."""


def open_source(source: str | Path, bits: int = 0) -> FrameSource:
    """
    Open a picture, a folder of pictures, a GIF, a video, a stream (``rtsp://…``) or a camera.

    Formats are recognised by the content of a file, not by its extension.

    :param source: a path, a URL, or the index or the device file of a camera.
    :param bits: significant bits of 16-bit samples; 0 infers them from the pictures.
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
        pictures, losses = pictures_in(name)
        if not pictures:
            raise UserError(f'source: the folder {name} contains no picture'
                            + (f'; {losses[0]}' if losses else ''))
        return PictureSource(name, pictures, losses, bits)
    if path.is_file():
        if file_format(path):
            return PictureSource(name, [name], bits=bits)
        return VideoSource(name, str(path), live=False)
    if camera := re.fullmatch(r'(?:/dev/video)?(\d{1,9})', name):
        return CameraSource(int(camera[1]))
    if '://' in name:
        return VideoSource(name, name, live=True)
    if path.exists():
        raise UserError(f'source: {name} is neither a file nor a folder, but a pipe or a device')
    raise UserError(f'source: {name} does not exist; give a picture, a folder of pictures, '
                    'a video or a camera index')


def pictures_in(folder: str) -> tuple[list[str], list[str]]:
    """
    List the pictures of a folder.

    :param folder: its path.
    :return: paths in natural order that begin with the folder as it was given, `./` included; and
        a line for each file that is named like a picture and is not one.
    :raises UserError: the folder cannot be read.
    """
    try:
        names = sorted(os.listdir(folder), key=natural_order)
    except OSError as error:
        raise UserError(f'source: {folder} cannot be read ({error.strerror})') from error
    return choose_pictures(os.path.join(folder, name) for name in names)


def choose_pictures(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """
    Choose pictures among files, by their content.

    :param paths: of files and folders.
    :return: the pictures; and a line for each file that is named like a picture and is not one.
    """
    pictures, losses = [], []
    for name in paths:
        path = Path(name)
        if not path.is_file():
            # A broken link, or a pipe, which nobody may write to.
            if not path.is_dir() and path.suffix.lower() in PICTURE_SUFFIXES:
                losses.append(f'picture: {name} is not a file')
            continue
        if reason := refusal(path):
            losses.append(f'picture: {name} {reason}')
        elif file_format(path):
            pictures.append(name)
    return pictures, losses


def read_pages(
    path: str | Path, depth: BitDepth, losses: list[str] | None = None,
) -> Iterator[tuple[Image, float | None, int | None]]:
    """
    Read each frame of a picture file; see `PicturePages`.

    Unlike `decode_picture` it notices a JPEG that lost some of its data, and must not be called by
    several threads at once: decoders say so on the standard error of the process.

    :param path: of the file.
    :param depth: of samples of 16 bits.
    :param losses: where given, a JPEG that is cut off or lost data is read as far as it goes, grey
        after that, and a line for it is added before it is yielded.
    :yield: the image (H, W, 3) BGR; its duration in s, or None; its number from 0, or None in a
        file of one frame.
    :raises UserError: for a file, or a frame, that cannot be read.
    """
    try:
        pages = _opened(path, depth)
    except UserError as error:
        if losses is None or 'truncated' not in str(error):
            raise
        pages = _opened(path, depth, mended=True)
    frames = iter(pages)
    for number in range(pages.count):
        with decoder_messages() as told:
            image, seconds = next(frames)
        if line := damage(told):
            grey = float((image == _FILLED).all(axis=2).mean())
            if losses is None or grey > _MOST_FILLED:
                raise UserError(f'picture: {path} is damaged ({line})')
            losses.append(f'picture: {path} is damaged ({line}): {grey:.0%} of it is lost, the '
                          'rest is processed')
        yield image, seconds, number if pages.count > 1 else None


def _opened(path: str | Path, depth: BitDepth, mended: bool = False) -> PicturePages:
    file = Path(path)
    try:
        # A pipe or a device may have no end.
        if file.exists() and not file.is_file():
            raise UserError(f'picture: {path} is not a file')
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise UserError(f'picture: {path} has more than {_MAX_FILE_BYTES >> 30} GB')
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f'picture: {path} cannot be read ({error.strerror})') from error
    if mended and file_format(Path(path)) == 'JPEG':
        data += JPEG_END
    return PicturePages(data, str(path), depth)


def read_picture(path: str | Path) -> Image:
    """
    Read a picture file, rotated upright according to its EXIF orientation; of several, the first.

    :param path: of the file.
    :return: (H, W, 3) uint8 BGR.
    :raises UserError: for a file that is missing, not a picture, truncated or too large.
    """
    return next(iter(_opened(path, BitDepth())))[0]


def decode_picture(data: bytes, name: str) -> Image:
    """
    Decode a picture file, rotated upright according to its EXIF orientation; of several, the first.

    :param data: the whole file.
    :param name: of the picture, for error messages.
    :return: (H, W, 3) uint8 BGR.
    :raises UserError: for data that are not a picture, truncated or too large.
    """
    return next(iter(PicturePages(data, name)))[0]


def natural_order(path: str) -> list[tuple[int, str]]:
    """Return a sort key that puts frame2 before frame10."""
    return [(int(part), '') if part.isdigit() else (-1, part.lower())
            for part in re.split(r'(\d+)', path)]
