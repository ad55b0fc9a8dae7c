"""The pages of a TIFF file, from its headers: Pillow opens none of 16 bits and three channels."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from trans3dhead_ros.errors import UserError

_WIDTH, _HEIGHT, _BITS, _MAXIMUM = 256, 257, 258, 281
_SUBFILE_TYPE, _SAMPLE_FORMAT, _DNG_VERSION = 254, 339, 50706
_FLOAT = 3
# More would take minutes to list; videos are stored in other formats.
_MAX_PAGES = 10_000


@dataclass(frozen=True)
class TiffPage:
    """One page."""

    width: int
    """px."""
    height: int
    """px."""
    bits: int
    """Significant bits of a sample of 16 bits; 0: not stated."""


def tiff_pages(data: bytes) -> list[TiffPage]:
    """
    List the pages of a file.

    :param data: the whole file.
    :return: at least one page.
    :raises UserError: for a damaged file, or the raw image of a camera.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    big = data[2:4] in (b'+\0', b'\0+')
    file, pages, seen = io.BytesIO(data), [], set()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            directory = ImageFileDirectory_v2(data[:16] if big else data[:8])
            while directory.next and directory.next not in seen and len(pages) < _MAX_PAGES:
                seen.add(directory.next)
                file.seek(directory.next)
                directory.load(file)
                _check_kind(directory, not pages)
                pages.append(TiffPage(int(directory[_WIDTH]), int(directory[_HEIGHT]),
                                      _stated_bits(directory)))
    except UserError:
        raise
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise UserError(f'has damaged TIFF headers ({" ".join(str(error).split())[:100]})'
                        ) from None
    if not pages:
        raise UserError('has damaged TIFF headers: no page')
    return pages


def _check_kind(directory, is_first: bool) -> None:
    if _DNG_VERSION in directory or (is_first and directory.get(_SUBFILE_TYPE) == 1):
        raise UserError('is the raw image of a camera; develop it to JPEG or TIFF first')
    if _FLOAT in directory.get(_SAMPLE_FORMAT, ()) or max(directory.get(_BITS, (1,))) > 16:
        raise UserError('has samples of floating point or of 32 bits, as depth images have; save '
                        'it with 8 or 16 bits')


def _stated_bits(directory) -> int:
    if max(directory.get(_BITS, (1,))) != 16 or _MAXIMUM not in directory:
        return 0
    value = directory[_MAXIMUM]
    bits = int(max(value) if isinstance(value, tuple) else value).bit_length()
    return bits if 8 <= bits <= 16 else 0
