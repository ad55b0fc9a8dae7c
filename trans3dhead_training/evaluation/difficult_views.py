"""Views in which a labelled face is hard to see, to check what a network says of its errors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.evaluation.image_perturbations import OFF_SHIFT, off_boxes
from trans3dhead_training.predictors import Alignment
from trans3dhead_training.synthesis.scenes.camera_effects import motion_blur_kernel

BLUR, DARK, CUT, COVERED = 'blur', 'dark', 'cut', 'covered'
OFF, FAR_OFF, UPSIDE_DOWN = 'off', 'far_off', 'upside_down'
VIEWS = {
    BLUR: 'motion blur of a tenth of the box', DARK: 'a tenth of the light',
    CUT: 'a quarter cut by a border', COVERED: 'lower half covered',
    OFF: f'box off by {100 * OFF_SHIFT:.0f} %', FAR_OFF: f'box off by {200 * OFF_SHIFT:.0f} %',
    UPSIDE_DOWN: 'upside down'}
"""Titles by name."""

_BLUR, _LIGHT, _NOISE_LEVELS, _CUT, _COVERED = 0.1, 0.1, 2.0, 0.25, 0.5


@dataclass(frozen=True, eq=False)
class DifficultView:
    """An image with a face, and where it came from."""

    image: Image
    """(H, W, 3) BGR."""
    box: Array
    """(4,) px, about the landmarks."""
    linear: Array
    """(2,) factor on x and y, 1 or -1, from the original image to this one."""
    offset: Array
    """(2,) px, added afterwards."""

    def to_original(self, alignment: Alignment) -> Alignment:
        """
        Return what was found here in px of the original image.

        :param alignment: found in this view.
        :return: its landmarks, their scales and the score; and, unless the view is upside down,
            the pose.
        """
        landmarks = (alignment.landmarks - self.offset) * self.linear
        moved = Alignment(landmarks, score=alignment.score,
                          landmark_scale=alignment.landmark_scale)
        return moved if (self.linear < 0).any() else replace(
            moved, rotation=alignment.rotation, pose_rotation=alignment.pose_rotation,
            pose_covariance=alignment.pose_covariance)


def difficult_views(
    image: Image, points: Array, generator: np.random.Generator,
) -> dict[str, DifficultView]:
    """
    Return a face in each of the views of `VIEWS`.

    :param image: (H, W, 3) BGR.
    :param points: (P, 2) px, whose tight box is the face's.
    :param generator: decides directions, sides, noise and colours.
    :return: the views by name.
    """
    box = landmark_box(points)
    size = np.sqrt(np.prod(box[2:] - box[:2]))
    height, width = image.shape[:2]
    blurred = cv2.filter2D(image, -1, motion_blur_kernel(
        _BLUR * size, generator.uniform(0, np.pi)), borderType=cv2.BORDER_REPLICATE)
    noise = generator.standard_normal(image.shape, np.float32) * _NOISE_LEVELS
    dark = np.clip(np.round(_LIGHT * image + noise), 0, 255).astype(np.uint8)
    off, far_off = off_boxes(box)[generator.integers(4, size=2)]
    same = np.ones(2), np.zeros(2)
    return {
        BLUR: DifficultView(blurred, box, *same), DARK: DifficultView(dark, box, *same),
        CUT: _cut(image, box, int(generator.integers(4))),
        COVERED: DifficultView(_covered(image, box, generator), box, *same),
        OFF: DifficultView(image, off, *same),
        FAR_OFF: DifficultView(image, 2 * far_off - box, *same),
        UPSIDE_DOWN: DifficultView(
            np.ascontiguousarray(image[::-1, ::-1]),
            np.array([width - 1, height - 1] * 2) - box[[2, 3, 0, 1]],
            -np.ones(2), np.array([width - 1.0, height - 1.0]))}


def _cut(image: Image, box: Array, side: int) -> DifficultView:
    """Return the image cropped so that its left, right, top or bottom border cuts the face."""
    at_end, axis = divmod(side, 2)
    part = _CUT * (box[2 + axis] - box[axis])
    length = image.shape[1 - axis]
    start, end = 0, length
    if at_end:
        end = int(np.clip(round(box[2 + axis] - part), 1, length))
    else:
        start = int(np.clip(round(box[axis] + part), 0, length - 1))
    kept = image[:, start:end] if axis == 0 else image[start:end]
    offset = np.zeros(2)
    offset[axis] = -start
    return DifficultView(np.ascontiguousarray(kept), box + np.tile(offset, 2), np.ones(2), offset)


def _covered(image: Image, box: Array, generator: np.random.Generator) -> Image:
    """Return the image with a patch of one colour over the lower half of the face, as a mask."""
    x0, _, x1, y1 = np.round(box).astype(int)
    top = round(box[3] - _COVERED * (box[3] - box[1]))
    covered = image.copy()
    covered[max(top, 0):max(y1 + 1, 0), max(x0, 0):max(x1 + 1, 0)] = generator.integers(0, 256, 3)
    return covered
