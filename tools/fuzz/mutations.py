"""Mutations of files: what disks, networks, editors and attackers do to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_EXTREMES = (b'\0', b'\xff', b'\x7f\xff\xff\xff', b'\xff\xff\xff\xff', b'\0\0\0\0', b'\x80\0\0\0',
             b'\xff\xff\xff\x7f', b'\0\0\0\x80', b'\1\0\0\0', b'\xff' * 8, b'\0' * 8)
_TEXTS = (b'-1', b'1e999', b'nan', b'99999999999999999999', b'', b'\n', b',', b';', b'"', b'{',
          b'}', b'[' * 200, b'\xef\xbb\xbf', b'\xff\xfe', b'null', b'true', b'0x10', b'\r')
# Headers decide most; half of the mutations are there, or in the index at the end.
_HEAD_BYTES = 4096


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """
    Return a file with one to four mutations.

    :param data: the whole file.
    :param rng: decides.
    :return: another file, at most a few kilobytes longer.
    """
    for _ in range(int(rng.integers(1, 5))):
        mutation = _MUTATIONS[int(rng.integers(len(_MUTATIONS)))]
        data = mutation(data, _place(data, rng), rng)
    return data


def _place(data: bytes, rng: np.random.Generator) -> int:
    where = rng.integers(4)
    if where == 0:
        return int(rng.integers(min(len(data), _HEAD_BYTES) + 1))
    if where == 1:
        return max(0, len(data) - int(rng.integers(_HEAD_BYTES)))
    return int(rng.integers(len(data) + 1))


def _flip(data: bytes, place: int, rng: np.random.Generator) -> bytes:
    if not data:
        return data
    place = min(place, len(data) - 1)
    return data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1:]


def _extreme(data: bytes, place: int, rng: np.random.Generator) -> bytes:
    value = _EXTREMES[int(rng.integers(len(_EXTREMES)))]
    return data[:place] + value + data[place + len(value):]


def _text(data: bytes, place: int, rng: np.random.Generator) -> bytes:
    value = _TEXTS[int(rng.integers(len(_TEXTS)))]
    return data[:place] + value + data[place + int(rng.integers(len(value) + 1)):]


def _cut(data: bytes, place: int, _: np.random.Generator) -> bytes:
    return data[:place]


def _remove(data: bytes, place: int, rng: np.random.Generator) -> bytes:
    return data[:place] + data[place + int(2 ** rng.uniform(0, 12)):]


def _noise(data: bytes, place: int, rng: np.random.Generator) -> bytes:
    size = min(int(2 ** rng.uniform(0, 12)), len(data) - place)
    return data[:place] + rng.bytes(size) + data[place + size:]


def _zeros(data: bytes, place: int, rng: np.random.Generator) -> bytes:
    size = min(int(2 ** rng.uniform(0, 12)), len(data) - place)
    return data[:place] + bytes(size) + data[place + size:]


def _repeat(data: bytes, place: int, rng: np.random.Generator) -> bytes:
    piece = data[place:place + int(2 ** rng.uniform(0, 10))]
    return data[:place] + piece * int(rng.integers(1, 4)) + data[place:]


def _move(data: bytes, place: int, rng: np.random.Generator) -> bytes:
    size = int(2 ** rng.uniform(0, 10))
    source = int(rng.integers(len(data) + 1))
    piece = data[source:source + size]
    return data[:place] + piece + data[place + len(piece):]


_MUTATIONS: tuple[Callable[[bytes, int, np.random.Generator], bytes], ...] = (
    _flip, _flip, _extreme, _extreme, _text, _cut, _remove, _noise, _zeros, _repeat, _move)
