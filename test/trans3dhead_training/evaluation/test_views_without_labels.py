"""What must hold for any picture, labels or not: turning, mirroring and a shifted box."""

import cv2
import numpy as np
import pytest
from clips import clip

from trans3dhead_ros import HeadPipeline
from trans3dhead_ros.geometry import geodesic_distance_deg, mirrored, turned_in_image
from trans3dhead_ros.landmarks import MIRROR_68
from trans3dhead_ros.model_files.model_metadata import bundled_model
from trans3dhead_ros.perception.crop import landmark_box

pytestmark = [pytest.mark.train, pytest.mark.skipif(
    not bundled_model().is_file(), reason=f'no checkpoint at {bundled_model()}')]

CLIPS = {'head-pose-face-detection-female': 3, 'head-pose-face-detection-male': 20,
         'head-pose-face-detection-female-and-male': 8}


@pytest.fixture(scope='module')
def pipeline():
    return HeadPipeline.load()


@pytest.fixture(scope='module')
def heads(pipeline):
    """Return (picture, landmark box, head) of large heads in several poses."""
    found = []
    for name, step in CLIPS.items():
        following = HeadPipeline(pipeline.aligner, pipeline.detector)
        for i, picture in enumerate(clip(name)):
            for head in following.track(picture, stamp=0.08 * i):
                if i % step == 0:
                    aligned, = pipeline.align(picture, [head.box])
                    found.append((picture, head.box, aligned))
    assert len(found) >= 20
    return found


def size(box):
    return np.sqrt(np.prod(box[2:] - box[:2]))


@pytest.mark.parametrize('degrees', [-25.0, 25.0])
def test_turning_the_picture_turns_the_head(pipeline, heads, degrees):
    errors, moved = [], []
    for picture, box, head in heads:
        centre = 0.5 * (box[:2] + box[2:])
        matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), degrees, 1.0)
        turned = cv2.warpAffine(picture, matrix, picture.shape[1::-1])
        points = head.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        again, = pipeline.align(turned, [landmark_box(points)])
        errors.append(geodesic_distance_deg(
            again.rotation, turned_in_image(head.rotation, degrees)))
        moved.append(np.linalg.norm(again.landmarks[:, :2] - points, axis=1).mean() / size(box))
    assert np.median(errors) <= 4.0
    assert np.median(moved) <= 0.025


def test_mirroring_the_picture_mirrors_the_head(pipeline, heads):
    errors, moved = [], []
    for picture, box, head in heads:
        width = picture.shape[1]
        other = np.array([width - 1 - box[2], box[1], width - 1 - box[0], box[3]])
        again, = pipeline.align(np.ascontiguousarray(picture[:, ::-1]), [other])
        points = head.landmarks[MIRROR_68, :2] * [-1, 1] + [width - 1, 0]
        errors.append(geodesic_distance_deg(again.rotation, mirrored(head.rotation)))
        moved.append(np.linalg.norm(again.landmarks[:, :2] - points, axis=1).mean() / size(box))
    assert np.median(errors) <= 4.0
    assert np.median(moved) <= 0.025


def test_shifting_and_scaling_the_box_changes_little(pipeline, heads):
    generator = np.random.default_rng(0)
    errors, moved = [], []
    for picture, box, head in heads:
        side = np.max(box[2:] - box[:2])
        shift = generator.uniform(-0.08, 0.08, 2) * side
        grown = generator.uniform(-0.06, 0.06) * side
        moved_box = box + np.concatenate([shift - grown, shift + grown])
        again, = pipeline.align(picture, [moved_box])
        errors.append(geodesic_distance_deg(again.rotation, head.rotation))
        moved.append(np.linalg.norm(
            (again.landmarks - head.landmarks)[:, :2], axis=1).mean() / size(box))
    assert np.median(errors) <= 3.0
    assert np.median(moved) <= 0.02
