"""Every installed engine gives the outputs of torch, on crops of real pictures."""

import itertools

import numpy as np
import pytest

from trans3dhead_ros import Camera, HeadPipeline
from trans3dhead_ros.geometry import geodesic_distance_deg
from trans3dhead_ros.inference.backends import BACKENDS, is_installed
from trans3dhead_ros.media.clip_truth import bundled_clip
from trans3dhead_ros.media.sources import open_source

PIXELS, DEGREES = 0.02, 0.02
# Around the two faces of the clip, and beside them.
BOXES = [[60.0, 70.0, 160.0, 190.0], [330.0, 80.0, 420.0, 190.0], [-20.0, 40.0, 60.0, 130.0],
         [200.0, 150.0, 240.0, 195.0], [300.0, 200.0, 520.0, 440.0]]
OTHERS = [name for name in BACKENDS if name != 'torch']


@pytest.fixture(scope='module')
def images():
    with open_source(bundled_clip()) as source:
        return [frame.image for frame in itertools.islice(source, 0, 40, 20)]


@pytest.fixture(scope='module')
def expected(model_pair, images):
    pipeline = HeadPipeline.load(model_pair, device='cpu', backend='torch')
    return [pipeline.align(image, BOXES, camera=camera_of(image)) for image in images]


def camera_of(image):
    return Camera.from_fov(image.shape[1::-1], 60.0)


@pytest.fixture(params=OTHERS)
def backend(request):
    if not is_installed(request.param):
        pytest.skip(f'{request.param} is not installed')
    return request.param


def test_an_engine_gives_the_outputs_of_torch(model_pair, images, expected, backend):
    pipeline = HeadPipeline.load(model_pair, device='cpu', backend=backend)
    assert (pipeline.aligner.backend, pipeline.aligner.device) == (backend, 'cpu')
    for image, heads in zip(images, expected, strict=True):
        for count in (len(BOXES), 1, 3):
            found = pipeline.align(image, BOXES[:count], camera=camera_of(image))
            for head, other in zip(found, heads[:count], strict=True):
                for name in ('landmarks', 'landmarks_contour', 'vertices_px', 'landmark_scale'):
                    assert np.abs(getattr(head, name) - getattr(other, name)).max() < PIXELS, name
                assert geodesic_distance_deg(head.rotation, other.rotation) < DEGREES
                assert np.abs(np.subtract(head.euler_deg, other.euler_deg)).max() < DEGREES
                assert np.abs(head.shape - other.shape).max() < 1e-3
                assert head.score == pytest.approx(other.score, abs=1e-4)


def test_the_outputs_depend_on_the_crop(expected):
    """Otherwise the comparison would show nothing."""
    first, *others = expected[0]
    assert all(np.abs(first.shape - head.shape).max() > 1e-3 for head in others)
    assert all(geodesic_distance_deg(first.rotation, head.rotation) > 0.1 for head in others)


def test_no_boxes_give_no_heads(model_pair, images, backend):
    pipeline = HeadPipeline.load(model_pair, device='cpu', backend=backend)
    assert pipeline.align(images[0], []) == []
    assert len(pipeline.aligner.align(images[0], np.zeros((0, 4)))) == 0
    pipeline.aligner.warm_up()
