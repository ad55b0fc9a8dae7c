"""Samples of 10, 12 and 14 bits in 16 become pictures of the right brightness."""

import cv2
import numpy as np
import pytest

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.bit_depth import BitDepth
from trans3dhead_ros.media.sources import open_source, read_picture

RAMP = np.linspace(0, 255, 64 * 48).astype(np.uint16).reshape(48, 64)


def samples(bits: int) -> np.ndarray:
    """Return a ramp from black to white, in the lower bits."""
    return (RAMP.astype(np.int64) * ((1 << bits) - 1) // 255).astype(np.uint16)


@pytest.mark.parametrize('bits', [8, 10, 12, 14, 16])
def test_the_number_of_bits_follows_from_the_brightest_sample(bits):
    depth = BitDepth()
    np.testing.assert_allclose(depth.to_8_bits(samples(bits)), RAMP, atol=1)
    assert depth.assumed == bits
    assert (f'assumed to have {bits} significant' in depth.note) == (bits != 16)


def test_a_given_number_of_bits_is_used_without_a_note():
    depth = BitDepth(14)
    np.testing.assert_array_equal(depth.to_8_bits(samples(12)), samples(12) >> 6)
    assert not depth.note
    assert BitDepth(12).to_8_bits(samples(14)).max() == 255


def test_the_bits_that_a_file_states_are_used_unless_its_samples_are_in_the_upper_bits():
    np.testing.assert_array_equal(BitDepth().to_8_bits(samples(10), 12), samples(10) >> 4)
    np.testing.assert_array_equal(BitDepth().to_8_bits(samples(16), 12), samples(16) >> 8)


def test_a_video_does_not_flicker_when_it_gets_dark():
    depth = BitDepth()
    depth.to_8_bits(samples(12))
    np.testing.assert_array_equal(depth.to_8_bits(samples(10)), samples(10) >> 4)


@pytest.mark.parametrize('bits', [-1, 3, 17])
def test_a_number_of_bits_that_no_camera_has_is_refused(bits):
    with pytest.raises(UserError, match='expected 8 to 16'):
        BitDepth(bits)


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.pgm'])
@pytest.mark.parametrize('bits', [10, 12, 14, 16])
def test_pictures_of_every_format_have_the_right_brightness(tmp_path, suffix, bits):
    path = tmp_path / f'a{suffix}'
    cv2.imwrite(str(path), samples(bits))
    np.testing.assert_allclose(read_picture(path)[..., 0], RAMP, atol=1)
    source = open_source(path)
    list(source)
    assert len(source.notes) == (bits != 16)
    np.testing.assert_array_equal(next(iter(open_source(path, 16))).image[..., 0],
                                  samples(bits) >> 8)


def test_the_maximum_in_the_header_of_a_pgm_counts(tmp_path):
    (tmp_path / 'a.pgm').write_bytes(b'P5\n# from a camera\n64 48\n4095\n'
                                     + samples(10).astype('>u2').tobytes())
    np.testing.assert_array_equal(read_picture(tmp_path / 'a.pgm')[..., 0], samples(10) >> 4)
