"""
The frames of one picture file: most have one, an animation or a TIFF of several pages has more.

OpenCV decodes what it can, 16-bit samples included, and Pillow the rest. The size is read from the
header first, because a small file can decode to a huge image.
"""

from __future__ import annotations

import io
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.bit_depth import BitDepth
from trans3dhead_ros.media.heif_properties import avif_crop, is_turned_by_container
from trans3dhead_ros.media.picture_format import picture_format
from trans3dhead_ros.media.picture_header import picture_size
from trans3dhead_ros.media.tiff_pages import tiff_pages
from trans3dhead_ros.types import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as PillowImage

MAX_PICTURE_PIXELS = 100_000_000
"""Larger pictures are refused: with one of this size `detect` takes 0.7 GB."""

_PILLOW_NAMES = {'GIF': 'GIF', 'WEBP': 'WEBP', 'BMP': 'BMP', 'PNM': 'PPM', 'AVIF': 'AVIF',
                 'JPEG2000': 'JPEG2000', 'PNG': 'PNG'}
_ORIENTATION = 274  # tag of EXIF
_BY_OPENCV = ('JPEG', 'PNG', 'BMP', 'PNM', 'JPEG2000', 'TIFF')
# Older ones ignore the EXIF orientation of a PNG; Pillow, which then reads it, keeps 8 bits only.
_OPENCV_TURNS_PNG = tuple(map(int, cv2.__version__.split('.')[:2])) >= (4, 6)
# The control chunk of an animation comes before the first pixels.
_PNG_HEAD_BYTES = 2 ** 16
_PNM_MAXIMUM = re.compile(rb'P[2356]\s+(?:#[^\n]*\s+)*\d+\s+\d+\s+(\d{1,5})\s')


class PicturePages:
    """
    The frames of a picture file, upright according to its EXIF orientation; iterate over them.

    Iteration yields images (H, W, 3) uint8 BGR with their durations in s, None where there is none,
    and raises `UserError` at the first one that is damaged.

    :param data: the whole file.
    :param name: of the picture, for error messages.
    :param depth: of its samples; None infers it from the picture.
    :raises UserError: for data that are not a picture, are truncated, or have more than
        `MAX_PICTURE_PIXELS`.

    Example::

        for image, seconds in PicturePages(path.read_bytes(), str(path)):
            ...

    """

    def __init__(self, data: bytes, name: str, depth: BitDepth | None = None) -> None:
        self._data, self._name = data, name
        self._depth = depth or BitDepth()
        self._format = picture_format(data[:64])
        self._stated_bits = 0
        self._by_opencv = self._format in _BY_OPENCV
        self._pillow: PillowImage | None = None
        self._first = 0
        self.count = 1
        """Number of frames according to the file."""
        if self._format is None:
            raise UserError(f'picture: {name} is not a picture')
        if self._format in ('JPEG', 'PNG'):
            self._read_header()
        elif self._format == 'TIFF':
            self._read_tiff()
        else:
            self._open_by_pillow()
        match = _PNM_MAXIMUM.match(data[:2 ** 12]) if self._format == 'PNM' else None
        if match:
            self._stated_bits = int(match[1]).bit_length()

    def __iter__(self) -> Iterator[tuple[Image, float | None]]:
        for index in range(self.count):
            if self._by_opencv and (self._format == 'TIFF' or self.count == 1):
                yield self._decode_by_opencv(index), None
            else:
                yield self._decode_by_pillow(index)

    def _read_header(self) -> None:
        try:
            size = picture_size(self._data)
        except UserError as error:
            raise UserError(f'picture: {self._name}: {error}') from None
        self._check_size(*size)
        if self._format == 'PNG':
            chunk = self._data.find(b'sBIT', 0, _PNG_HEAD_BYTES)
            if chunk > 0:
                self._stated_bits = self._data[chunk + 4]
            head = self._data[:_PNG_HEAD_BYTES]
            self._by_opencv = _OPENCV_TURNS_PNG or b'eXIf' not in head
            if b'acTL' in head or not self._by_opencv:
                self._open_by_pillow()

    def _read_tiff(self) -> None:
        try:
            pages = tiff_pages(self._data)
        except UserError as error:
            raise UserError(f'picture: {self._name} {error}') from None
        for page in pages:
            self._check_size(page.width, page.height)
        self.count, self._stated_bits = len(pages), pages[0].bits

    def _open_by_pillow(self) -> None:
        import PIL.Image
        with self._one_kind_of_error(), warnings.catch_warnings():
            # Of sizes, for which we have a bound of our own.
            warnings.simplefilter('ignore')
            if self._format == 'HEIC':
                self._pillow = _open_heic(self._data, self._name)
            else:
                self._pillow = PIL.Image.open(io.BytesIO(self._data),
                                              formats=[_PILLOW_NAMES[self._format]])
            self._check_size(*self._pillow.size)
            self.count = int(getattr(self._pillow, 'n_frames', 1))
            if getattr(self._pillow, 'default_image', False):
                # A PNG's picture for those who cannot show its animation.
                self._first, self.count = 1, self.count - 1

    def _decode_by_opencv(self, index: int) -> Image:
        data = np.frombuffer(self._data, np.uint8)
        flags = cv2.IMREAD_COLOR if self._format == 'JPEG' else (
            cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        try:
            image = (_tiff_page(data, index, flags) if self._format == 'TIFF'
                     else cv2.imdecode(data, flags))
        except cv2.error:
            image = None
        if image is None:
            raise UserError(f'picture: {self._name} is damaged, or of a kind that OpenCV cannot '
                            'decode')
        if image.dtype == np.uint16:
            return self._depth.to_8_bits(image, self._stated_bits)
        return image

    def _decode_by_pillow(self, index: int) -> tuple[Image, float | None]:
        with self._one_kind_of_error(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            self._pillow.seek(self._first + index)
            self._check_size(*self._pillow.size)
            self._pillow.load()
            milliseconds = self._pillow.info.get('duration') if self.count > 1 else None
            picture = self._pillow
            if self._format == 'AVIF' and (crop := avif_crop(self._data, picture.size)):
                picture = picture.crop(crop)
            picture = self._upright(picture).convert('RGB')
            image = np.ascontiguousarray(np.asarray(picture)[..., ::-1])
        return image, milliseconds / 1000 if milliseconds else None

    def _upright(self, picture: PillowImage) -> PillowImage:
        """Return a frame of the file, perhaps cropped, as its EXIF turns it."""
        from PIL import ImageOps
        try:
            if self._format == 'HEIC' and not is_turned_by_container(self._data):
                picture.getexif()[_ORIENTATION] = picture.info.get('original_orientation') or 1
            elif picture is not self._pillow:
                picture.getexif()[_ORIENTATION] = self._pillow.getexif().get(_ORIENTATION, 1)
            return ImageOps.exif_transpose(picture)
        except Exception:
            # Damaged EXIF, for which Pillow raises many things, turns nothing.
            return picture

    @contextmanager
    def _one_kind_of_error(self) -> Iterator[None]:
        """Turn what Pillow raises for a damaged file, which is many things, into `UserError`."""
        try:
            yield
        except (UserError, KeyboardInterrupt):
            raise
        except Exception as error:
            from PIL import UnidentifiedImageError
            from PIL.Image import DecompressionBombError
            if isinstance(error, DecompressionBombError):
                raise self._too_large('more pixels') from None
            if isinstance(error, UnidentifiedImageError):
                error = 'its header is invalid'
            raise UserError(f'picture: {self._name} is damaged, or of a kind that Pillow cannot '
                            f'decode ({" ".join(str(error).split())[:100]})') from None

    def _check_size(self, width: int, height: int) -> None:
        if width * height > MAX_PICTURE_PIXELS:
            raise self._too_large(f'{width} x {height} pixels, more')
        if min(width, height) < 1:
            raise UserError(f'picture: {self._name} has no pixels')

    def _too_large(self, what: str) -> UserError:
        return UserError(f'picture: {self._name} has {what} than the '
                         f'{MAX_PICTURE_PIXELS // 1_000_000} million that are decoded; scale it '
                         'down, or cut the heads out')


def _tiff_page(data: NDArray[np.uint8], index: int, flags: int) -> Image | None:
    if hasattr(cv2, 'imdecodemulti'):
        pages = cv2.imdecodemulti(data, flags, range=(index, index + 1))[1]
    else:  # before OpenCV 4.7, which reads pages from files only
        with tempfile.NamedTemporaryFile(suffix='.tif') as file:
            file.write(data)
            file.flush()
            pages = cv2.imreadmulti(file.name, index, 1, flags=flags)[1]
    return pages[0] if pages else None


def _open_heic(data: bytes, name: str) -> PillowImage:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise UserError(f'picture: {name} is HEIC, which needs the Python package pillow-heif '
                        '(python3 -m pip install pillow-heif), or convert it to JPEG') from None
    return HeifImageFile(io.BytesIO(data))
