"""Stills are not a video: a folder needs an order, and a cut ends all tracks."""

import cv2
import numpy as np
import pytest

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.frame_order import CutDetector, check_order
from trans3dhead_ros.media.sources import open_source


@pytest.mark.parametrize('names', [
    ['0.png', '1.png', '10.png'], ['frame_001.jpg', 'frame_002.jpg'], ['one.png'],
    ['2024-05-01T10-20-30.100.png', '2024-05-01T10-20-30.200.png']])
def test_numbered_names_are_an_order(names):
    check_order('film', names)


@pytest.mark.parametrize('names', [
    ['anna.jpg', 'ben.jpg'], ['anna1.jpg', 'ben1.jpg'], ['a.jpg', 'a.png'],
    ['frame1.png', 'frame2.png', 'cover.png']])
def test_other_names_are_not(names):
    with pytest.raises(UserError, match='not numbered.*trans3dhead detect album.*--frames'):
        check_order('album', names)


def other_picture(seed: int) -> np.ndarray:
    """Return a picture of large patches of colour."""
    patches = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(patches, (320, 240), interpolation=cv2.INTER_CUBIC)


def test_every_picture_of_other_content_or_size_is_a_cut():
    detector = CutDetector()
    pictures = [other_picture(seed) for seed in range(20)]
    assert [detector.is_cut(picture) for picture in pictures] == [False, *[True] * 19]
    assert detector.is_cut(pictures[-1][:200]) and not detector.is_cut(pictures[-1][:200])


def test_a_video_has_no_cut_even_at_a_tenth_of_its_rate_or_where_it_pans():
    detector = CutDetector()
    with open_source(bundled_clip()) as source:
        frames = [frame.image for frame in source][::10]
    assert not any(map(detector.is_cut, frames))
    wide, detector = cv2.resize(other_picture(0), (640, 240)), CutDetector()
    assert not any(detector.is_cut(wide[:, 30 * step:30 * step + 320]) for step in range(11))


def test_noise_and_changing_light_are_not_a_cut():
    detector, noise = CutDetector(), np.random.default_rng(0)
    assert not any(detector.is_cut(noise.integers(90, 110, (96, 128, 3), np.uint8))
                   for _ in range(5))
    picture, detector = other_picture(1), CutDetector()
    assert not detector.is_cut(picture)
    assert not detector.is_cut(cv2.convertScaleAbs(picture, alpha=0.9))
