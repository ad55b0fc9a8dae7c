"""Which points a camera sees, by the depth of a rendering."""

from __future__ import annotations

import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_training.synthesis.render.renderer import NEAR_M


def visible(
    points_camera: torch.Tensor, depth: torch.Tensor, K: torch.Tensor, tolerance_m: float = 0.005
) -> torch.Tensor:
    """
    (B, P) bool: inside the picture and not behind what the picture shows there.

    :param points_camera: (B, P, 3) m
    :param depth: (B, H, W) m at pixel centres, infinite in the background
    :param K: (3, 3) or (B, 3, 3) px
    :param tolerance_m: a point may lie that far behind the surface at the pixel's centre: a slanted
        surface falls away within half a pixel, and a landmark may lie under the skin
    :raises ValueError: shapes that do not fit
    """
    if points_camera.ndim != 3 or points_camera.shape[::2] != (len(depth), 3) or depth.ndim != 3:
        raise UserError(
            'points_camera must be (B, P, 3) and depth (B, H, W), got '
            f'{tuple(points_camera.shape)} and {tuple(depth.shape)}'
        )
    K = K.to(points_camera).expand(len(depth), 3, 3)[:, None]
    x, y, z = points_camera.unbind(2)
    safe = z.clamp(min=NEAR_M)
    column = (K[..., 0, 0] * x + K[..., 0, 1] * y) / safe + K[..., 0, 2]
    row = K[..., 1, 1] * y / safe + K[..., 1, 2]
    column, row = column.round(), row.round()
    height, width = depth.shape[1:]
    inside = (z >= NEAR_M) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
    return inside & (depth.flatten(1).gather(1, place) > z - tolerance_m)
