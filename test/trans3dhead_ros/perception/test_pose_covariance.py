"""The covariance of a pose says by how much the bundled network errs on rendered heads."""

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from trans3dhead_ros import Camera, HeadPipeline
from trans3dhead_ros.media.clip_truth import bundled_clip, read_truth
from trans3dhead_ros.media.sources import open_source


def test_95_percent_ellipsoids_contain_most_errors():
    truth = read_truth(bundled_clip())
    camera = Camera(truth.intrinsics, size=truth.size)
    pipeline = HeadPipeline.load(device='cpu')
    aligner = pipeline.aligner
    head, = aligner.landmark_points(np.zeros((1, aligner.head_model.shape_count)),
                                    np.zeros((1, aligner.head_model.expression_count)))
    squared = []
    for frame in open_source(bundled_clip()):
        if frame.index % 10:
            continue
        for rotation, translation in zip(truth.rotation[frame.index],
                                         truth.translation[frame.index], strict=True):
            points = camera.project(head @ rotation.T + translation)
            box = np.concatenate([points.min(axis=0), points.max(axis=0)])
            found, = pipeline.align(frame.image, box[None], camera)
            turned = Rotation.from_matrix(found.rotation @ rotation.T).as_rotvec()
            error = np.concatenate([found.translation - translation, turned])
            covariance = found.pose_covariance
            squared.append([error @ np.linalg.solve(covariance, error),
                            turned @ np.linalg.solve(covariance[3:, 3:], turned)])
    inside = np.array(squared) <= chi2.ppf(0.95, [6, 3])
    assert len(squared) == 50 and (inside.mean(axis=0) >= 0.85).all(), inside.mean(axis=0)
    # Nor is it so wide that it says nothing.
    assert np.median(np.array(squared)[:, 1]) > 0.3
