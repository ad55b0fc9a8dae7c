"""
A picture and what is known about the heads in it.

Positions are px of the picture, pixel centres at integers; what is unknown is nan. A box whose
picture is turned does not remain a box, so boxes are kept as points: a head as the ellipse inside
its box, a face as its landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property

import cv2
import numpy as np

from trans3dhead_ros.landmarks import COUNT
from trans3dhead_ros.types import Array, BoolArray, Image

OUTLINE_COUNT = 64
"""Points of the ellipse that stands for a head."""

MAX_SIDE = 608
"""Pictures are kept at this longer side, px, at most: they stay in memory."""


@dataclass(frozen=True, eq=False)
class HeadLabels:
    """N heads of one picture."""

    outline: Array
    """(N, 2, 64) px, x and y of the ellipse inside the box of the whole head."""
    landmarks: Array
    """(N, 2, 68) px, x and y of the landmarks of the face, or of the ellipse inside their box."""
    up: Array
    """(N, 2) direction of the head's vertical in the picture, of length 1."""
    up_weight: Array
    """(N,) trust in it, 0..1."""
    face: Array
    """(N,) 1 where the face is seen, 0 where it is not."""
    shown: Array
    """(N,) share of the head that the picture shows."""

    def __len__(self) -> int:
        return len(self.face)

    def __getitem__(self, chosen: BoolArray) -> HeadLabels:
        """Return the chosen heads."""
        return HeadLabels(**{entry.name: getattr(self, entry.name)[chosen]
                             for entry in fields(self)})

    @classmethod
    def of_boxes(
        cls, head_box: Array | None, landmark_box: Array | None = None, *,
        up_weight: float = 0.0, face: float = np.nan,
    ) -> HeadLabels:
        """
        Label upright heads of which only boxes are known.

        :param head_box: (N, 4) px, whole heads; None: unknown.
        :param landmark_box: (N, 4) px, around the 68 landmarks; None: unknown.
        :param up_weight: trust in that they are upright.
        :param face: 1 where their faces are seen, 0 where they are not, nan where that is unknown.
        :return: the labels.
        """
        count = len(landmark_box if head_box is None else head_box)
        return cls(
            outline=ellipse_points(head_box, count, OUTLINE_COUNT),
            landmarks=ellipse_points(landmark_box, count, COUNT),
            up=np.tile([0.0, -1.0], (count, 1)), up_weight=np.full(count, up_weight),
            face=np.full(count, face), shown=np.ones(count))

    @classmethod
    def none(cls) -> HeadLabels:
        """Return the labels of a picture without heads."""
        return cls.of_boxes(np.zeros((0, 4)))

    @classmethod
    def join(cls, parts: list[HeadLabels]) -> HeadLabels:
        """Return the heads of several labels, at least one."""
        return cls(**{entry.name: np.concatenate([getattr(part, entry.name) for part in parts])
                      for entry in fields(cls)})

    def moved(self, matrix: Array) -> HeadLabels:
        """Return the labels of a picture that was mapped by a similarity (2, 3)."""
        linear, offset = matrix[:, :2], matrix[:, 2]
        up = self.up @ linear.T
        return replace(self, outline=linear @ self.outline + offset[:, None],
                       landmarks=linear @ self.landmarks + offset[:, None],
                       up=up / np.maximum(np.linalg.norm(up, axis=1, keepdims=True), 1e-9))

    @property
    def head_box(self) -> Array:
        """(N, 4) px, x0 y0 x1 y1."""
        return bounds(self.outline)

    @property
    def landmark_box(self) -> Array:
        """(N, 4) px, x0 y0 x1 y1."""
        return bounds(self.landmarks)

    @property
    def extent_box(self) -> Array:
        """(N, 4) px, `head_box`, or a guess from `landmark_box` where it is unknown."""
        box = self.head_box
        unknown = np.isnan(box[:, 0])
        if not unknown.any():
            return box
        landmark, up = bounds(self.landmarks[unknown]), self.up[unknown]
        sides = landmark[:, 2:] - landmark[:, :2]
        longer = sides.max(axis=1, keepdims=True)
        # A head with its hair around the points from brows to chin.
        centre = 0.5 * (landmark[:, :2] + landmark[:, 2:]) + 0.22 * longer * up
        half = 0.65 * np.maximum(sides, 0.9 * longer)
        box[unknown] = np.concatenate([centre - half, centre + half], axis=1)
        return box


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture in memory and its labels."""

    image: Image
    """(H, W, 3) BGR."""
    heads: HeadLabels
    """The labelled heads."""
    complete: bool = True
    """Whether there are no other heads than the labelled ones."""
    missed: HeadLabels = field(default_factory=HeadLabels.none)
    """Heads that labellers missed, which neither losses nor metrics count."""

    @cached_property
    def extent_box(self) -> Array:
        """(N, 4) px, see `HeadLabels.extent_box`."""
        return self.heads.extent_box

    def shrunk(self) -> LabelledPicture:
        """Return the picture with a longer side of at most `MAX_SIDE`."""
        height, width = self.image.shape[:2]
        scale = MAX_SIDE / max(height, width)
        if scale >= 1:
            return self
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        matrix = np.array([[size[0] / width, 0, 0.0], [0, size[1] / height, 0.0]])
        matrix[:, 2] = 0.5 * matrix[:, :2].sum(axis=1) - 0.5
        return replace(self, image=cv2.resize(self.image, size, interpolation=cv2.INTER_AREA),
                       heads=self.heads.moved(matrix), missed=self.missed.moved(matrix))


def bounds(points: Array) -> Array:
    """Return the boxes (N, 4) around points (N, 2, P)."""
    return np.concatenate([points.min(axis=2), points.max(axis=2)], axis=1)


def ellipse_points(boxes: Array | None, count: int, points: int) -> Array:
    """
    Return points on the ellipses inside boxes.

    :param boxes: (N, 4) px; None: unknown.
    :param count: N.
    :param points: how many.
    :return: (N, 2, points) px; nan where the box is unknown.
    """
    if boxes is None:
        return np.full((count, 2, points), np.nan)
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    centre, half = 0.5 * (boxes[:, :2] + boxes[:, 2:]), 0.5 * (boxes[:, 2:] - boxes[:, :2])
    return centre[..., None] + circle * half[..., None]
