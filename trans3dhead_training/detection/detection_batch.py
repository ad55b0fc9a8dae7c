"""A batch of views and the heads in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch

from trans3dhead_ros.types import Array, Image
from trans3dhead_training.detection.view_sampling import ViewLabels


@dataclass(frozen=True)
class DetectionBatch:
    """
    B views and the N heads of all of them; boxes are px of a view, pixel centres at integers.

    What is not known is 0, and its weight is 0.
    """

    images: torch.Tensor
    """(B, H, W, 3) uint8 RGB."""
    complete: torch.Tensor
    """(B,) 1 where all heads of the view are known."""
    view: torch.Tensor
    """(N,) number of the view that a head is in."""
    extent_box: torch.Tensor
    """(N, 4) the whole head, or a guess where its box is unknown."""
    head_box: torch.Tensor
    """(N, 4) the whole head."""
    head_known: torch.Tensor
    """(N,) 1 or 0."""
    landmark_box: torch.Tensor
    """(N, 4) the 68 landmarks."""
    landmarks_known: torch.Tensor
    """(N,) 1 or 0."""
    up: torch.Tensor
    """(N, 2) cosine and sine of the roll."""
    up_weight: torch.Tensor
    """(N,) trust in the roll, 0..1."""
    face: torch.Tensor
    """(N,) 1 where the face is seen, 0 where it is not."""
    face_known: torch.Tensor
    """(N,) 1 or 0."""
    ignored_view: torch.Tensor
    """(M,) number of the view that an ignored box is in."""
    ignored_box: torch.Tensor
    """(M, 4) boxes in which the score has no loss."""

    def to(self, device: torch.device) -> DetectionBatch:
        """Return the batch on a device."""
        return DetectionBatch(*(getattr(self, field.name).to(device) for field in fields(self)))

    def pixels(self) -> torch.Tensor:
        """Return (B, 3, H, W) RGB in 0..1, in the memory format that convolutions prefer."""
        return self.images.permute(0, 3, 1, 2).float() / 255

    @classmethod
    def stack(
        cls, images: Sequence[Image], labels: Sequence[ViewLabels], complete: Sequence[bool],
    ) -> DetectionBatch:
        """
        Join views.

        :param images: (H, W, 3) BGR, all of one size.
        :param labels: of each view.
        :param complete: whether all heads of the view are known.
        :return: the batch.
        """
        heads = [label.heads for label in labels]

        def joined(parts: Sequence[Array]) -> torch.Tensor:
            return torch.from_numpy(np.nan_to_num(np.concatenate(parts))).float()

        def known(parts: Sequence[Array]) -> torch.Tensor:
            finite = np.isfinite(np.concatenate(parts))
            return torch.from_numpy(finite if finite.ndim == 1 else finite.all(axis=1)).float()

        head_box, landmark_box = ([getattr(head, name) for head in heads]
                                  for name in ('head_box', 'landmark_box'))
        return cls(
            images=torch.from_numpy(np.stack([cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
                                              for image in images])),
            complete=torch.tensor(complete, dtype=torch.float32),
            view=_numbers(heads),
            extent_box=joined([head.extent_box for head in heads]),
            head_box=joined(head_box), head_known=known(head_box),
            landmark_box=joined(landmark_box), landmarks_known=known(landmark_box),
            # Up is (0, -1) at a roll of 0, and turns clockwise as it grows.
            up=joined([np.stack([-head.up[:, 1], head.up[:, 0]], axis=1) for head in heads]),
            up_weight=joined([head.up_weight for head in heads]),
            face=joined([head.face for head in heads]),
            face_known=known([head.face for head in heads]),
            ignored_view=_numbers([label.ignored for label in labels]),
            ignored_box=joined([label.ignored for label in labels]))


def _numbers(parts: Sequence) -> torch.Tensor:
    return torch.from_numpy(np.repeat(np.arange(len(parts)), [len(part) for part in parts]))
