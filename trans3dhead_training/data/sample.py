"""One labelled head in one picture: the type that every dataset is read into."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trans3dhead_ros.landmarks import COUNT, JAW_COUNT
from trans3dhead_ros.media.sources import decode_picture, read_picture
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.types import Array, BoolArray, Image

SPLITS = ('validation', 'train', 'all')


def in_split(split: str, is_validation: bool) -> bool:
    """Return whether a split (one of `SPLITS`) contains a sample that is held out, or is not."""
    return split == 'all' or is_validation == (split == 'validation')


class Placement(NamedTuple):
    """Weak-perspective placement of a head: `u = exp(log_scale) (R V)[:2] + translation`."""

    translation: Array
    """(2,) px, the sellion of the mean head."""
    log_scale: float
    """Natural logarithm of px per metre."""


@dataclass(frozen=True, eq=False)
class Sample:
    """
    The labels of one head; what the dataset does not state is None.

    Coordinates are px of the picture, with pixel centres at integers. Depths are px too, smaller
    nearer to the camera and 0 at the sellion. Frames and signs are those of `geometry`. A wrong
    shape, or neither points nor a box, raises `ValueError`.

    Example::

        Sample(picture=Path('a.jpg'), source='own', group='own/a', is_validation=False,
               points=points)
    """

    picture: Path | bytes
    """A picture file, or the bytes of one."""
    source: str
    """Which part of the dataset it comes from, which gets a row of its own in a report."""
    group: str
    """Samples of one photograph or person share it; a split never cuts through a group."""
    is_validation: bool
    """Whether it is held out; never train on it."""
    points: Array | None = None
    """(68, 2) px, iBUG order; nan where a point is unknown."""
    points_are_3d: bool = False
    """Whether the jaw points are fixed on the head; else they mark the visible contour."""
    trust: float = 1.0
    """Weight of the points, 0..1."""
    depth: Array | None = None
    """(68,) px, of the points of the 3D definition."""
    contour: Array | None = None
    """(17, 2) px, the jaw on the visible contour, where `points` has it fixed on the head."""
    visible: BoolArray | None = None
    """(68,) whether nothing hides the point; where labels mark the contour, whether a point is
    labelled, and not only known from the fit."""
    rotation: Array | None = None
    """(3, 3) head → camera optical frame, as it appears in a crop around the head (weak
    perspective): the ray through the head is divided out."""
    placement: Placement | None = None
    """Position and size of the head."""
    shape: Array | None = None
    """(I,) identity coefficients of our head model."""
    expression: Array | None = None
    """(E,) expression coefficients of our head model."""
    vertices: Array | None = None
    """(V, 3) x, y and depth px of a dense mesh, in the topology that the reader documents."""
    given_box: Array | None = None
    """(4,) x0 y0 x1 y1 px; replaces the box of the points where there are none."""

    def __post_init__(self) -> None:
        shapes = {'points': (COUNT, 2), 'depth': (COUNT,), 'contour': (JAW_COUNT, 2),
                  'visible': (COUNT,), 'rotation': (3, 3), 'given_box': (4,)}
        for name, expected in shapes.items():
            value = getattr(self, name)
            if value is not None and np.shape(value) != expected:
                raise ValueError(f'{name} of {self.name}: expected shape {expected}, got '
                                 f'{np.shape(value)}')
        if self.points is None and self.given_box is None:
            raise ValueError(f'{self.name} has neither points nor a box')

    @property
    def name(self) -> str:
        """Name of the picture in messages: the stem of the file, or the group."""
        return self.picture.stem if isinstance(self.picture, Path) else self.group

    @property
    def labelled_points(self) -> Array | None:
        """(68, 2) px, nan where a point follows no label, but at most a fit; None without any."""
        if self.points is None or self.points_are_3d or self.visible is None:
            return self.points
        return np.where(self.visible[:, None], self.points, np.nan)

    @property
    def box(self) -> Array:
        """Box (4,) x0 y0 x1 y1 px: tight around the labels, or the given one without points."""
        if self.points is None:
            return self.given_box
        points = self.labelled_points
        return landmark_box(points[np.isfinite(points).all(-1)])

    def image(self) -> Image:
        """
        Read the picture.

        :return: (H, W, 3) BGR.
        :raises UserError: it is missing, damaged or not a picture.
        """
        if isinstance(self.picture, bytes):
            return decode_picture(self.picture, self.name)
        return read_picture(self.picture)
