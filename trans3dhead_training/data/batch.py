"""A batch of crops with all that is known of them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch


@dataclass(frozen=True)
class Batch:
    """
    B crops and their truth; rows of `points` ... `expression` are meaningless where not `is_head`.

    :ivar crops: (B, 3, S, S) RGB in 0..1. :ivar is_head: (B,) 1 or 0.
    :ivar points: (B, 68, 2) labels in crop units, jaw on the visible contour.
    :ivar point_weight: (B,) trust in the labels.
    :ivar has_fit: (B,) 1 where `jaw` and what follows is known; the rest is meaningless there.
    :ivar jaw: (B, 17, 2) the jaw of the 3D definition, crop units.
    :ivar rotation: (B, 3, 3), translation (B, 2), log_scale (B,), shape (B, I), expression (B, E):
        the head in crop units, as the network's answers.
    """

    crops: torch.Tensor
    is_head: torch.Tensor
    points: torch.Tensor
    point_weight: torch.Tensor
    has_fit: torch.Tensor
    jaw: torch.Tensor
    rotation: torch.Tensor
    translation: torch.Tensor
    log_scale: torch.Tensor
    shape: torch.Tensor
    expression: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))
