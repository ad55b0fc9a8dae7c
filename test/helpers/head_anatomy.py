"""Checks of the shape of a head model, whatever it was made from."""

import numpy as np

from trans3dhead_ros.landmarks import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, SELLION
from trans3dhead_ros.network.head_module import HeadModule

CHIN, NOSE_TIP = 8, 30


def check_anatomy(model: HeadModule) -> None:
    """Assert that the mean head is a whole head in metres, in the head frame."""
    mean = model.mean[model.landmark_indices].numpy()
    assert np.abs(mean[SELLION]).max() < 1e-6
    # The outer corners of the eyes; y is to the left.
    assert 0.07 < mean[LEFT_EYE_OUTER, 1] - mean[RIGHT_EYE_OUTER, 1] < 0.11
    assert mean[NOSE_TIP, 0] > 0.01  # the nose is in front of the sellion
    assert -0.15 < mean[CHIN, 2] < -0.09
    extent = model.mean.amax(0) - model.mean.amin(0)
    assert extent[0] > 0.18  # a whole head, not a mask
    assert model.mean[:, 2].max() > 0.08  # with a crown


def signed_volume(vertices: np.ndarray, triangles: np.ndarray) -> float:
    """Return the volume of a closed mesh, positive where triangles face outwards."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)
