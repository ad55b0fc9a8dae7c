"""Regions of the head, by the position of a vertex relative to the landmarks."""

from __future__ import annotations

import torch

from trans3dhead_ros.landmarks import JAW_COUNT, SELLION
from trans3dhead_ros.network.head_module import HeadModule

REGIONS = ('face', 'ears', 'skull')

_CHIN, _BROWS, _MOUTH_CORNER = JAW_COUNT // 2, slice(JAW_COUNT, JAW_COUNT + 10), 48


def region_of(head_model: HeadModule) -> torch.Tensor:
    """
    Return the region of each vertex of the mean head.

    The face lies in front of the ends of the jaw line, from the chin to the hair line (a third of
    its height above the brows). Ears lie behind those ends and as far out, between mouth and
    sellion. The rest, neck included, is skull.

    :param head_model: whose mean is divided.
    :return: (V,) int64 index into `REGIONS`.
    """
    landmarks = head_model.mean[head_model.landmark_indices]
    ends = landmarks[[0, JAW_COUNT - 1]]
    back, out = ends[:, 0].max(), ends[:, 1].abs().max()
    chin, brows = landmarks[_CHIN, 2], landmarks[_BROWS, 2].max()
    height = brows - chin
    forward, side, up = head_model.mean.unbind(-1)
    face = (forward > back) & (up >= chin) & (up < brows + height / 3)
    ears = ((forward <= back) & (forward > back - height / 4) & (side.abs() > 0.85 * out)
            & (up > landmarks[_MOUTH_CORNER, 2]) & (up < landmarks[SELLION, 2] + 0.05 * height))
    region = torch.full_like(forward, REGIONS.index('skull'), dtype=torch.int64)
    region[ears], region[face] = REGIONS.index('ears'), REGIONS.index('face')
    return region
