"""Overlap of boxes in torch, and the loss that follows from it; boxes are x0 y0 x1 y1."""

from __future__ import annotations

import torch

_EPSILON = 1e-7


def pairwise_iou(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """
    Return the intersection over union of matching boxes.

    :param boxes: (..., 4) px.
    :param others: (..., 4) px, of a shape that broadcasts.
    :return: (...) 0..1.
    """
    overlap, union = _overlap_and_union(boxes, others)
    return overlap / union.clamp_min(_EPSILON)


def giou_loss(boxes: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """
    Return 1 - the generalised intersection over union (Rezatofighi et al., 2019).

    :param boxes: (..., 4) px.
    :param others: (..., 4) px.
    :return: (...) 0..2; it decreases as boxes approach each other that do not overlap, too.
    """
    overlap, union = _overlap_and_union(boxes, others)
    low = torch.minimum(boxes[..., :2], others[..., :2])
    high = torch.maximum(boxes[..., 2:], others[..., 2:])
    hull = (high - low).prod(dim=-1).clamp_min(_EPSILON)
    return 1 - overlap / union.clamp_min(_EPSILON) + (hull - union) / hull


def _overlap_and_union(boxes: torch.Tensor,
                       others: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    low = torch.maximum(boxes[..., :2], others[..., :2])
    high = torch.minimum(boxes[..., 2:], others[..., 2:])
    overlap = (high - low).clamp_min(0).prod(dim=-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(dim=-1) for box in (boxes, others)]
    return overlap, areas[0] + areas[1] - overlap
