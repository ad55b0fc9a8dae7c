"""Heads of random numbers, for tests of what is made of them."""

import numpy as np

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.perception.head import Head, HeadMesh

VERTICES = 300
LANDMARKS = np.arange(68) * 4


def make_head(identity: int = 1, side: float = 100.0, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    vertices = rng.normal(size=(VERTICES, 3))
    return Head(
        box=np.array([10.0, 20.0, 10.0 + side, 20.0 + side]), score=0.75, track_id=identity,
        landmarks=rng.normal(size=(68, 3)) * 50, landmarks_contour=rng.normal(size=(68, 2)) * 50,
        landmark_scale=rng.uniform(0.5, 2.0, 68), metric=True,
        rotation=rotation_from_euler(np.array([20.0, -10.0, 5.0])),
        translation=np.array([0.1, -0.2, 0.9]), pose_covariance=np.diag(np.arange(1.0, 7.0)),
        euler_deg=(20.0, -10.0, 5.0), shape=rng.normal(size=50), expression=rng.uniform(size=53),
        landmarks_m=vertices[LANDMARKS],
        mesh=HeadMesh(vertices, rng.normal(size=(VERTICES, 2))))
