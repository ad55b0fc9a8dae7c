"""Detectors: proposals on real clips, and the arithmetic of boxes."""

import shutil

import cv2
import numpy as np
import pytest
from clips import DATA, clip, data

from trans3dhead_ros import HeadPipeline
from trans3dhead_ros.boxes import iou
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.backends import choose_backend, is_installed
from trans3dhead_ros.inference.head_search import HeadSearch
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source, read_picture
from trans3dhead_ros.model_files.detector_metadata import bundled_detector
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.detector import MIN_SCORE, detect_with_border, make_detector
from trans3dhead_ros.perception.head_finder import same_head

YUNET = DATA.parent / 'baselines' / 'yunet' / 'yunet_n_640_640.onnx'


@pytest.fixture(scope='module')
def detector():
    return make_detector(device='cpu', threads=1)


def hit(found, place):
    """Return whether a detection fits the hand-drawn landmark box `place`."""
    return len(found) > 0 and iou(found.landmark_box, np.array([place], dtype=float)).max() > 0.4


def test_half_profiles_to_either_side_are_found(detector):
    picture = clip('head-pose-face-detection-female')[0]
    found = detector.detect(picture)
    assert hit(found, (177, 75, 233, 155))
    assert (np.diff(found.score) <= 0).all() and found.score.min() >= MIN_SCORE
    mirrored = detector.detect(np.ascontiguousarray(picture[:, ::-1]))
    assert hit(mirrored, (479 - 233, 75, 479 - 177, 155))


def test_heads_that_tilt_are_found(detector):
    found = detector.detect(clip('head-pose-face-detection-female-and-male')[28])
    assert hit(found, (28, 103, 98, 157)) and hit(found, (295, 77, 375, 141))


@pytest.mark.parametrize('size', [(480, 360), (1300, 975), (320, 241)])
def test_boxes_found_with_a_border_are_in_pixels_of_the_image(detector, size):
    picture = cv2.resize(next(iter(open_source(bundled_clip()))).image, size)
    plain, framed = detector.detect(picture), detect_with_border(detector, picture)
    heads = plain.landmark_box[plain.score > 0.9]
    assert len(heads) == 2 and (iou(heads, framed.landmark_box).max(axis=1) > 0.7).all()


@pytest.mark.parametrize('name', [
    'afw/train_3062021448_2.jpg', 'lfpw/train_image_0281.jpg', 'ytf/test_Jaime_Pressly_41.jpg'])
def test_a_head_that_fills_the_picture_is_found(detector, name):
    picture = read_picture(data('faces', *name.split('/')))
    head, = HeadPipeline(HeadAligner.load(device='cpu', threads=1), detector).detect(picture)
    side = picture.shape[0]
    assert iou(head.box[None], np.array([[0.25, 0.25, 0.75, 0.75]]) * side)[0, 0] > 0.6


def test_many_small_heads_are_found(detector):
    found = detector.detect(clip('classroom')[0])
    for place in [(306, 158, 328, 179), (64, 153, 84, 175), (129, 131, 141, 144),
                  (231, 132, 244, 144)]:
        assert hit(found, place)


@pytest.mark.parametrize('shape', [(1, 1), (3, 200), (300, 2), (40, 40)])
def test_small_and_thin_images_contain_no_head(detector, shape):
    assert not (detector.detect(np.full((*shape, 3), 120, np.uint8)).score > 0.5).any()


def test_overlap_is_the_shared_part():
    boxes = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    others = np.array([[5.0, 0, 15, 10], [0, 0, 10, 10], [10, 0, 12, 2]])
    np.testing.assert_allclose(iou(boxes, others), [[1 / 3, 1, 0], [0, 0, 0]])
    assert iou(np.zeros((0, 4)), others).shape == (0, 3)


@pytest.mark.skipif(not YUNET.is_file(), reason=f'no {YUNET}')
@pytest.mark.skipif(tuple(map(int, cv2.__version__.split('.')[:2])) < (4, 8),
                    reason='OpenCV before 4.8 does not import this YuNet file')
def test_yunet_boxes_are_landmark_boxes_at_every_size_of_picture():
    yunet = make_detector(YUNET)
    picture = clip('head-pose-face-detection-female-and-male')[28]
    places = np.array([(28, 103, 98, 157), (295, 77, 375, 141)], dtype=float)
    for scale in (0.5, 1.0, 3.0):
        found = yunet.detect(cv2.resize(picture, None, fx=scale, fy=scale))
        found = found[found.score > 0.5]
        assert len(found) == 2 and (found.face == 1.0).all()
        assert (iou(found.landmark_box, scale * places).max(axis=0) > 0.55).all()
    assert (found.roll_deg < -20.0).all()  # both lean to the image's left
    assert len(yunet.detect(np.zeros((100, 100, 3), np.uint8))) == 0


def test_a_missing_or_invalid_detector_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r'^detector: no such file .*yunet\.onnx'):
        make_detector(tmp_path / 'yunet.onnx')
    with pytest.raises(UserError, match=r'nothing\.safetensors: no such detector'):
        make_detector(tmp_path / 'nothing.safetensors')
    (tmp_path / 'yunet.onnx').write_bytes(b'not a network')
    with pytest.raises(UserError, match='^detector: .*neither a head detector nor a YuNet model'):
        make_detector(tmp_path / 'yunet.onnx')


@pytest.mark.parametrize('suffix', ['.onnx', '.safetensors'])
def test_either_file_of_a_head_detector_is_one(tmp_path, suffix):
    if suffix == '.safetensors':
        pytest.importorskip('torch')
    shutil.copy(bundled_detector().with_suffix(suffix), tmp_path / f'mine{suffix}')
    found = make_detector(tmp_path / f'mine{suffix}', device='cpu')
    assert isinstance(found, HeadSearch)
    assert found.engine.backend == (
        'torch' if suffix == '.safetensors' else choose_backend('auto', 'cpu')[0])


def test_a_detector_stays_where_it_is_when_nothing_changes(detector):
    assert detector.moved('cpu') is detector


@pytest.mark.parametrize('backend', ['openvino', 'opencv', 'torch'])
def test_a_detector_finds_the_same_heads_in_another_engine(detector, backend):
    if not is_installed(backend):
        pytest.skip(f'{backend} is not installed')
    moved = detector.moved('cpu', backend)
    assert moved.engine.backend == backend
    picture = clip('classroom')[0]
    # One after the other, together, and of another size: each is a shape of its own.
    for images in ([picture], [picture, picture[::-1]], [picture[:, :200]]):
        for found, expected in zip(moved.detect_all(images), detector.detect_all(images),
                                   strict=True):
            np.testing.assert_allclose(found.head_box, expected.head_box, atol=0.05)
            np.testing.assert_allclose(found.landmark_box, expected.landmark_box, atol=0.05)
            np.testing.assert_allclose(found.score, expected.score, atol=1e-3)


def test_a_part_of_a_face_is_the_same_head():
    face = np.array([[100.0, 100.0, 200.0, 200.0]])
    parts = np.array([[92.0, 130.0, 120.0, 160.0],    # an ear, mostly inside
                      [150.0, 120.0, 190.0, 145.0],   # an eye
                      [100.0, 96.0, 205.0, 203.0]])   # itself
    others = np.array([[60.0, 120.0, 100.0, 160.0],   # somebody farther off, beside it
                       [185.0, 90.0, 240.0, 145.0],   # one who is hidden in part
                       [300.0, 100.0, 400.0, 200.0]])
    assert same_head(parts, face).all() and same_head(face, parts).all()
    assert not same_head(others, face).any() and not same_head(face, others).any()
