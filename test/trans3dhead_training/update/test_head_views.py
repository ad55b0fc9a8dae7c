"""Predictions for the views of a head agree; those for views of noise do not."""

import numpy as np
import pytest
from recordings import turning_head

from trans3dhead_ros.geometry import geodesic_distance_deg
from trans3dhead_ros.landmarks import JAW
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_training.update.head_views import MANY_VIEWS, View, average_views, relit


@pytest.fixture(scope='module')
def pipeline() -> HeadPipeline:
    return HeadPipeline.load(device='cpu', threads=1)


@pytest.fixture(scope='module')
def head(pipeline):
    """Return a picture of a head that is turned, its points and its rotation."""
    image = turning_head(0, 4)[0]
    (found,) = pipeline.detect(image)
    points = found.landmarks[:, :2].copy()
    points[JAW] = found.landmarks_contour[JAW]
    return image, points, found.rotation


def size_of(points: np.ndarray) -> float:
    return float(np.sqrt(np.prod(np.ptp(points, axis=0))))


@pytest.mark.parametrize('view', [
    View(mirror=True), View(turn_deg=12.0), View(shift=(0.05, -0.04)), View(zoom=1.1),
    View(relight=True), View(mirror=True, turn_deg=-12.0, shift=(0.03, 0.0))])
def test_results_of_a_view_are_mapped_back_to_the_picture(pipeline, head, view):
    image, points, rotation = head
    average = average_views(pipeline.aligner, image, points, rotation, [view])
    away = np.linalg.norm(average.points - points, axis=-1).mean() / size_of(points)
    assert away < 0.03 and geodesic_distance_deg(average.rotation, rotation) < 6.0


def test_an_upside_down_head_is_viewed_upright(pipeline, head):
    image, points, rotation = head
    turn = np.diag([-1.0, -1.0, 1.0])
    upside_down = np.ascontiguousarray(image[::-1, ::-1])
    moved = np.array(image.shape[1::-1]) - 1 - points
    average = average_views(pipeline.aligner, upside_down, moved, turn @ rotation, MANY_VIEWS)
    assert geodesic_distance_deg(average.rotation, turn @ rotation) < 6.0


def test_the_views_of_a_head_agree_and_those_of_noise_do_not(pipeline, head):
    image, points, rotation = head
    noise = np.random.default_rng(0).integers(0, 255, image.shape, np.uint8)
    sure, unsure = (average_views(pipeline.aligner, picture, points, rotation, MANY_VIEWS)
                    for picture in (image, noise))
    assert sure.spread < 0.02 < unsure.spread
    assert sure.score > 0.9 > unsure.score


def test_an_outlying_prediction_has_less_weight(pipeline: HeadPipeline, head):
    image, points, rotation = head
    views = [*MANY_VIEWS, View(shift=(0.6, 0.6))]
    with_it, without = (average_views(pipeline.aligner, image, points, rotation, chosen)
                        for chosen in (views, MANY_VIEWS))
    away = np.linalg.norm(with_it.points - without.points, axis=-1).mean() / size_of(points)
    assert away < 0.01


def test_a_dark_head_is_brightened(head):
    image, points, _ = head
    box = np.concatenate([points.min(0), points.max(0)])
    dark = (image * 0.15).astype(np.uint8)
    x0, y0, x1, y1 = box.astype(int)
    assert dark[y0:y1, x0:x1].mean() < 40
    assert relit(dark, box)[y0:y1, x0:x1].mean() == pytest.approx(110, abs=15)
