"""Rotation and projection of heads in torch, through which training differentiates."""

from __future__ import annotations

import torch


def rotation_6d_to_matrix(six: torch.Tensor) -> torch.Tensor:
    """
    Return the rotation of a continuous 6D representation (Zhou et al., CVPR 2019).

    :param six: (..., 6), the first two columns of the matrix before Gram-Schmidt.
    :return: (..., 3, 3).
    """
    def normalized(vector: torch.Tensor) -> torch.Tensor:
        # Not `functional.normalize`, whose `expand` OpenCV's importer of ONNX does not take.
        return vector / vector.norm(dim=-1, keepdim=True).clamp_min(1e-12)

    first = normalized(six[..., :3])
    second = normalized(six[..., 3:] - (first * six[..., 3:]).sum(-1, keepdim=True) * first)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def weak_perspective(
    head: torch.Tensor, rotation: torch.Tensor, log_scale: torch.Tensor, translation: torch.Tensor,
) -> torch.Tensor:
    """
    Project head points: `exp(log_scale) * (rotation @ head)[:2] + translation`.

    :param head: (B, P, 3) m, head frame.
    :param rotation: (B, 3, 3) head -> camera.
    :param log_scale: (B,) natural logarithm of image units per metre, clamped to -2..6 so that an
        untrained network gives finite values.
    :param translation: (B, 2) image units.
    :return: (B, P, 2).
    """
    scale = log_scale.clamp(-2.0, 6.0).exp()[:, None, None]
    return scale * (head @ rotation[:, :2].mT) + translation[:, None]
