"""Heads at any roll, and faces cut by the border, compared with upright, whole ones."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest
from clips import data
from counting_aligner import CountingAligner
from scripted_detector import ScriptedDetector, detections

from trans3dhead_ros import HeadPipeline
from trans3dhead_ros.geometry import geodesic_distance_deg, turned_in_image
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source, read_picture
from trans3dhead_ros.perception.crop import landmark_box

FRAME, BOXES = 100, [(75, 114, 191, 234), (314, 136, 411, 226)]  # landmark boxes of two people
# Faces of labelled photographs, each in the middle half of its picture.
FACES = ('helen/train_100032540_1.jpg', 'lfpw/train_image_0083.jpg')
BORDERS = {'left': (-1, 0), 'right': (1, 0), 'top': (0, -1), 'bottom': (0, 1)}


@pytest.fixture(scope='module')
def pipeline():
    return HeadPipeline(CountingAligner.load(device='cpu', threads=1), ScriptedDetector())


def bundled_head(pipeline, number):
    """Return a picture, and the head of one of its two people."""
    with open_source(str(bundled_clip())) as source:
        picture = next(itertools.islice(source, FRAME, None)).image
    head, = pipeline.align(picture, [BOXES[number]])
    return picture, pipeline.align(picture, [head.box])[0]


def photographed_head(pipeline, number):
    """Return a photograph and the head in it."""
    picture = read_picture(data('faces', *FACES[number].split('/')))
    side = picture.shape[0]
    head, = pipeline.align(picture, [[0.25 * side, 0.25 * side, 0.75 * side, 0.75 * side]])
    return picture, pipeline.align(picture, [head.box])[0]


@pytest.fixture(scope='module', params=['bundled 0', 'bundled 1', 'photograph 0', 'photograph 1'])
def whole(request, pipeline):
    """Return a picture, and the head of one of its people."""
    kind, number = request.param.split()
    head_of = {'bundled': bundled_head, 'photograph': photographed_head}[kind]
    return head_of(pipeline, int(number))


def turned(picture, points, degrees):
    """Turn a picture counter-clockwise about its middle; return it and the box of the points."""
    height, width = picture.shape[:2]
    side = int(np.hypot(height, width))
    matrix = cv2.getRotationMatrix2D((0.5 * (width - 1), 0.5 * (height - 1)), degrees, 1.0)
    matrix[:, 2] += 0.5 * np.array([side - width, side - height])
    picture = cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    return picture, landmark_box(points[:, :2] @ matrix[:, :2].T + matrix[:, 2])


def with_head_box(box):
    """Return the detection of an upright head, whose face lies low in it."""
    above, below = np.array([-0.75, 0.25]) * (box[3] - box[1])
    return replace(detections([box]), head_box=np.add(box, [[0.0, above, 0.0, below]]))


@pytest.mark.parametrize('degrees', range(30, 360, 30))
def test_a_head_at_any_roll_is_aligned_as_the_upright_one(pipeline, whole, degrees):
    image, box = turned(whole[0], whole[1].landmarks, degrees)
    head, = pipeline.align(image, [box])
    expected = turned_in_image(whole[1].rotation, degrees)
    assert head.score > 0.9 and geodesic_distance_deg(head.rotation, expected) < 12.0


@pytest.mark.parametrize('degrees', [90, 180, 270])
def test_a_head_that_the_detector_mistakes_for_upright_is_found_at_its_roll(
        pipeline, whole, degrees):
    """The detector then has the face low in the head, where the forehead is."""
    picture, truth = whole
    image, box = turned(picture, truth.landmarks, degrees)
    low = 0.25 * (box[3] - box[1])
    supposed = with_head_box(np.add(box, [0.0, low, 0.0, low]))
    heads = HeadPipeline(pipeline.aligner, ScriptedDetector(supposed)).detect(image)
    expected = turned_in_image(truth.rotation, degrees)
    assert all(geodesic_distance_deg(head.rotation, expected) < 12.0 for head in heads)
    assert heads and heads[0].score > 0.9


@pytest.mark.parametrize('quarters', [1, 2, 3])
def test_people_in_front_of_a_rotated_camera_are_tracked_as_with_an_upright_one(quarters):
    pipeline = HeadPipeline.load(device='cpu', threads=1)
    with open_source(str(bundled_clip())) as source:
        picture = next(itertools.islice(source, FRAME, None)).image
    upright = pipeline.detect(picture)
    image = np.ascontiguousarray(np.rot90(picture, quarters))
    answers = [pipeline.track(image, i / 15.0) for i in range(24)]
    first = next(i for i, heads in enumerate(answers) if heads)
    ids = {head.track_id for heads in answers for head in heads}
    assert first < 6 and ids and all(heads for heads in answers[first:])
    for head in answers[-1]:
        assert min(geodesic_distance_deg(head.rotation, turned_in_image(
            other.rotation, 90.0 * quarters)) for other in upright) < 8.0
    assert len(answers[-1]) == len(ids) <= len(upright)


def test_an_upright_whole_head_takes_one_crop(pipeline, whole):
    picture, truth = whole
    before = pipeline.aligner.crops
    pipeline.align(picture, [truth.box])
    assert pipeline.aligner.crops == before + 1


def cut(picture, box, border, part):
    """Return a picture of which a part of a box is cut off, and the box in it."""
    (x0, y0, x1, y1), (right, down) = box, BORDERS[border]
    left, top, width, height = 0, 0, picture.shape[1], picture.shape[0]
    if right < 0 or down < 0:
        left, top = (round(x0 + part * (x1 - x0)), 0) if right else (
            0, round(y0 + part * (y1 - y0)))
    elif right:
        width = round(x1 - part * (x1 - x0))
    else:
        height = round(y1 - part * (y1 - y0))
    return np.ascontiguousarray(picture[top:height, left:width]), box - [left, top, left, top]


@pytest.mark.parametrize('part', [0.1, 0.2, 0.3, 0.4])
@pytest.mark.parametrize('border', BORDERS)
def test_a_face_cut_by_the_border_is_aligned_as_the_whole_one_or_has_a_low_score(
        pipeline, whole, border, part):
    image, box = cut(*whole[:1], whole[1].box, border, part)
    head, = pipeline.align(image, [box])
    head, = pipeline.align(image, [head.box])
    off = geodesic_distance_deg(head.rotation, whole[1].rotation)
    assert off < 12.0 or head.score < 0.5
    assert part > 0.15 or head.score > 0.5
    detector = ScriptedDetector(with_head_box(box))
    for head in HeadPipeline(pipeline.aligner, detector).detect(image):
        off = geodesic_distance_deg(head.rotation, whole[1].rotation)
        assert off < 15.0 or head.score < 0.5


def test_the_scales_of_a_face_cut_by_the_border_are_larger(pipeline, whole):
    image, box = cut(*whole[:1], whole[1].box, 'left', 0.2)
    head, = pipeline.align(image, [box])
    assert head.landmark_scale.mean() > 2.0 * whole[1].landmark_scale.mean()
