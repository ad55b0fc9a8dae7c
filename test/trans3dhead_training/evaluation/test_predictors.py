"""The peers predict about as well as published, in our frames, through one interface."""

import shutil

import numpy as np
import pytest
from clips import DATA

from trans3dhead_ros.geometry import euler_from_rotation
from trans3dhead_ros.landmarks import mirror_points
from trans3dhead_ros.media.sources import read_picture
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_training.core import metrics
from trans3dhead_training.data.labels import FaceRecord, read_labels
from trans3dhead_training.predictors import make_predictor

pytestmark = pytest.mark.train

FACES = DATA / 'faces'
BASELINES = FACES.parent.parent / 'baselines'
needs_faces = pytest.mark.skipif(
    not (FACES / 'labels.csv').is_file() or not BASELINES.is_dir(),
    reason=f'needs {FACES} (TRANS3DHEAD_DATA) and {BASELINES}')


@pytest.fixture(scope='module')
def records() -> list[FaceRecord]:
    """Return a part of the validation faces."""
    return [record for record in read_labels(FACES) if record.is_validation][::6]


def align(name: str, records: list[FaceRecord]) -> list:
    if name == 'mediapipe':
        pytest.importorskip('ai_edge_litert')
    predictor = make_predictor(name, baselines=BASELINES)
    return [predictor.predict(read_picture(r.path), landmark_box(r.points)[None])[0]
            for r in records]


@needs_faces
@pytest.mark.parametrize(('name', 'percent'), [('3ddfa_v2', 3.1), ('mediapipe', 2.5)])
def test_a_peer_is_as_accurate_as_published(records, name, percent):
    errors = [metrics.nme_inner(prediction.landmarks, record.points)
              for prediction, record in zip(align(name, records), records, strict=True)]
    assert 100 * np.mean(errors) < percent


@needs_faces
def test_the_rotation_of_3ddfa_is_in_our_convention(records):
    yaw = np.array([euler_from_rotation(a.rotation)[0] for a in align('3ddfa_v2', records)])
    # Nose to the image's left of the eyes' middle, in units of their distance: yaw > 0.
    eyes = np.stack([(r.points[36] + r.points[45]) / 2 for r in records])
    width = metrics.interocular_distance(np.stack([r.points for r in records]))
    nose_left = (eyes - np.stack([r.points[30] for r in records]))[:, 0] / width
    assert np.corrcoef(yaw, nose_left)[0, 1] > 0.9


@needs_faces
def test_a_mirrored_picture_gives_3ddfa_the_mirrored_rotation(records):
    predictor = make_predictor('3ddfa_v2', baselines=BASELINES)
    errors = []
    for record, prediction in zip(records, align('3ddfa_v2', records), strict=True):
        image = read_picture(record.path)
        box = landmark_box(mirror_points(record.points, image.shape[1]))
        other = predictor.predict(np.ascontiguousarray(image[:, ::-1]), box[None])[0]
        errors.append(metrics.mirror_error_deg(prediction.rotation, other.rotation))
    assert np.median(errors) < 3


def test_an_unknown_predictor_is_named():
    with pytest.raises(ValueError, match=r"'dlib' is unknown; use one of ours, 3ddfa_v2"):
        make_predictor('dlib')


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ValueError, match='baselines: no folder'):
        make_predictor('3ddfa_v2', baselines=tmp_path / 'nowhere')
    with pytest.raises(ValueError, match='does not hold 3DDFA_V2'):
        make_predictor('3ddfa_v2', baselines=tmp_path)


def test_weights_that_are_something_else_are_named(tmp_path):
    (tmp_path / '3ddfa_v2').mkdir()
    shutil.copyfile(__file__, tmp_path / '3ddfa_v2' / 'mb05_120x120.pth')
    with pytest.raises(ValueError, match='does not hold 3DDFA_V2'):
        make_predictor('3ddfa_v2', baselines=tmp_path)
