"""
The size of an encoded image, read from its header before a decoder allocates memory.

JPEG and PNG only, as sent by cameras and image_transport: every other format would be one more
decoder that whoever can publish an image could attack.
"""

from __future__ import annotations

import io

from trans3dhead_ros.errors import UserError

JPEG_END = b'\xff\xd9'
"""The marker that ends a JPEG."""

_JPEG, _PNG = b'\xff\xd8', b'\x89PNG'
# Bounds the time for data without a header; thumbnails and colour profiles fit into it.
_MAX_HEADER_BYTES = 2 ** 18
# Of libjpeg: Huffman or arithmetic codes, sequential or progressive.
_FRAME_HEADERS = (0xc0, 0xc1, 0xc2, 0xc9, 0xca)
# Encoders write about ten; each costs the decoder a pass over the whole image.
_MAX_JPEG_SCANS = 100
# The end marker of a PNG is searched here; some programs append data.
_PNG_TAIL_BYTES = 2 ** 16


def picture_size(data: bytes) -> tuple[int, int]:
    """
    Return the (width, height) px of a JPEG or PNG as it is stored, whatever its EXIF orientation.

    :param data: the whole file.
    :return: both positive, without an upper bound.
    :raises UserError: for other data, for a damaged header, and as `check_complete` does.
    """
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    if not data.startswith((_JPEG, _PNG)):
        raise UserError(f'data: {len(data)} bytes are neither JPEG nor PNG')
    check_complete(data)
    if size := _jpeg_size(data):
        return size
    # Image.open would also warn of large sizes; the caller has a bound of its own.
    header = JpegImageFile if data.startswith(_JPEG) else PngImageFile
    try:
        return header(io.BytesIO(data[:_MAX_HEADER_BYTES])).size
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f'data: the header of the encoded image ({len(data)} bytes) is damaged') from error


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return the size in the first frame header of a JPEG; None where Pillow has to look."""
    at = 2 if data.startswith(_JPEG) else len(data)
    while at + 9 <= min(len(data), _MAX_HEADER_BYTES) and data[at] == 0xff:
        kind, length = data[at + 1], int.from_bytes(data[at + 2:at + 4], 'big')
        if kind in _FRAME_HEADERS:
            height, width = (int.from_bytes(data[at + 5 + side:at + 7 + side], 'big')
                             for side in (0, 2))
            return (width, height) if width and height and length >= 11 else None
        if not 0xc4 <= kind < 0xff or 0xd0 <= kind <= 0xda or length < 2:
            return None
        at += 2 + length
    return None


def check_complete(data: bytes) -> None:
    """
    Refuse a JPEG or PNG that ends before its end marker; other data pass.

    OpenCV fills what is missing of a truncated image with grey and returns it as if complete.

    :param data: the whole file.
    :raises UserError: for a truncated file, and a JPEG with an unreasonable number of scans.
    """
    complete = True
    if data.startswith(_JPEG):
        if data.count(b'\xff\xda') > _MAX_JPEG_SCANS:
            raise UserError(f'data: the JPEG has more than {_MAX_JPEG_SCANS} scans')
        # After the start of a scan FF D9 is the end marker and nothing else; before it, it may
        # belong to an embedded thumbnail. Cameras append padding after the end.
        scan = data.rfind(b'\xff\xda')
        complete = scan >= 0 and data.find(JPEG_END, scan) >= 0
    elif data.startswith(_PNG):
        complete = b'IEND' in data[-_PNG_TAIL_BYTES:]
    if not complete:
        raise UserError(f'data: the encoded image ({len(data)} bytes) is truncated')
