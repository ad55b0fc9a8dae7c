"""
Properties of HEIC and AVIF pictures (boxes of ISO/IEC 23008-12) that Pillow or its plugin ignores.

Pillow does not apply the crop of an AVIF picture (`clap`), and pillow-heif no EXIF orientation, as
the container has a turn of its own (`irot`, `imir`); some files have only that of EXIF.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction


def avif_crop(data: bytes, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """
    Return the crop of the picture of a file, before it is turned.

    :param data: the whole file.
    :param size: (width, height) px of the stored picture.
    :return: x0 y0 x1 y1 px; None where there is none, or an invalid one.
    """
    try:
        box = next((content for kind, content in _primary_properties(data) if kind == b'clap'),
                   None)
        if box is None:
            return None
        numbers = [int.from_bytes(box[at:at + 4], 'big', signed=at >= 16)
                   for at in range(0, 32, 4)]
        width, height, across, down = (Fraction(*numbers[at:at + 2]) for at in range(0, 8, 2))
    except (IndexError, ZeroDivisionError):
        return None
    left = across + Fraction(size[0] - 1, 2) - (width - 1) / 2
    top = down + Fraction(size[1] - 1, 2) - (height - 1) / 2
    crop = tuple(math.floor(side) for side in (left, top, left + width, top + height))
    inside = 0 <= crop[0] < crop[2] <= size[0] and 0 <= crop[1] < crop[3] <= size[1]
    return crop if inside else None


def is_turned_by_container(data: bytes) -> bool:
    """
    Return whether the container itself turns or mirrors the picture of a file.

    :param data: the whole file.
    :return: False also for a damaged file.
    """
    try:
        return any(kind in (b'irot', b'imir') for kind, _ in _primary_properties(data))
    except IndexError:
        return False


def _primary_properties(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the boxes that belong to the primary picture."""
    meta = _child(data, b'meta')[4:]
    primary = _child(meta, b'pitm')
    properties = _child(meta, b'iprp')
    boxes = list(_boxes(_child(properties, b'ipco')))
    item = int.from_bytes(primary[4:6] if primary[:1] == b'\0' else primary[4:8], 'big')
    for number in _properties_of(item, _child(properties, b'ipma')):
        if 0 < number <= len(boxes):
            yield boxes[number - 1]


def _properties_of(item: int, associations: bytes) -> Iterator[int]:
    """Yield the numbers, from 1, of the properties of an item."""
    version, flags = associations[0], associations[3]
    at = 8
    for _ in range(int.from_bytes(associations[4:8], 'big')):
        length = 2 if version < 1 else 4
        found = int.from_bytes(associations[at:at + length], 'big')
        count = associations[at + length]
        at += length + 1
        for _ in range(count):
            wide = flags & 1
            value = int.from_bytes(associations[at:at + 1 + wide], 'big')
            at += 1 + wide
            if found == item:
                yield value & (0x7fff if wide else 0x7f)


def _child(data: bytes, kind: bytes) -> bytes:
    """Return the content of the first box of a kind; empty where there is none."""
    return next((content for name, content in _boxes(data) if name == kind), b'')


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size, start = int.from_bytes(data[at:at + 4], 'big'), at + 8
        if size == 1:
            size, start = int.from_bytes(data[at + 8:at + 16], 'big'), at + 16
        end = at + size if size else len(data)
        if end < start:
            return
        yield data[at + 4:at + 8], data[start:end]
        at = end
