"""A batch of crops and their labels."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch


@dataclass(frozen=True)
class Batch:
    """
    B crops and their labels.

    Coordinates are in crop units: -1..1 spans the crop. Rows of `points` to `labelled` mean nothing
    where `is_head` is 0.
    """

    crops: torch.Tensor
    """(B, 3, S, S) RGB in 0..1."""
    is_head: torch.Tensor
    """(B,) 1 or 0."""
    points: torch.Tensor
    """(B, 68, 2) labels, the jaw on the visible contour; nan where a point is unknown."""
    point_weight: torch.Tensor
    """(B,) trust in the labels."""
    has_fit: torch.Tensor
    """(B,) 1 where the values below are known; they mean nothing where it is 0."""
    jaw: torch.Tensor
    """(B, 17, 2) the jaw of the 3D definition."""
    rotation: torch.Tensor
    """(B, 3, 3) head frame to camera optical frame, as the crop looks."""
    translation: torch.Tensor
    """(B, 2) where the sellion appears."""
    log_scale: torch.Tensor
    """(B,) natural logarithm of crop units per metre."""
    shape: torch.Tensor
    """(B, I) identity coefficients."""
    expression: torch.Tensor
    """(B, E) expression coefficients."""
    labelled: torch.Tensor
    """(B, 68) 1 where a point follows a label, 0 where it follows the fit or is unknown."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))
