"""Where labellers of 2D datasets put the jaw points, relative to the visible contour."""

from __future__ import annotations

import torch

from trans3dhead_ros.landmarks import JAW_COUNT


def jaw_displacement(jaw_offsets: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """
    Return the displacement from the visible contour's points to the labels.

    :param jaw_offsets: (2, 17, 3) m: for a frontal head, and the change per unit of `yaw_sine`.
    :param rotation: (B, 3, 3) head -> camera.
    :return: (B, 17, 3) m, head frame.
    """
    return jaw_offsets[0] + yaw_sine(rotation)[:, None, None] * jaw_offsets[1]


def yaw_sine(rotation: torch.Tensor) -> torch.Tensor:
    """
    Return the sine (B,) of the yaw, limited to 45 degrees, beyond which few photographs lie.

    Positive where the face looks to the right of its upright image.
    """
    up = torch.nn.functional.normalize(rotation[:, :2, 2], dim=-1)
    return (up[:, 0] * rotation[:, 1, 0] - up[:, 1] * rotation[:, 0, 0]).clamp(-0.7, 0.7)


def fit_jaw_offsets(
    missing: torch.Tensor, rotation: torch.Tensor, jaw: torch.Tensor, rounds: int = 10,
) -> torch.Tensor:
    """
    Fit offsets along the jaw that explain the residuals of its labels.

    Offsets across the jaw would be indistinguishable from another jaw shape. The sum of distances
    is minimised, not of their squares, to be robust against wrong labels.

    :param missing: (B, 17, 2) m, from the contour to the labels in the image's axes.
    :param rotation: (B, 3, 3) head -> camera.
    :param jaw: (17, 3) m, of the mean head.
    :param rounds: iterations of reweighted least squares.
    :return: (2, 17, 3) m, `jaw_offsets` of `jaw_displacement`.
    """
    before, after = jaw[[0, *range(JAW_COUNT - 1)]], jaw[[*range(1, JAW_COUNT), JAW_COUNT - 1]]
    along = torch.nn.functional.normalize(after - before, dim=-1)
    seen = torch.einsum('bij,kj->bki', rotation[:, :2], along)
    basis = torch.stack([seen, yaw_sine(rotation)[:, None, None] * seen], dim=-1)  # (B, 17, 2, 2)
    found = missing.new_zeros(JAW_COUNT, 2)
    ridge = 0.01 * torch.eye(2, dtype=missing.dtype, device=missing.device)
    for _ in range(rounds):
        rest = missing - torch.einsum('bjik,jk->bji', basis, found)
        weight = 1.0 / (rest.norm(dim=-1) + 0.004)
        normal = (torch.einsum('bj,bjik,bjil->jkl', weight, basis, basis)
                  + ridge * weight.sum(0)[:, None, None])
        found = torch.linalg.solve(
            normal, torch.einsum('bj,bjik,bji->jk', weight, basis, missing))
    return found.mT[..., None] * along
