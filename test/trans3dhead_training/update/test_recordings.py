"""Bags, videos and folders give the same frames, and a source without images is refused."""

import cv2
import numpy as np
import pytest
from bags import CAMERA, IMAGES, write_bag
from recordings import write_video

from trans3dhead_ros.errors import UserError
from trans3dhead_training.update.recordings import Recording

COLOURS = [np.full((48, 64, 3), level, np.uint8) for level in range(0, 200, 20)]


@pytest.mark.parametrize('compressed', [False, True])
def test_a_bag_gives_its_images_without_ros(tmp_path, compressed):
    path = write_bag(tmp_path / 'bag', COLOURS, compressed=compressed)
    with Recording(str(path)) as recording:
        frames = list(recording.frames(first=2, step=3))
        assert recording.count == len(COLOURS) and recording.fps == pytest.approx(25.0)
    assert [frame.index for frame in frames] == [2, 5, 8]
    assert all((frame.image == COLOURS[frame.index]).all() for frame in frames)
    assert frames[1].stamp - frames[0].stamp == pytest.approx(0.12, abs=1e-3)


def test_the_camera_is_that_of_the_bag_for_images_of_their_size(tmp_path):
    with Recording(str(write_bag(tmp_path / 'bag', COLOURS))) as recording:
        camera = recording.camera()
        # Calibrated at 320 x 240, recorded at a fifth of it.
        assert camera.size == (64, 48)
        assert camera.K[0, 0] == pytest.approx(CAMERA.K[0, 0] / 5)
    with Recording(str(write_bag(tmp_path / 'bare', COLOURS, calibrated=False))) as recording:
        assert recording.camera() is None
        assert recording.camera(90.0).K[0, 0] == pytest.approx(32.0)


def test_a_folder_gives_every_third_picture(tmp_path):
    for number, image in enumerate(COLOURS):
        cv2.imwrite(str(tmp_path / f'frame{number}.png'), image)
    with Recording(str(tmp_path)) as recording:
        assert [frame.image[0, 0, 0] for frame in recording.frames(step=3)] == [0, 60, 120, 180]


def test_a_video_gives_its_frames(tmp_path):
    path = write_video(tmp_path / 'clip.mp4', COLOURS)
    with Recording(str(path)) as recording:
        assert recording.count == len(COLOURS) == len(list(recording.frames()))


@pytest.mark.parametrize(('source', 'message'), [('bag', 'no topic can be read'),
                                                 ('nothing.mcap', 'does not exist')])
def test_a_source_without_images_is_refused(tmp_path, source, message):
    write_bag(tmp_path / 'bag', [])
    with pytest.raises(UserError, match=message):
        Recording(str(tmp_path / source))


def test_a_bag_of_two_cameras_needs_a_topic(tmp_path):
    from bags import raw_image, stamp_of

    from trans3dhead_ros.bags.bag_writer import BagWriter
    with BagWriter(tmp_path / 'bag', 'mcap') as bag:
        for topic in (IMAGES, '/other/image_raw'):
            bag.write(topic, 'sensor_msgs/msg/Image', stamp_of(0),
                      raw_image(stamp_of(0), COLOURS[3]))
    with pytest.raises(UserError, match='name one of'):
        Recording(str(tmp_path / 'bag'))
    with Recording(str(tmp_path / 'bag'), '/other/image_raw') as recording:
        assert recording.count == 1
