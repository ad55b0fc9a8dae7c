"""Image messages: every encoding gives the same picture, every malformed one a clear error."""

import array
import zlib

import cv2
import numpy as np
import pytest

pytest.importorskip('sensor_msgs', reason='ROS 2 is not installed')

from sensor_msgs.msg import CompressedImage, Image

from trans3dhead_ros.media.bit_depth import BitDepth
from trans3dhead_ros.media.image_decoding import decode_compressed, decode_image

pytestmark = pytest.mark.ros


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


def mosaic(pattern):
    """Return the picture as a sensor with this pattern sees it."""
    samples = np.empty_like(GREY)
    for place, colour in enumerate(pattern):
        y, x = divmod(place, 2)
        samples[y::2, x::2] = PICTURE[y::2, x::2, 'bgr'.index(colour)]
    return samples


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


@pytest.mark.parametrize('bits', [10, 12, 14])
def test_cameras_of_fewer_bits_give_the_same_brightness(bits):
    white = np.arange(256, dtype=np.uint16).reshape(16, 16)
    samples = white << (bits - 8)
    depth = BitDepth()
    for encoding in ('mono16', f'mono{bits}'):
        decoded = decode_image(message(encoding, samples), depth=depth)
        np.testing.assert_array_equal(decoded[..., 0], white)
    assert f'{bits} significant' in depth.note
    png = CompressedImage(format='mono16; png compressed mono16',
                          data=cv2.imencode('.png', samples)[1].tobytes())
    np.testing.assert_array_equal(decode_compressed(png)[..., 0], white)
    # The next, dark image of the camera stays dark; a number that is given holds.
    assert decode_image(message('mono16', samples // 16), depth=depth).max() == 15
    assert decode_image(message('mono16', samples), depth=BitDepth(16)).max() == 255 >> (16 - bits)


def test_a_depth_image_is_reported_as_such_unless_the_bits_are_given():
    samples = GREY.astype(np.uint16) << 4
    for encoding in ('16UC1', '32FC1'):
        with pytest.raises(ValueError, match=f'encoding: {encoding} is a depth image') as refusal:
            decode_image(message(encoding, samples))
        # No number of bits makes grey levels of floating point.
        assert ('significant_bits' in str(refusal.value)) is (encoding == '16UC1')
    decoded = decode_image(message('16UC1', samples), depth=BitDepth(12))
    np.testing.assert_array_equal(decoded[..., 0], GREY)


@pytest.mark.parametrize('depth', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_patterns_are_read_as_ros_names_them(pattern, depth):
    samples = mosaic(pattern) if depth == 8 else mosaic(pattern).astype(np.uint16) * 256
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


def test_compressed_rgb_becomes_bgr():
    data = cv2.imencode('.png', PICTURE[..., ::-1])[1].tobytes()
    layout = 'rgb8; png compressed rgb8'
    np.testing.assert_array_equal(
        decode_compressed(CompressedImage(format=layout, data=data)), PICTURE)


def test_a_jpeg_with_bytes_after_its_end_is_complete():
    data = cv2.imencode('.jpg', PICTURE)[1].tobytes() + bytes(100)
    assert decode_compressed(CompressedImage(format='jpeg', data=data)).shape == PICTURE.shape


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
@pytest.mark.parametrize('kept', [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_picture_is_an_error(suffix, kept):
    data = cv2.imencode(suffix, smooth_picture(200, 300))[1].tobytes()
    with pytest.raises(ValueError, match='^data: .* truncated'):
        decode_compressed(CompressedImage(format=suffix[1:], data=data[:int(kept * len(data))]))


def claims(width, height):
    """Return a small, whole PNG whose header says another size, with a checksum that fits."""
    whole = cv2.imencode('.png', np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    header = b'IHDR' + width.to_bytes(4, 'big') + height.to_bytes(4, 'big') + whole[24:29]
    return whole[:12] + header + zlib.crc32(header).to_bytes(4, 'big') + whole[33:]


def jpeg_claims(width, height):
    """Return a small, whole JPEG whose start of frame says another size."""
    whole = cv2.imencode('.jpg', np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    at = whole.index(b'\xff\xc0') + 5
    return whole[:at] + height.to_bytes(2, 'big') + width.to_bytes(2, 'big') + whole[at + 4:]


@pytest.mark.parametrize('data', [claims(30_000, 30_000), jpeg_claims(60_000, 60_000)])
def test_a_small_file_of_a_giant_picture_is_refused_before_it_is_decoded(data):
    assert len(data) < 1000
    with pytest.raises(ValueError, match='^width, height: .*max_image_pixels'):
        decode_compressed(CompressedImage(format='png', data=data))


@pytest.mark.parametrize('most', [47 * 64, 48 * 64])
def test_images_are_bounded_by_their_pixels(most):
    data = cv2.imencode('.jpg', PICTURE)[1].tobytes()
    for decode, image in ((decode_image, message('rgb8', PICTURE)),
                          (decode_compressed, CompressedImage(format='jpeg', data=data)),
                          (decode_image, message('mono16', GREY.astype(np.uint16)))):
        if most < PICTURE.shape[0] * PICTURE.shape[1]:
            with pytest.raises(ValueError, match='max_image_pixels'):
                decode(image, most)
        else:
            assert decode(image, most).shape == PICTURE.shape


@pytest.mark.parametrize('options', [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
                                     [cv2.IMWRITE_JPEG_RST_INTERVAL, 4]])
def test_every_kind_of_jpeg_is_read(options):
    data = cv2.imencode('.jpg', PICTURE, options)[1].tobytes()
    decoded = decode_compressed(CompressedImage(format='jpeg', data=data))
    assert np.abs(decoded.astype(int) - PICTURE).mean() <= 3


def test_a_jpeg_with_endless_scans_is_refused():
    data = cv2.imencode('.jpg', PICTURE)[1].tobytes()
    scan = data[data.index(b'\xff\xda'):-2]
    with pytest.raises(ValueError, match='scans'):
        decode_compressed(CompressedImage(format='jpeg', data=data[:-2] + 200 * scan + data[-2:]))


@pytest.mark.parametrize('suffix', ['.bmp', '.tiff', '.webp', '.ppm'])
def test_other_decoders_cannot_be_reached(suffix):
    data = cv2.imencode(suffix, PICTURE)[1].tobytes()
    with pytest.raises(ValueError, match='neither JPEG nor PNG'):
        decode_compressed(CompressedImage(format='jpeg', data=data))


# What compressed_image_transport writes: the encoding of the camera, the codec, how it is stored.
@pytest.mark.parametrize(('layout', 'stored'), [
    ('bgr8; jpeg compressed bgr8', PICTURE), ('rgb8; jpeg compressed bgr8', PICTURE),
    ('rgba8; jpeg compressed bgr8', PICTURE), ('yuv422_yuy2; jpeg compressed bgr8', PICTURE),
    ('rgb8; jpeg compressed rgb8', PICTURE[..., ::-1]), ('jpeg', PICTURE), ('JPEG', PICTURE),
    ('rgb8; png compressed bgr8', PICTURE), ('bgra8; png compressed bgr8', PICTURE),
    ('rgb16; png compressed bgr16', PICTURE.astype(np.uint16) * 256 + 99),
    ('rgb8;png compressed rgb8', PICTURE[..., ::-1]), ('png', PICTURE), ('', PICTURE),
])
def test_the_layouts_of_image_transport_give_the_picture(layout, stored):
    suffix = '.jpg' if 'jpeg' in layout.lower() else '.png'
    data = cv2.imencode(suffix, np.ascontiguousarray(stored))[1].tobytes()
    decoded = decode_compressed(CompressedImage(format=layout, data=data))
    assert np.abs(decoded.astype(int) - PICTURE).mean() <= 3


@pytest.mark.parametrize(('layout', 'grey'), [
    ('mono8; jpeg compressed mono8', GREY), ('mono8; png compressed ', GREY),
    # image_transport makes grey of a mosaic before it makes a JPEG of it.
    ('bayer_rggb8; jpeg compressed mono8', GREY),
    ('mono16; png compressed ', GREY.astype(np.uint16) * 256),
])
def test_grey_layouts_of_image_transport_give_grey(layout, grey):
    suffix = '.jpg' if 'jpeg' in layout else '.png'
    decoded = decode_compressed(CompressedImage(
        format=layout, data=cv2.imencode(suffix, grey)[1].tobytes()))
    assert np.abs(decoded.astype(int) - GREY[..., None]).mean() <= 3


@pytest.mark.parametrize('depth', [8, 16])
def test_a_mosaic_in_a_png_becomes_colour(depth):
    samples = mosaic('grbg') if depth == 8 else mosaic('grbg').astype(np.uint16) * 256
    decoded = decode_compressed(CompressedImage(
        format=f'bayer_grbg{depth}; png compressed ',
        data=cv2.imencode('.png', samples)[1].tobytes()))
    inside = np.s_[4:-4, 4:-4]
    assert np.abs(decoded[inside].astype(int) - PICTURE[inside]).max() <= 4


@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'bayer_rggb8', 'yuv422_yuy2', 'nv12'])
def test_four_k_is_decoded(encoding):
    width, height = 3840, 2160
    size = {'bgr8': 3, 'rgb8': 3, 'yuv422_yuy2': 2}.get(encoding, 1)
    rows = height * 3 // 2 if encoding == 'nv12' else height
    image = Image(encoding=encoding, width=width, height=height, step=size * width,
                  data=array.array('B', bytes(rows * size * width)))
    assert decode_image(image).shape == (height, width, 3)


@pytest.mark.parametrize(('layout', 'data', 'field'), [
    ('16UC1; png compressed ', cv2.imencode('.png', GREY.astype(np.uint16))[1].tobytes(), 'format'),
    ('jpeg', b'\xff\xd8', 'data'), ('jpeg', b'\xff\xd8' + 500 * b'\xff', 'data'),
    ('jpeg', b'\xff\xd8\xff\xda\x00\x02\xff\xd9', 'data'),
    ('png', b'\x89PNG' + bytes(60) + b'IEND', 'data'),
    ('png', claims(0, 5), 'data'),
    ('jpeg', b'', 'data'),
    ('jpeg', b'no picture at all', 'data'),
    ('16UC1; compressedDepth png', b'\x89PNG', 'format'),
])
def test_data_that_are_not_a_picture_name_the_field(layout, data, field):
    with pytest.raises(ValueError, match=f'^{field}: '):
        decode_compressed(CompressedImage(format=layout, data=data))
