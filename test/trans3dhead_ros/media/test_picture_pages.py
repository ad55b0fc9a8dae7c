"""Pictures are recognised by content, and read upright, whole, frame by frame, and bounded."""

import io
import re
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL
import pytest
from PIL import Image

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.bit_depth import BitDepth
from trans3dhead_ros.media.heif_properties import is_turned_by_container
from trans3dhead_ros.media.picture_format import picture_format
from trans3dhead_ros.media.picture_pages import PicturePages
from trans3dhead_ros.media.sources import decode_picture, open_source, read_pages, read_picture

SHADES = (40, 120, 200)


def corner_picture(shade: int = 255) -> Image.Image:
    """Return a black picture, 40 x 20, whose upper left quarter has a shade of grey."""
    image = np.zeros((20, 40, 3), np.uint8)
    image[:10, :20] = shade
    return Image.fromarray(image)


def encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    Image.init()
    if form not in Image.SAVE:
        pytest.skip(f'Pillow {PIL.__version__} has no {form}')
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'GIF', 'WEBP', 'TIFF', 'BMP', 'PPM', 'AVIF',
                                  'JPEG2000'])
def test_the_format_of_a_picture_is_recognised_by_its_content_not_its_suffix(tmp_path, form):
    data = encoded(corner_picture(), form)
    assert picture_format(data[:64]) == {'PPM': 'PNM'}.get(form, form)
    for name in ('a.jfif', 'b.xyz', 'c'):
        (tmp_path / name).write_bytes(data)
        image = read_picture(tmp_path / name)
        assert image.shape == (20, 40, 3) and image[3, 3, 0] > 240 and image[16, 30, 0] < 15
    assert len(list(open_source(tmp_path))) == 3


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'WEBP', 'TIFF', 'AVIF'])
@pytest.mark.parametrize(('orientation', 'bright'), [(3, (16, 36)), (6, (3, 16)), (8, (36, 3))])
def test_every_format_is_turned_upright(form, orientation, bright):
    exif = Image.Exif()
    exif[274] = orientation
    extra = {'tiffinfo': {274: orientation}} if form == 'TIFF' else {'exif': exif}
    image = decode_picture(encoded(corner_picture(), form, **extra), 'turned')
    assert image.shape == ((20, 40, 3) if orientation == 3 else (40, 20, 3))
    assert image[bright][0] > 200 and image[::-1, ::-1][bright][0] < 50


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'WEBP'])
def test_a_picture_with_damaged_exif_is_read_as_it_is_stored(form):
    data = encoded(corner_picture(), form, exif=b'Exif\0\0nonsense')
    image = decode_picture(data, 'stored')
    assert image.shape == (20, 40, 3) and image[3, 3, 0] > 240 and image[16, 30, 0] < 15


def cropped_avif(crop: tuple[int, int, int, int], orientation: int) -> bytes:
    """Return the corner picture with a crop (width, height, offsets of its centre in halves)."""
    exif = Image.Exif()
    exif[274] = orientation
    data = bytearray(encoded(corner_picture(), 'AVIF', exif=exif))
    width, height, across, down = crop
    clap = struct.pack('>I4sIIIIiIiI', 40, b'clap', width, 1, height, 1, across, 2, down, 2)
    start = {name: data.find(name) - 4 for name in (b'meta', b'iprp', b'ipco', b'ipma', b'iloc')}
    # The new property comes last, and the primary picture, item 1, is the first to have it.
    number = 0
    at, end = start[b'ipco'] + 8, start[b'ipma']
    while at < end:
        number, at = number + 1, at + int.from_bytes(data[at:at + 4], 'big')
    count = start[b'ipma'] + 18
    data[count] += 1
    data[count + 1:count + 1] = bytes([0x80 | number + 1])
    data[end:end] = clap
    for name, grown in ((b'meta', 41), (b'iprp', 41), (b'ipco', 40)):
        size = int.from_bytes(data[start[name]:start[name] + 4], 'big') + grown
        data[start[name]:start[name] + 4] = size.to_bytes(4, 'big')
    ipma = start[b'ipma'] + 40
    data[ipma:ipma + 4] = (int.from_bytes(data[ipma:ipma + 4], 'big') + 1).to_bytes(4, 'big')
    at = start[b'iloc'] + 22
    data[at:at + 4] = (int.from_bytes(data[at:at + 4], 'big') + 41).to_bytes(4, 'big')
    return bytes(data)


@pytest.mark.parametrize(('orientation', 'shape'), [(1, (10, 24, 3)), (6, (24, 10, 3))])
def test_the_crop_of_an_avif_is_applied_before_it_is_turned(orientation, shape):
    whole = decode_picture(encoded(corner_picture(), 'AVIF'), 'whole')
    image = decode_picture(cropped_avif((24, 10, -16, -10), orientation), 'cropped')
    assert image.shape == shape
    expected = whole[:10, :24]
    if orientation == 6:
        expected = np.rot90(expected, -1)
    np.testing.assert_allclose(image.astype(int), expected, atol=3)


@pytest.mark.parametrize(('form', 'options', 'seconds'), [
    ('WEBP', {'duration': 70, 'lossless': True}, 0.07), ('PNG', {'duration': 70}, 0.07),
    ('GIF', {'duration': 70}, 0.07), ('AVIF', {'duration': 70}, 0.07), ('TIFF', {}, 0.1)])
def test_animations_and_pages_are_read_frame_by_frame(tmp_path, form, options, seconds):
    pictures = [corner_picture(shade) for shade in SHADES]
    # Older Pillow would take the nearest colours of a palette of its own.
    first, *others = (picture.quantize() for picture in pictures) if form == 'GIF' else pictures
    path = tmp_path / 'moving.img'
    path.write_bytes(encoded(first, form, save_all=True, append_images=others, **options))
    source = open_source(path)
    frames = list(source)
    assert source.count == len(frames) == 3
    assert [frame.page for frame in frames] == [0, 1, 2]
    assert [frame.stamp for frame in frames] == pytest.approx([0, seconds, 2 * seconds], abs=5e-3)
    assert [int(frame.image[3, 3, 0]) for frame in frames] == pytest.approx(SHADES, abs=6)


def test_pages_of_a_tiff_keep_their_16_bits_and_three_channels(tmp_path):
    samples = np.random.default_rng(0).integers(0, 4096, (20, 30, 3), np.uint16)
    cv2.imwritemulti(str(tmp_path / 'a.tif'), [samples, samples // 2])
    first, second = (page[0] for page in read_pages(tmp_path / 'a.tif', BitDepth()))
    np.testing.assert_array_equal(first, samples >> 4)
    np.testing.assert_array_equal(second, samples // 2 >> 4)


def huge_png(width: int, height: int) -> bytes:
    """Return a PNG whose pixels are all zeros: a thousandth of their size."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (struct.pack('>I', len(data)) + kind + data
                + struct.pack('>I', zlib.crc32(kind + data)))
    return (b'\x89PNG\r\n\x1a\n'
            + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0))
            + chunk(b'IDAT', zlib.compress(b'\0' * 1000)) + chunk(b'IEND', b''))


@pytest.mark.parametrize('data', [
    huge_png(20_000, 20_000), b'P5 20000 20000 255\n' + bytes(99),
    encoded(corner_picture(), 'GIF').replace(struct.pack('<HH', 40, 20),
                                             struct.pack('<HH', 20_000, 20_000)),
    encoded(corner_picture(), 'TIFF').replace(struct.pack('<HHII', 256, 4, 1, 40),
                                              struct.pack('<HHII', 256, 4, 1, 10**8)),
    encoded(corner_picture(), 'BMP').replace(struct.pack('<ii', 40, 20),
                                             struct.pack('<ii', 20_000, 20_000))])
def test_a_picture_of_too_many_pixels_is_refused_by_its_header(data):
    with pytest.raises(UserError, match='huge.* has .*100 million that are decoded; scale it down'):
        PicturePages(data, 'huge')


def test_a_jpeg_with_missing_data_is_not_returned_half_grey(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    data = cv2.imencode('.jpg', cv2.resize(noise, (320, 240)))[1].tobytes()
    (tmp_path / 'half.jpg').write_bytes(data[:len(data) // 2] + b'\xff\xd9')
    (tmp_path / 'padded.jpg').write_bytes(data[:-2] + bytes(200) + b'\xff\xd9')
    with pytest.raises(UserError, match=r'half\.jpg is damaged .Corrupt JPEG data: premature end'):
        next(read_pages(tmp_path / 'half.jpg', BitDepth()))
    # Where the caller wants it, what is left is read and the rest is told.
    (tmp_path / 'cut.jpg').write_bytes(data[:len(data) // 2])
    for name in ('half.jpg', 'cut.jpg'):
        losses = []
        image = next(read_pages(tmp_path / name, BitDepth(), losses))[0]
        assert image[:60].std() > 20 and (image[-20:] == 128).all()
        assert len(losses) == 1 and re.search(rf'{name} is damaged .*: \d\d% of it is lost',
                                              losses[0])
    (tmp_path / 'head.jpg').write_bytes(data[:700])
    with pytest.raises(UserError, match=r'head\.jpg'):
        next(read_pages(tmp_path / 'head.jpg', BitDepth(), []))
    assert next(read_pages(tmp_path / 'padded.jpg', BitDepth()))[0].shape == (240, 320, 3)


def test_a_nonsensical_header_is_one_line_without_memory_addresses():
    with pytest.raises(UserError) as refused:
        PicturePages(b'P6 -5 5 255 ' + bytes(99), 'negative.ppm')
    assert 'negative.ppm is damaged' in str(refused.value) and ' at 0x' not in str(refused.value)


def test_a_truncated_animation_keeps_the_frames_before_the_cut(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (4, 60, 80, 3), np.uint8)
    first, *others = map(Image.fromarray, noise)
    for form in ('GIF', 'TIFF'):
        data = encoded(first, form, save_all=True, append_images=others)
        (tmp_path / 'cut').write_bytes(data[:int(len(data) * 0.6)])
        try:
            source = open_source(tmp_path / 'cut')
        except UserError as error:  # a TIFF may have its headers at its end
            assert 'cut' in str(error)
            continue
        assert 0 < len(list(source)) < 4 and source.losses


def test_heic_without_its_plugin_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    data = struct.pack('>I4s4sI4s4s', 24, b'ftyp', b'heic', 0, b'mif1', b'heic') + bytes(99)
    with pytest.raises(UserError, match=r'photo is HEIC, which needs .* pillow-heif'):
        PicturePages(data, 'photo')


@pytest.mark.parametrize(('orientation', 'bright'), [(3, (16, 36)), (6, (3, 16)), (8, (36, 3))])
def test_heic_is_turned_by_its_container_or_else_by_exif(orientation, bright):
    heif = pytest.importorskip('pillow_heif')

    def heic(turn: int) -> bytes:
        exif, file = Image.Exif(), io.BytesIO()
        exif[274] = turn
        heif.from_pillow(corner_picture()).save(file, exif=exif.tobytes(), quality=90)
        return file.getvalue()
    by_container = heic(orientation)
    by_exif = heic(1).replace(*(struct.pack('>HHIH', 274, 3, 1, turn) for turn in (1, orientation)))
    assert [data.count(b'irot') for data in (by_container, by_exif)] == [1, 0]
    for data in (by_container, by_exif):
        image = decode_picture(data, 'turned')
        assert image.shape == ((20, 40, 3) if orientation == 3 else (40, 20, 3))
        assert image[bright][0] > 200 and image[::-1, ::-1][bright][0] < 50
    assert decode_picture(by_exif.replace(b'MM\0*', b'nons'), 'stored').shape == (20, 40, 3)


@pytest.mark.parametrize(('orientation', 'turned'), [(1, False), (2, True), (6, True)])
def test_a_rotation_by_the_container_is_reported(orientation, turned):
    exif = Image.Exif()
    exif[274] = orientation
    assert is_turned_by_container(encoded(corner_picture(), 'AVIF', exif=exif)) is turned
    assert not is_turned_by_container(encoded(corner_picture(), 'AVIF', exif=exif)[:60])


def test_a_depth_image_in_a_file_is_reported(tmp_path):
    cv2.imwrite(str(tmp_path / 'depth.tif'), np.ones((20, 30), np.float32))
    with pytest.raises(UserError, match='samples of floating point .* as depth images have'):
        read_picture(tmp_path / 'depth.tif')


def test_what_a_decoder_prints_does_not_reach_the_user(tmp_path, capfd):
    data = huge_png(300, 300)
    (tmp_path / 'bad.png').write_bytes(data[:50] + b'xxxx' + data[54:])
    with pytest.raises(UserError):
        list(read_pages(tmp_path / 'bad.png', BitDepth()))
    print('of another', file=sys.stderr)
    assert capfd.readouterr().err == 'of another\n'


def test_a_video_whose_name_looks_like_a_url_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = cv2.VideoWriter('plain.mp4', cv2.VideoWriter_fourcc(*'mp4v'), 20, (64, 48))
    for shade in range(5):
        writer.write(np.full((48, 64, 3), 40 * shade, np.uint8))
    writer.release()
    for name in ('2024-05-01T10:20:30.mp4', 'http:x', 'a%03d.mp4', 'film'):
        Path('plain.mp4').rename(name)
        assert len(list(open_source(name))) == 5
        Path(name).rename('plain.mp4')


def test_frames_after_damage_are_read_and_lost_ones_are_counted(tmp_path):
    noise = cv2.resize(np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8), (160, 120))
    writer = cv2.VideoWriter(str(tmp_path / 'a.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 20,
                             (160, 120))
    for shift in range(40):
        writer.write(np.roll(noise, 3 * shift, axis=1))
    writer.release()
    data = bytearray((tmp_path / 'a.avi').read_bytes())
    third = len(data) // 3
    data[third:third + len(data) // 8] = bytes(len(data) // 8)
    (tmp_path / 'a.avi').write_bytes(bytes(data))
    source = open_source(tmp_path / 'a.avi')
    frames = list(source)
    assert 28 <= len(frames) < 40
    assert np.abs(frames[-1].image.astype(int) - np.roll(noise, 3 * 39, axis=1)).mean() < 10
    assert source.losses == [f'source: {tmp_path}/a.avi has 40 frames according to its header, and '
                             f'{len(frames)} of them could be read']


@pytest.mark.parametrize(('suffix', 'fps'), [
    ('avi', 20), ('mkv', 20), ('ts', 20), ('ts', 12.5), ('mp4', 12.5), ('webm', 29.97)])
def test_the_missing_frames_of_a_truncated_video_are_counted(tmp_path, suffix, fps):
    codec = {'avi': 'MJPG', 'webm': 'VP80'}.get(suffix, 'mp4v')
    path = tmp_path / f'a.{suffix}'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (64, 48))
    for _ in range(30):
        writer.write(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
    writer.release()
    source = open_source(path)
    assert len(list(source)) == 30 and not source.losses
    if suffix in ('avi', 'mkv'):  # the others have their index at the end, or count what is there
        data = path.read_bytes()
        path.write_bytes(data[:len(data) // 2])
        source = open_source(path)
        assert 5 < len(list(source)) < 20
        assert '30 frames according to its header' in source.losses[0]
