"""Frames come in order, whole, with their own times, from every kind of source."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from clips import DATA

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.clip_truth import ClipTruth, truth_path, write_truth
from trans3dhead_ros.media.sources import decode_picture, open_source, pictures_in, read_picture

VIDEO = DATA / 'video'


def gradient(shade: int, width: int = 64, height: int = 48) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width)[None]
    image[..., 1] = np.linspace(0, 255, height)[:, None]
    image[..., 2] = shade
    return image


def write_clip(path: Path, frames: int, fps: float = 20.0) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), fps, (64, 48))
    for index in range(frames):
        writer.write(gradient(index * 20))
    writer.release()


def test_a_picture_is_a_source_of_one_frame(tmp_path):
    cv2.imwrite(str(tmp_path / 'one.png'), gradient(7))
    source = open_source(tmp_path / 'one.png')
    (frame,) = source
    assert (source.count, source.size, frame.index, frame.stamp) == (1, (64, 48), 0, 0.0)
    np.testing.assert_array_equal(frame.image, gradient(7))


def test_a_folder_is_read_in_natural_order_without_other_files(tmp_path):
    for shade in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f'frame{shade}.png'), gradient(shade))
    (tmp_path / 'notes.txt').write_text('not a picture')
    frames = list(open_source(tmp_path))
    assert [int(f.image[0, 0, 2]) for f in frames] == [1, 2, 10]
    assert [f.stamp for f in frames] == pytest.approx([0.0, 0.1, 0.2])


def test_a_video_gives_every_frame_with_its_time_and_can_be_read_again(tmp_path):
    write_clip(tmp_path / 'clip.mp4', 6)
    source = open_source(tmp_path / 'clip.mp4')
    first, second = list(source), list(source)
    assert (source.count, source.size, source.fps) == (6, (64, 48), pytest.approx(20))
    assert [f.stamp for f in first] == pytest.approx([i / 20 for i in range(6)], abs=1e-3)
    assert [f.index for f in second] == list(range(6))
    np.testing.assert_array_equal(first[3].image, second[3].image)


def test_a_rendered_clip_has_its_truth_and_camera(tmp_path):
    write_clip(tmp_path / 'clip.mp4', 2)
    intrinsics = np.array([[50.0, 0, 31.5], [0, 50.0, 23.5], [0, 0, 1]])
    write_truth(tmp_path / 'clip.mp4', ClipTruth(
        np.tile(np.eye(3), (2, 3, 1, 1)), np.ones((2, 3, 3)), intrinsics, (64, 48), 20.0))
    source = open_source(tmp_path / 'clip.mp4')
    np.testing.assert_array_equal(source.truth.intrinsics, intrinsics)
    assert source.truth.rotation.shape == (2, 3, 3, 3)


@pytest.mark.parametrize('text', ['{"version": 1}', '[' * 100_000])
def test_a_broken_truth_file_is_named(tmp_path, text):
    write_clip(tmp_path / 'clip.mp4', 2)
    truth_path(tmp_path / 'clip.mp4').write_text(text)
    with pytest.raises(ValueError, match=r'clip\.mp4\.truth\.json: not a ground truth file'):
        open_source(tmp_path / 'clip.mp4')


@pytest.mark.parametrize(('name', 'count', 'seconds'), [
    ('head-pose-face-detection-female.gif', 23, 1.83),
    ('head-pose-face-detection-male.gif', 62, 5.08),
    ('head-pose-face-detection-female-and-male.gif', 56, 4.58),
])
@pytest.mark.skipif(not VIDEO.is_dir(), reason=f'needs the clips of {VIDEO} (TRANS3DHEAD_DATA)')
def test_a_gif_is_composed_and_keeps_its_durations(name, count, seconds):
    source = open_source(VIDEO / name)
    frames = list(source)
    assert source.count == len(frames) == count
    assert frames[-1].stamp == pytest.approx(seconds, abs=0.005)
    assert frames[1].stamp - frames[0].stamp == pytest.approx(0.08, abs=0.005)
    # Later frames of these files are patches; composed ones have no hole of the background colour.
    assert all((f.image.max(axis=2) > 0).mean() > 0.95 for f in frames)


def test_a_missing_source_is_named():
    with pytest.raises(ValueError, match=r'nowhere\.mp4 does not exist'):
        open_source('nowhere.mp4')


def test_a_pipe_is_not_reported_as_missing(tmp_path):
    os.mkfifo(tmp_path / 'clip.mp4')
    with pytest.raises(ValueError, match='neither a file nor a folder, but a pipe or a device'):
        open_source(tmp_path / 'clip.mp4')


def test_the_device_file_of_a_camera_names_it():
    with pytest.raises(ValueError, match='camera 987 cannot be opened'):
        open_source('/dev/video987')


def test_a_missing_camera_is_named():
    with pytest.raises(ValueError, match='camera 99 cannot be opened'):
        open_source('99')


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match='contains no picture'):
        open_source(tmp_path)


@pytest.mark.parametrize('name', ['text.png', 'text.mp4', 'text.gif'])
def test_a_file_of_another_kind_is_named(tmp_path, name):
    (tmp_path / name).write_text('hello, I am text')
    with pytest.raises(ValueError, match=name):
        open_source(tmp_path / name)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_a_truncated_picture_is_refused(tmp_path, suffix):
    data = cv2.imencode(suffix, np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))[1]
    with pytest.raises(ValueError, match='frame: .* truncated'):
        decode_picture(data.tobytes()[:len(data) // 2], 'frame')
    assert decode_picture(data.tobytes(), 'frame').shape == (64, 64, 3)


def test_invalid_pictures_in_a_folder_are_skipped_and_named(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), gradient(1))
    shutil.copyfile(__file__, tmp_path / 'b.png')
    (tmp_path / 'c.jpg').touch()
    (tmp_path / '._a.png').write_bytes(b'\0\x05\x16\x07' + bytes(4092))
    (tmp_path / 'd.png').write_bytes((tmp_path / 'a.png').read_bytes()[:-40])
    cv2.imwrite(str(tmp_path / 'e.png'), gradient(2))
    os.mkfifo(tmp_path / 'f.png')
    (tmp_path / 'g.png').symlink_to('nowhere.png')
    (tmp_path / 'h.png').mkdir()
    source = open_source(tmp_path)
    assert [Path(frame.file).name for frame in source] == ['a.png', 'e.png']
    assert len(source.losses) == 6
    for name, why in (('b.png', 'is not a picture'), ('c.jpg', 'is empty'), ('._a.png', 'macOS'),
                      ('d.png', 'truncated'), ('f.png', 'not a file'),
                      ('g.png', 'not a file')):
        assert any(f'/{name}' in line and why in line for line in source.losses), source.losses


def test_a_grey_picture_comes_as_three_channels(tmp_path):
    cv2.imwrite(str(tmp_path / 'grey.png'), gradient(0)[..., 0])
    assert read_picture(tmp_path / 'grey.png').shape == (48, 64, 3)


def test_a_motion_jpeg_video_is_a_video_under_any_name(tmp_path):
    pictures = [np.full((48, 64, 3), shade, np.uint8) for shade in (40, 120, 200)]
    data = b''.join(cv2.imencode('.jpg', picture)[1].tobytes() for picture in pictures)
    for name in ('film.mjpg', 'film.bin'):
        (tmp_path / name).write_bytes(data)
        with open_source(tmp_path / name) as source:
            assert [round(frame.image.mean() / 40) for frame in source] == [1, 3, 5]
    (tmp_path / 'film.jpg').write_bytes(data)
    (tmp_path / 'one.jpg').write_bytes(data[:data.find(b'\xff\xd9') + 2])
    pictures, losses = pictures_in(str(tmp_path))
    assert [Path(path).name for path in pictures] == ['one.jpg']
    assert losses == [f'picture: {tmp_path}/film.jpg is a Motion JPEG video, not a picture']


def test_a_photograph_followed_by_others_in_its_file_is_a_picture(tmp_path):
    PIL.Image.init()
    if 'MPO' not in PIL.Image.SAVE_ALL:
        pytest.skip('Pillow before 9.3 writes no photographs of several pictures')
    photograph = PIL.Image.new('RGB', (64, 48), 'red')
    photograph.save(tmp_path / 'phone.jpg', 'MPO', save_all=True, append_images=[photograph])
    assert open_source(tmp_path / 'phone.jpg').count == 1


def test_an_endless_stream_is_not_read_as_a_picture(tmp_path):
    os.mkfifo(tmp_path / 'pipe.png')
    with (tmp_path / 'huge.png').open('wb') as file:
        file.truncate(2 ** 40)
    for path, reason in (('/dev/zero', 'is not a file'), (tmp_path / 'pipe.png', 'is not a file'),
                         (tmp_path / 'huge.png', 'has more than 1 GB')):
        with pytest.raises(UserError, match=f'{path} {reason}'):
            read_picture(path)


def test_a_number_without_a_camera_is_treated_as_a_missing_file():
    with pytest.raises(UserError, match='9999999999 does not exist; .* or a camera index'):
        open_source('9' * 30)
