"""The figures to compare between machines: ratios of times that were measured in turns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trans3dhead_ros.bench.peers import DENSE, FULL, HALF, peer_actions
from trans3dhead_ros.bench.stages import dense_action, network_action, pose_action
from trans3dhead_ros.bench.timing import Action
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_ros.types import Array, Image

NETWORK, ONE_HEAD, FIVE_HEADS = 'network', 'one head', 'five heads'
ONE_POSE, FIVE_POSES = 'metric pose, one head', 'metric pose, five heads'

_RATIOS = {
    'ratio_to_peer': ((ONE_HEAD,), (FULL, DENSE)),
    'network_to_mobilenet': ((NETWORK,), (FULL,)),
    'network_to_half_mobilenet': ((NETWORK,), (HALF,)),
    'five_heads_to_one': ((FIVE_HEADS,), (ONE_HEAD,)),
    'pose_to_mobilenet': ((ONE_POSE,), (FULL,)),
    'five_poses_to_mobilenet': ((FIVE_POSES,), (FULL,)),
}
"""Ratio → what is above the line and what below, each a sum."""


def compared_actions(
    pipeline: HeadPipeline, image: Image, box: Array, camera: Camera, threads: int,
) -> dict[str, Action]:
    """
    Return what the ratios are made of.

    One head is everything from the image to its pose, 68 points and vertices; five heads are that
    in one batch.

    :param pipeline: whose stages they are.
    :param image: (H, W, 3) BGR.
    :param box: (4,) x0 y0 x1 y1 px of a head.
    :param camera: for the metric pose.
    :param threads: of the CPU, for the peers.
    :return: actions by name.
    """
    one, five = box[None], spread_boxes(box, 5)
    return {
        ONE_HEAD: dense_action(pipeline, image, one, camera),
        NETWORK: network_action(pipeline.aligner, 1),
        **peer_actions(pipeline.aligner.engine, threads),
        ONE_POSE: pose_action(pipeline, image, one, camera),
        FIVE_POSES: pose_action(pipeline, image, five, camera),
        FIVE_HEADS: dense_action(pipeline, image, five, camera),
    }


def spread_boxes(box: Array, count: int) -> Array:
    """Return boxes (count, 4) that lie around one (4,), each of them elsewhere."""
    generator = np.random.default_rng(0)
    shifts = 0.05 * (box[2:] - box[:2]) * generator.uniform(-1.0, 1.0, (count, 2))
    return box + np.tile(shifts, 2)


def ratios(times: Mapping[str, Array]) -> dict[str, float | None]:
    """
    Return ratios of medians.

    :param times: (N,) of each action, in one unit.
    :return: ratios by name; None where a time is missing.
    """
    medians = {name: float(np.median(values)) for name, values in times.items()}
    result: dict[str, float | None] = {}
    for name, (above, below) in _RATIOS.items():
        known = all(part in medians for part in (*above, *below))
        result[name] = round(sum(medians[part] for part in above)
                             / sum(medians[part] for part in below), 3) if known else None
    return result
