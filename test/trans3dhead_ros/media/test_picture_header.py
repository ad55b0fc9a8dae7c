"""The size of an encoded image is known before anything decodes it."""

import contextlib
import time
import zlib

import cv2
import numpy as np
import pytest

from trans3dhead_ros.media.picture_header import check_complete, picture_size

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
JPEG, PNG = (cv2.imencode(suffix, IMAGE)[1].tobytes() for suffix in ('.jpg', '.png'))


def png_with_size(width: int, height: int) -> bytes:
    """Return a small PNG whose header states another size, with a checksum that fits."""
    header = b'IHDR' + width.to_bytes(4, 'big') + height.to_bytes(4, 'big') + PNG[24:29]
    return PNG[:12] + header + zlib.crc32(header).to_bytes(4, 'big') + PNG[33:]


@pytest.mark.parametrize('image', [IMAGE, IMAGE[..., 0], IMAGE.astype(np.uint16) * 256])
def test_every_png_has_its_size(image):
    assert picture_size(cv2.imencode('.png', image)[1].tobytes()) == (64, 48)


@pytest.mark.parametrize('options', [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
                                     [cv2.IMWRITE_JPEG_RST_INTERVAL, 4]])
def test_every_jpeg_has_its_size(options):
    assert picture_size(cv2.imencode('.jpg', IMAGE, options)[1].tobytes()) == (64, 48)


@pytest.mark.parametrize('segment', [
    b'\xff\xe1\x00\x10Exif\x00\x00' + 8 * b'\xff', b'\xff\xff\xff\xfe\x00\x04hi',
    # A thumbnail, with a size and an end of its own.
    b'\xff\xe0\x01\x00' + (b'\xff\xd8\xff\xc0\x00\x11\x08\x00\x02\x00\x02\x03' + bytes(242))[:254],
])
def test_segments_before_the_image_do_not_change_its_size(segment):
    assert picture_size(JPEG[:2] + segment + JPEG[2:]) == (64, 48)


def test_a_giant_size_is_returned_and_left_to_the_caller():
    assert picture_size(png_with_size(30_000, 40_000)) == (30_000, 40_000)


def test_padding_after_the_end_is_allowed():
    assert picture_size(JPEG + bytes(100)) == picture_size(PNG + bytes(100)) == (64, 48)


@pytest.mark.parametrize('data', [JPEG, PNG])
@pytest.mark.parametrize('kept', [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(data, kept):
    for read in (picture_size, check_complete):
        with pytest.raises(ValueError, match='^data: .* truncated'):
            read(data[:int(kept * len(data))])


@pytest.mark.parametrize('data', [
    JPEG[:2] + JPEG[JPEG.index(b'\xff\xda'):],  # no start of frame
    b'\xff\xd8\xff\xda\x00\x02\xff\xd9',
    b'\x89PNG' + bytes(60) + b'IEND', png_with_size(0, 5),
    PNG[:8] + PNG[33:],  # no header chunk
])
def test_a_damaged_header_is_refused(data):
    with pytest.raises(ValueError, match='^data: the header'):
        picture_size(data)


@pytest.mark.parametrize('data', [b'', b'text', *(
    cv2.imencode(suffix, IMAGE)[1].tobytes() for suffix in ('.bmp', '.tiff', '.webp', '.ppm'))])
def test_other_formats_are_refused(data):
    with pytest.raises(ValueError, match='neither JPEG nor PNG'):
        picture_size(data)


def test_a_jpeg_with_too_many_scans_is_refused():
    scan = JPEG[JPEG.index(b'\xff\xda'):-2]
    with pytest.raises(ValueError, match='scans'):
        picture_size(JPEG[:-2] + 200 * scan + JPEG[-2:])


@pytest.mark.parametrize('filler', [b'\x00', b'\xff', b'\xff\x00'])
def test_the_search_for_a_header_is_bounded(filler):
    data = b'\xff\xd8\xff' + (20_000_000 // len(filler)) * filler + b'\xff\xda\xff\xd9'
    start = time.process_time()
    with pytest.raises(ValueError, match='^data: the header'):
        picture_size(data)
    assert time.process_time() - start < 3.0


def test_corrupted_data_raise_no_other_exception():
    generator = np.random.default_rng(1)
    for whole in (JPEG, PNG):
        for _ in range(300):
            data = bytearray(whole)
            for place in generator.integers(2, 700, 8):
                data[place] = generator.integers(256)
            with contextlib.suppress(ValueError):
                picture_size(bytes(data))
