"""Where 2D sets have the jaw: on the visible contour, and displaced along it as labellers do."""

from __future__ import annotations

import torch

from trans3dhead_ros.landmarks import JAW_COUNT


def jaw_displacement(jaw_offsets: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """
    Return (B, 17, 3) m, head frame: from the visible contour's points to where labels lie.

    :param jaw_offsets: (2, 17, 3) m: of a facing head, and what is added for each unit of
        `sideways`. :param rotation: (B, 3, 3) head -> camera.
    """
    return jaw_offsets[0] + sideways(rotation)[:, None, None] * jaw_offsets[1]


def sideways(rotation: torch.Tensor) -> torch.Tensor:
    """
    Return (B,): the sine of how far faces look to the right of their upright image.

    It ends at 45 degrees: hardly any labelled photograph shows a face that is turned more.
    """
    up = torch.nn.functional.normalize(rotation[:, :2, 2], dim=-1)
    return (up[:, 0] * rotation[:, 1, 0] - up[:, 1] * rotation[:, 0, 0]).clamp(-0.7, 0.7)


def jaw_offset_step(
    missing: torch.Tensor, rotation: torch.Tensor, jaw: torch.Tensor, rounds: int = 10,
) -> torch.Tensor:
    """
    Return (2, 17, 3) m: the `jaw_offsets` along the jaw that explain most of what is missing.

    Along it only: across it, a displacement could not be told from another jaw. Least distances,
    not squares, so that wrong labels do not count.

    :param missing: (B, 17, 2) m, from contour to labels in the image's axes.
    :param rotation: (B, 3, 3) head -> camera. :param jaw: (17, 3) m, of the mean head.
    """
    before, after = jaw[[0, *range(JAW_COUNT - 1)]], jaw[[*range(1, JAW_COUNT), JAW_COUNT - 1]]
    along = torch.nn.functional.normalize(after - before, dim=-1)
    seen = torch.einsum('bij,kj->bki', rotation[:, :2], along)
    basis = torch.stack([seen, sideways(rotation)[:, None, None] * seen], dim=-1)  # (B, 17, 2, 2)
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
