"""Image messages: every encoding gives the same picture, every malformed one a clear error."""

import array

import cv2
import numpy as np
import pytest

pytest.importorskip('sensor_msgs', reason='ROS 2 is not installed')

from sensor_msgs.msg import CompressedImage, Image

from trans3dhead_ros.ros.images import decode_compressed, decode_image


def smooth_picture(height=48, width=64):
    """Return smooth colours, so that subsampled chroma and mosaics lose little."""
    y, x = np.mgrid[:height, :width].astype(float)
    blue, green, red = 40 + 2.0 * x, 200 - 3.0 * y, 60 + x + y
    return np.stack([blue, green, red], axis=-1).round().astype(np.uint8)


def message(encoding, samples, padding=0, bigendian=False):
    """Pack an array (rows, W[, C]) as it lies in memory, with `padding` bytes behind every row."""
    if samples.dtype == np.uint16:
        samples = samples.astype('>u2' if bigendian else '<u2')
    rows = samples.reshape(len(samples), -1).view(np.uint8)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return Image(encoding=encoding, height=len(samples), width=samples.shape[1],
                 step=padded.shape[1], is_bigendian=int(bigendian),
                 data=array.array('B', padded.tobytes()))


def packed_422(picture, order):
    """Pack a BGR picture as two pixels of (U, V) shared: order of y0, u, y1, v in four bytes."""
    yuv = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV)
    # OpenCV's 4:2:2 decoders expect video range, its BGR2YUV gives full range.
    luma = 16 + yuv[..., 0].astype(float) * 219 / 255
    blue, green, red = (picture[..., c].astype(float) for c in range(3))
    u = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    v = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
    parts = {'y0': luma[:, ::2], 'y1': luma[:, 1::2],
             'u': (u[:, ::2] + u[:, 1::2]) / 2, 'v': (v[:, ::2] + v[:, 1::2]) / 2}
    stacked = np.stack([parts[name] for name in order], axis=-1).round().astype(np.uint8)
    return stacked.reshape(len(picture), -1, 2)


def semi_planar(picture, swap):
    planar = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
    height, width = picture.shape[:2]
    u, v = planar[height:].reshape(2, -1)
    chroma = np.stack([v, u] if swap else [u, v], axis=-1).reshape(height // 2, width)
    return np.concatenate([planar[:height], chroma])


PICTURE = smooth_picture()
GREY = cv2.cvtColor(PICTURE, cv2.COLOR_BGR2GRAY)
ALPHA = np.full((*GREY.shape, 1), 9, np.uint8)


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(('encoding', 'samples'), [
    ('bgr8', PICTURE), ('8UC3', PICTURE), ('rgb8', PICTURE[..., ::-1]),
    ('bgra8', np.concatenate([PICTURE, ALPHA], axis=-1)),
    ('rgba8', np.concatenate([PICTURE[..., ::-1], ALPHA], axis=-1)),
])
def test_colour_encodings_give_the_exact_picture(encoding, samples, padding):
    decoded = decode_image(message(encoding, np.ascontiguousarray(samples), padding))
    np.testing.assert_array_equal(decoded, PICTURE)


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
def test_grey_becomes_three_equal_channels(encoding):
    decoded = decode_image(message(encoding, GREY, padding=3))
    np.testing.assert_array_equal(decoded, np.repeat(GREY[..., None], 3, axis=-1))


@pytest.mark.parametrize('bigendian', [False, True])
@pytest.mark.parametrize('padding', [0, 6])
def test_sixteen_bits_keep_their_upper_byte_in_either_byte_order(bigendian, padding):
    samples = GREY.astype(np.uint16) * 256 + 13
    decoded = decode_image(message('mono16', samples, padding, bigendian))
    np.testing.assert_array_equal(decoded[..., 0], GREY)
    colour = PICTURE[..., ::-1].astype(np.uint16) * 256 + 200
    decoded = decode_image(message('rgb16', colour, padding, bigendian))
    np.testing.assert_array_equal(decoded, PICTURE)


@pytest.mark.parametrize('depth', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_patterns_are_read_as_ros_names_them(pattern, depth):
    mosaic = np.empty_like(GREY)
    for place, colour in enumerate(pattern):
        y, x = divmod(place, 2)
        mosaic[y::2, x::2] = PICTURE[y::2, x::2, 'bgr'.index(colour)]
    samples = mosaic if depth == 8 else mosaic.astype(np.uint16) * 256
    decoded = decode_image(message(f'bayer_{pattern}{depth}', samples))
    inside = np.s_[4:-4, 4:-4]
    assert np.abs(decoded[inside].astype(int) - PICTURE[inside]).max() <= 4


@pytest.mark.parametrize(('encoding', 'order'), [
    ('yuv422', ['u', 'y0', 'v', 'y1']), ('uyvy', ['u', 'y0', 'v', 'y1']),
    ('yuv422_yuy2', ['y0', 'u', 'y1', 'v']), ('yuyv', ['y0', 'u', 'y1', 'v']),
])
def test_packed_yuv_gives_the_picture(encoding, order):
    packed = packed_422(PICTURE, order)
    decoded = decode_image(message(encoding, packed.reshape(len(PICTURE), -1, 2), padding=8))
    assert np.abs(decoded.astype(int) - PICTURE).mean() < 3
    assert decoded.shape == PICTURE.shape


@pytest.mark.parametrize(('encoding', 'swap'), [('nv12', False), ('nv21', True)])
def test_semi_planar_yuv_gives_the_picture(encoding, swap):
    packed = message(encoding, semi_planar(PICTURE, swap), padding=16)
    packed.height = PICTURE.shape[0]
    decoded = decode_image(packed)
    assert decoded.shape == PICTURE.shape
    assert np.abs(decoded.astype(int) - PICTURE).mean() < 4


def test_bgr_is_a_view_of_the_message():
    packed = message('bgr8', PICTURE, padding=7)
    decoded = decode_image(packed)
    packed.data[0] = 201
    assert decoded[0, 0, 0] == 201


def changed(**fields):
    packed = message('bgr8', PICTURE)
    for name, value in fields.items():
        setattr(packed, name, value)
    return packed


@pytest.mark.parametrize(('broken', 'field'), [
    (changed(encoding='quux8'), 'encoding'),
    (changed(encoding=''), 'encoding'),
    (changed(encoding='32FC1'), 'encoding'),
    (changed(width=0), 'width'),
    (changed(height=0), 'height'),
    (changed(width=0, height=0, step=0, data=array.array('B')), 'width'),
    (changed(step=64 * 3 - 1), 'step'),
    (changed(step=0), 'step'),
    (changed(step=64 * 3 + 8), 'data'),
    (changed(data=array.array('B')), 'data'),
    (changed(data=message('bgr8', PICTURE).data[:-1]), 'data'),
    (changed(data=message('bgr8', PICTURE).data + array.array('B', [0])), 'data'),
    (changed(height=2 ** 32 - 1), 'data'),
    (changed(width=2 ** 32 - 1), 'step'),
    (changed(encoding='yuv422', width=63), 'width'),
    (changed(encoding='nv12', height=47), 'height'),
    (changed(encoding='nv12', step=64), 'data'),
    (changed(encoding='bayer_rggb8', width=2, height=2), 'width'),
])
def test_malformed_image_names_the_field(broken, field):
    with pytest.raises(ValueError, match=rf'^[a-z, ]*{field}[a-z, ]*: '):
        decode_image(broken)


@pytest.mark.parametrize(('suffix', 'tolerance'), [('.png', 0), ('.jpg', 3)])
def test_compressed_image_gives_the_picture(suffix, tolerance):
    data = cv2.imencode(suffix, PICTURE)[1].tobytes()
    decoded = decode_compressed(CompressedImage(format=suffix[1:], data=data))
    assert np.abs(decoded.astype(int) - PICTURE).mean() <= tolerance


def test_compressed_grey_and_sixteen_bits_become_bgr8():
    data = cv2.imencode('.png', GREY.astype(np.uint16) * 257)[1].tobytes()
    decoded = decode_compressed(CompressedImage(format='mono16; png compressed ', data=data))
    np.testing.assert_array_equal(decoded, np.repeat(GREY[..., None], 3, axis=-1))


def test_compressed_rgb_is_turned_round():
    data = cv2.imencode('.png', PICTURE[..., ::-1])[1].tobytes()
    layout = 'rgb8; png compressed rgb8'
    np.testing.assert_array_equal(
        decode_compressed(CompressedImage(format=layout, data=data)), PICTURE)


def test_jpeg_with_bytes_behind_its_end_is_whole():
    data = cv2.imencode('.jpg', PICTURE)[1].tobytes() + bytes(100)
    assert decode_compressed(CompressedImage(format='jpeg', data=data)).shape == PICTURE.shape


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
@pytest.mark.parametrize('kept', [0.1, 0.5, 0.9, 0.999])
def test_truncated_picture_is_an_error(suffix, kept):
    data = cv2.imencode(suffix, smooth_picture(200, 300))[1].tobytes()
    with pytest.raises(ValueError, match='^data: .* truncated'):
        decode_compressed(CompressedImage(format=suffix[1:], data=data[:int(kept * len(data))]))


@pytest.mark.parametrize(('layout', 'data', 'field'), [
    ('jpeg', b'', 'data'),
    ('jpeg', b'no picture at all', 'data'),
    ('16UC1; compressedDepth png', b'\x89PNG', 'format'),
])
def test_no_compressed_picture_names_the_field(layout, data, field):
    with pytest.raises(ValueError, match=f'^{field}: '):
        decode_compressed(CompressedImage(format=layout, data=data))
