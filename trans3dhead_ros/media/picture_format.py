"""The format of a picture file, recognised by its first bytes: extensions can be wrong."""

from __future__ import annotations

from pathlib import Path

PICTURE_SUFFIXES = frozenset([
    '.avif', '.bmp', '.gif', '.heic', '.heif', '.jfif', '.jp2', '.jpe', '.jpeg', '.jpg', '.pgm',
    '.png', '.ppm', '.tif', '.tiff', '.webp'])
"""A file with one of these extensions claims to be a picture."""

_HEAD_BYTES = 64
# Where the second picture of a Motion JPEG video begins, at the latest; some photographs are
# followed by others too, and say so.
_FIRST_PICTURE_BYTES = 2 ** 22
_NEXT_PICTURE, _MULTI_PICTURE = b'\xff\xd9\xff\xd8\xff', b'MPF\0'
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


def picture_format(head: bytes) -> str | None:
    """
    Tell the format of a picture.

    :param head: the beginning of a file, 64 bytes or more.
    :return: JPEG, PNG, GIF, WEBP, TIFF, BMP, PNM, JPEG2000, AVIF or HEIC; None for another file.
    """
    for name, beginnings in (
            ('JPEG', (b'\xff\xd8\xff',)), ('PNG', (b'\x89PNG\r\n\x1a\n',)),
            ('GIF', (b'GIF87a', b'GIF89a')), ('TIFF', (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')),
            ('JPEG2000', (b'\0\0\0\x0cjP  ', b'\xff\x4f\xff\x51'))):
        if head.startswith(beginnings):
            return name
    if head[:4] == b'RIFF' and head[8:12] == b'WEBP':
        return 'WEBP'
    if head[:1] == b'P' and head[1:2] in b'123456' and head[2:3] in b' \t\r\n#' and len(head) > 6:
        return 'PNM'
    if head[:2] == b'BM' and int.from_bytes(head[14:18], 'little') in _BMP_HEADERS:
        return 'BMP'
    if head[4:8] == b'ftyp':
        size = min(int.from_bytes(head[:4], 'big'), len(head))
        brands = {head[8:12], *(head[at:at + 4] for at in range(16, size, 4))}
        if brands & {b'avif', b'avis'}:
            return 'AVIF'
        if brands & {b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'mif1', b'msf1'}:
            return 'HEIC'
    return None


def file_format(path: Path) -> str | None:
    """
    Return the format of a picture file.

    :param path: a file.
    :return: as `picture_format`; None also for a Motion JPEG video, and for a file that cannot be
        read.
    """
    try:
        with path.open('rb') as file:
            name = picture_format(file.read(_HEAD_BYTES))
            if name == 'JPEG':
                begin = file.read(_FIRST_PICTURE_BYTES)
                if _NEXT_PICTURE in begin and _MULTI_PICTURE not in begin:
                    return None
            return name
    except OSError:
        return None


def refusal(path: Path) -> str | None:
    """
    Say why a file of a folder that is named like a picture is not one.

    :param path: a file.
    :return: the reason; None for a picture, and for a file that does not claim to be one.
    """
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        return None
    try:
        with path.open('rb') as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        return f'cannot be read ({error.strerror})'
    if not head:
        return 'is empty'
    if head.startswith(b'\0\x05\x16\x07') or path.name.startswith('._'):
        return 'holds what macOS keeps beside a file, not a picture'
    if not picture_format(head):
        return 'is not a picture'
    return None if file_format(path) else 'is a Motion JPEG video, not a picture'
