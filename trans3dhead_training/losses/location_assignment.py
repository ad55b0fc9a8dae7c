"""
Which locations of a detector are to find which head.

A simplified SimOTA (Ge et al., YOLOX, 2021): near the centre of a head, the locations that already
find it best are assigned to it; as many as the sum of their overlaps says.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from trans3dhead_ros.network.head_detector import Detection
from trans3dhead_training.detection.detection_batch import DetectionBatch
from trans3dhead_training.losses.box_losses import pairwise_iou

_RADIUS = 1.5
"""Strides from the centre of a head, within which a location may find it."""
_MAX_CANDIDATES = 8
_IOU_COST = 3.0
_LEVEL_COST = 0.5
_SIDE_PER_STRIDE = 2.8
"""Side of the heads that suit a level best, in its strides."""
_MAX_LEVELS_OFF = 1.6
"""Octaves between a head and a level that may find it."""
_FORBIDDEN = 1e6


@dataclass(frozen=True)
class Assignment:
    """P assigned locations; each belongs to one head, a head to one or more."""

    view: torch.Tensor
    """(P,) number of the view."""
    location: torch.Tensor
    """(P,) number of the location."""
    head: torch.Tensor
    """(P,) number of the head in the batch."""
    candidate: torch.Tensor
    """(B, L) whether a location might have been assigned to a head. One that was not is neither
    right nor wrong to find the head: which ones are chosen cannot be told from the image."""


@torch.no_grad()
def assign_locations(
    found: Detection, batch: DetectionBatch, cells: torch.Tensor, strides: torch.Tensor,
) -> Assignment:
    """
    Assign locations to heads.

    :param found: predictions of the network, which decide among the locations near a head.
    :param batch: the true heads.
    :param cells: (L, 2) px, centres of the locations.
    :param strides: (L,) px, of their levels.
    :return: the assignment; a head that shows less than its centre may have none.
    """
    device = cells.device
    none = torch.zeros(0, dtype=torch.long, device=device)
    candidate = torch.zeros_like(found.score, dtype=torch.bool)
    if len(batch.view) == 0:
        return Assignment(none, none, none, candidate)
    cost, overlap = _costs(found, batch, cells, strides)
    near, location = (cost < _FORBIDDEN).nonzero(as_tuple=True)
    candidate[batch.view[near], location] = True
    count = min(_MAX_CANDIDATES, cost.shape[1])
    wanted = overlap.topk(count, dim=1).values.sum(dim=1).round().clamp_min(1).long()
    cheapest, location = cost.topk(count, dim=1, largest=False)
    chosen = (torch.arange(count, device=device) < wanted[:, None]) & (cheapest < _FORBIDDEN)
    head = torch.arange(len(cost), device=device)[:, None].expand_as(location)[chosen]
    location, price = location[chosen], cheapest[chosen]
    view = batch.view[head]
    # A location that several heads want goes to the one that it finds best.
    place = view * cost.shape[1] + location
    lowest = torch.full((len(batch.images) * cost.shape[1],), _FORBIDDEN, device=device)
    lowest.scatter_reduce_(0, place, price, 'amin')
    kept = price == lowest[place]
    return Assignment(view[kept], location[kept], head[kept], candidate)


def _costs(
    found: Detection, batch: DetectionBatch, cells: torch.Tensor, strides: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cost and overlap (N, L), `_FORBIDDEN` and 0 where a location may not find a head."""
    box = batch.extent_box
    centre, sides = 0.5 * (box[:, :2] + box[:, 2:]), (box[:, 2:] - box[:, :2]).clamp_min(1.0)
    # No location lies inside a head that is smaller than a cell; the nearest ones will do.
    reach = torch.minimum(_RADIUS * strides[None, :, None], torch.maximum(
        0.5 * sides[:, None], 0.75 * strides[None, :, None]))
    near = ((cells[None] - centre[:, None]).abs() < reach).all(dim=-1)
    # The coarsest level finds all that is larger, the finest all that is smaller.
    side = sides.prod(dim=-1).sqrt().clamp(
        _SIDE_PER_STRIDE * strides.min(), _SIDE_PER_STRIDE * strides.max())
    level = (side[:, None] / (_SIDE_PER_STRIDE * strides[None])).log2().abs()
    head, location = (near & (level < _MAX_LEVELS_OFF)).nonzero(as_tuple=True)
    view, stride = batch.view[head], strides[location]
    # Whole heads are compared where they are known, else the boxes of landmarks.
    pair_overlap = torch.where(
        batch.head_known[head] > 0,
        pairwise_iou(found.head_box[view, location], batch.head_box[head]),
        pairwise_iou(found.landmark_box[view, location], batch.landmark_box[head]))
    distance = ((cells[location] - centre[head]) / stride[:, None]).square().sum(dim=-1)
    price = (functional.softplus(-found.score[view, location])
             - _IOU_COST * pair_overlap.clamp_min(1e-6).log().clamp_min(-3.0)
             + _LEVEL_COST * level[head, location].square() + 0.2 * distance)
    cost = torch.full_like(level, _FORBIDDEN)
    overlap = torch.zeros_like(level)
    cost[head, location], overlap[head, location] = price, pair_overlap
    return cost, overlap
