"""One labelled head in one picture, the type that every set is read into."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT
from trans3dhead_ros.media.sources import decode_picture, read_picture
from trans3dhead_ros.perception.crop import landmark_box

Array = NDArray[np.float64]


class Placement(NamedTuple):
    """Where weak perspective puts the head: `u = exp(log_scale) (R V)[:2] + translation`."""

    #: (2,) px, the sellion of the head model's mean.
    translation: Array
    #: Log of px per metre.
    log_scale: float


@dataclass(frozen=True, eq=False)
class Sample:
    """
    What a set says about one head; what it does not say is None, and losses and measures use the
    rest.

    Coordinates are px of the picture with pixel centres at integers. Depths are px too, smaller
    nearer to the camera and 0 at the sellion. Frames and signs are those of `geometry`.

    :raises ValueError: a shape that is none of these, or neither points nor a box.
    """

    #: A picture file, or the bytes of one.
    picture: Path | bytes
    #: Which part of the set it comes from, for a row of its own in a report.
    source: str
    #: Samples of one photograph or person share it; a split never cuts through a group.
    group: str
    #: Held out for the headline figures; never train on it.
    is_validation: bool
    #: (68, 2) px, iBUG order.
    points: Array | None = None
    #: True where the jaw points are fixed on the head; False where they mark the visible contour.
    points_are_3d: bool = False
    #: Weight of the points, 0…1.
    trust: float = 1.0
    #: (68,) px, of the points' 3D definition.
    depth: Array | None = None
    #: (17, 2) px, the jaw on the visible contour, where `points` has it fixed on the head.
    contour: Array | None = None
    #: (68,) bool: nothing hides the point.
    visible: NDArray[np.bool_] | None = None
    #: (3, 3) head → camera optical frame, as it appears in a crop around the head (weak
    #: perspective): the ray through the head is divided out.
    rotation: Array | None = None
    placement: Placement | None = None
    #: (I,) and (E,) coefficients of our head model.
    shape: Array | None = None
    expression: Array | None = None
    #: (V, 3) x, y and depth px of a dense mesh, in the topology that the set's reader names.
    vertices: Array | None = None
    #: (4,) x0 y0 x1 y1 px, in place of the points' box where there are no points.
    given_box: Array | None = None

    def __post_init__(self) -> None:
        shapes = {'points': (COUNT, 2), 'depth': (COUNT,), 'contour': (JAW_COUNT, 2),
                  'visible': (COUNT,), 'rotation': (3, 3), 'given_box': (4,)}
        for name, expected in shapes.items():
            value = getattr(self, name)
            if value is not None and np.shape(value) != expected:
                raise UserError(f'{name} of {self.name}: expected shape {expected}, got '
                                 f'{np.shape(value)}')
        if self.points is None and self.given_box is None:
            raise UserError(f'{self.name} has neither points nor a box')

    @property
    def name(self) -> str:
        """The picture's name for messages: the file's stem, or the group where there is no file."""
        return self.picture.stem if isinstance(self.picture, Path) else self.group

    @property
    def box(self) -> Array:
        """(4,) x0 y0 x1 y1 px: tight around the points, or the given one where there are none."""
        return self.given_box if self.points is None else landmark_box(self.points)

    def image(self) -> NDArray[np.uint8]:
        """
        Read the picture, (H, W, 3) BGR.

        :raises ValueError: it is missing, is no picture or is cut short.
        """
        if isinstance(self.picture, bytes):
            return decode_picture(self.picture, self.name)
        return read_picture(self.picture)
