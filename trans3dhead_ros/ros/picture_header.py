"""
The size of a compressed picture, read from its header before a decoder takes memory for it.

Only JPEG and PNG, as cameras and image_transport send them: every further format is one more
decoder that strangers can reach.
"""

from __future__ import annotations

from trans3dhead_ros.errors import UserError

_PNG = b'\x89PNG\r\n\x1a\n'
_JPEG = b'\xff\xd8'
#: Markers that carry the size: all starts of frame; C4, C8 and CC are something else.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Markers without a length behind them.
_BARE = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
#: Encoders make about ten; each costs the decoder a pass over the whole picture.
_MOST_SCANS = 100


def picture_size(data: bytes) -> tuple[int, int]:
    """
    Return (width, height) px of a whole JPEG or PNG.

    :raises ValueError: for data that are neither, are truncated, or have no size.
    """
    if data.startswith(_JPEG):
        size, whole = _jpeg_size(data), _jpeg_is_whole(data)
    elif data.startswith(_PNG[:4]):
        size, whole = _png_size(data), b'IEND' in data[-64:]
    else:
        raise UserError(f'data: {len(data)} bytes are neither JPEG nor PNG')
    # OpenCV fills what is missing of a truncated picture with grey and returns it as if whole.
    if size is None or not whole:
        raise UserError(f'data: the compressed image ({len(data)} bytes) is truncated')
    if 0 in size:
        raise UserError(f'data: the compressed image has {size[0]} x {size[1]} pixels')
    return size


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 24:
        return None
    if not data.startswith(_PNG) or data[12:16] != b'IHDR':
        raise UserError('data: the PNG does not begin with its header')
    return int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big')


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while True:
        # As libjpeg does: what is no marker is passed over, and fill bytes may precede one.
        at = data.find(b'\xff', at)
        while at >= 0 and data[at:at + 1] == b'\xff':
            at += 1
        if at < 0 or at >= len(data):
            return None
        marker, at = data[at], at + 1
        if marker in _BARE:
            continue
        if marker in (_START_OF_SCAN, _END_OF_IMAGE):
            raise UserError('data: the JPEG has no size before its picture')
        if at + 7 > len(data):
            return None
        if marker in _START_OF_FRAME:
            return int.from_bytes(data[at + 5:at + 7], 'big'), \
                int.from_bytes(data[at + 3:at + 5], 'big')
        at += max(int.from_bytes(data[at:at + 2], 'big'), 2)


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether a JPEG has its end marker."""
    # Behind the start of a scan FF D9 is the end marker and nothing else; before it, it may belong
    # to an embedded thumbnail. Cameras pad behind the end.
    if data.count(b'\xff\xda') > _MOST_SCANS:
        raise UserError(f'data: the JPEG has more than {_MOST_SCANS} scans')
    scan = data.rfind(b'\xff\xda')
    return scan >= 0 and data.find(b'\xff\xd9', scan) >= 0
