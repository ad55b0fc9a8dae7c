"""
The training loss of a detector: one method `loss_*` for each term, and a weight for each.

A term is a sum over the locations whose truth is known, divided by the number of locations that
are assigned to a head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch.nn import functional

from trans3dhead_ros.network.detector_config import STRIDES
from trans3dhead_ros.network.head_detector import Detection, cell_centres
from trans3dhead_training.detection.detection_batch import DetectionBatch
from trans3dhead_training.losses.box_losses import giou_loss
from trans3dhead_training.losses.location_assignment import Assignment, assign_locations


@dataclass(frozen=True)
class DetectorLossWeights:
    """Weight of each term of the loss of a detector; 0 leaves a term out."""

    score: float = 1.0
    """Focal cross-entropy of the score."""
    head_box: float = 1.5
    """Generalised intersection over union of the boxes of whole heads."""
    landmark_box: float = 1.5
    """Generalised intersection over union of the landmark boxes."""
    roll: float = 0.25
    """Squared distance of the cosine and the sine of the roll."""
    face: float = 0.6
    """Binary cross-entropy of the visibility of the face."""


class DetectorCriterion:
    """
    The loss.

    :param weights: of the terms.
    :param focus: exponent of the focal loss (Lin et al., 2017): well-classified locations count
        less.
    :param positive_share: weight of locations with a head, and 1 minus that of those without.
    :param reduce_counts: mean over the processes of a shared training.
    """

    def __init__(
        self, weights: DetectorLossWeights, focus: float = 2.0, positive_share: float = 0.4,
        reduce_counts: Callable[[torch.Tensor], torch.Tensor] = lambda counts: counts,
    ) -> None:
        self.weights = weights
        self.focus = focus
        self.positive_share = positive_share
        self.reduce_counts = reduce_counts

    def __call__(
        self, found: Detection, batch: DetectionBatch,
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """
        Compare the predictions of a network with the truth.

        :param found: at all locations of the views.
        :param batch: the truth.
        :return: the loss, and its weighted terms by name.
        """
        cells, strides = locations(tuple(batch.images.shape[1:3]), found.score.device)
        assigned = assign_locations(found, batch, cells, strides)
        counts = torch.tensor([len(assigned.view)], dtype=torch.float32, device=cells.device)
        count = self.reduce_counts(counts)[0].clamp_min(1.0)
        loss, terms = found.score.new_zeros(()), {}
        for name, weight in asdict(self.weights).items():
            if weight > 0:
                term = weight * getattr(self, f'loss_{name}')(
                    found, batch, assigned, cells) / count
                loss = loss + term
                terms[name] = float(term.detach())
        return loss, terms

    def loss_score(self, found: Detection, batch: DetectionBatch, assigned: Assignment,
                   cells: torch.Tensor) -> torch.Tensor:
        """Locations with a head are to say so, those away from heads that there is none."""
        target = torch.zeros_like(found.score)
        target[assigned.view, assigned.location] = 1.0
        weight = torch.where(target > 0, self.positive_share, 1 - self.positive_share)
        punished = self._punished(batch, cells) & ~assigned.candidate
        weight = torch.where((target > 0) | punished, weight, 0.0)
        entropy = functional.binary_cross_entropy_with_logits(
            found.score, target, reduction='none')
        probability = found.score.sigmoid()
        missing = torch.where(target > 0, 1 - probability, probability)
        return (weight * missing ** self.focus * entropy).sum()

    @staticmethod
    def _punished(batch: DetectionBatch, cells: torch.Tensor) -> torch.Tensor:
        """Return (B, L) whether a head that is found there would be false for certain."""
        allowed = (batch.complete > 0)[:, None].repeat(1, len(cells))
        if len(batch.ignored_box):
            box = batch.ignored_box[:, None]
            inside = ((cells >= box[..., :2]) & (cells <= box[..., 2:])).all(dim=-1)
            hits = torch.zeros_like(allowed, dtype=torch.float32)
            hits.index_add_(0, batch.ignored_view, inside.float())
            allowed &= hits == 0
        return allowed

    def loss_head_box(self, found: Detection, batch: DetectionBatch, assigned: Assignment,
                      cells: torch.Tensor) -> torch.Tensor:
        """Compare boxes of whole heads, where they are known."""
        losses = giou_loss(found.head_box[assigned.view, assigned.location],
                           batch.head_box[assigned.head])
        return (batch.head_known[assigned.head] * losses).sum()

    def loss_landmark_box(self, found: Detection, batch: DetectionBatch, assigned: Assignment,
                          cells: torch.Tensor) -> torch.Tensor:
        """Compare boxes of landmarks, where they are known."""
        losses = giou_loss(found.landmark_box[assigned.view, assigned.location],
                           batch.landmark_box[assigned.head])
        return (batch.landmarks_known[assigned.head] * losses).sum()

    def loss_roll(self, found: Detection, batch: DetectionBatch, assigned: Assignment,
                  cells: torch.Tensor) -> torch.Tensor:
        """Compare the direction of the head's vertical, as far as it is trusted."""
        up = found.up[assigned.view, assigned.location]
        difference = (up - batch.up[assigned.head]).square().sum(dim=-1)
        return (batch.up_weight[assigned.head] * difference).sum()

    def loss_face(self, found: Detection, batch: DetectionBatch, assigned: Assignment,
                  cells: torch.Tensor) -> torch.Tensor:
        """Compare whether faces are seen, where that is known."""
        entropy = functional.binary_cross_entropy_with_logits(
            found.face[assigned.view, assigned.location], batch.face[assigned.head],
            reduction='none')
        return (batch.face_known[assigned.head] * entropy).sum()


def locations(size: tuple[int, int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Return where the locations of a detector are.

    :param size: (height, width) px of the images.
    :param device: of the result.
    :return: (L, 2) px, their centres, and (L,) px, the stride of their level.
    """
    cells = [cell_centres(torch.ones(1, 1, size[0] // stride, size[1] // stride, device=device),
                          stride)[0].flatten(1).T for stride in STRIDES]
    strides = [torch.full((len(level),), float(stride), device=device)
               for level, stride in zip(cells, STRIDES, strict=True)]
    return torch.cat(cells), torch.cat(strides)
