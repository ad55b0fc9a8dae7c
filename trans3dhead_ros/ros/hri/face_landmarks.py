"""
A head as REP-155 describes faces: 70 landmarks and a region in image coordinates 0…1, and a crop.

0 is the left or upper edge of the image and 1 the right or lower one, so the centre of pixel x is
at `(x + 0.5) / width`.
"""

from __future__ import annotations

import cv2
import numpy as np

from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.ros.hri.gaze import LEFT_EYE, RIGHT_EYE, pupils
from trans3dhead_ros.types import Array, Image

FACE_WIDTH, FACE_HEIGHT = 128, 128
"""Size of `cropped`, px: the defaults of REP-155."""

# Error up to which a landmark counts as found, as a share of the face size.
_FOUND_WITHIN = 0.05
# Distance of the pupil from the centre of the eye, as a share of its width, without eye tracking.
_PUPIL_UNCERTAINTY = 0.1


def normalised_landmarks(head: Head, gaze: Array, size: tuple[int, int]) -> Array:
    """
    Return the landmarks in the order of hri_msgs/FacialLandmarks: the 68, right pupil, left pupil.

    The confidence is the probability that a coordinate is off by less than 5 % of the face size
    √(w · h), from the scales of the landmarks. The message cannot represent a point outside the
    image: it is moved to the border and has confidence 0.

    :param head: the head.
    :param gaze: (3, 3) from `gaze_rotation`.
    :param size: (width, height) px of the image.
    :return: (70, 3) x and y in 0…1, confidence.
    """
    points = np.concatenate([head.landmarks[:, :2], pupils(head, gaze)])
    eyes = [head.landmarks[eye, :2] for eye in (RIGHT_EYE, LEFT_EYE)]
    pupil_scales = [
        head.landmark_scale[eye].mean() + _PUPIL_UNCERTAINTY * np.ptp(contour, axis=0).max()
        for eye, contour in zip((RIGHT_EYE, LEFT_EYE), eyes, strict=True)]
    scale = np.concatenate([head.landmark_scale, pupil_scales])
    face = np.sqrt(np.prod(head.box[2:] - head.box[:2]))
    confidence = 1.0 - np.exp(-_FOUND_WITHIN * face / np.maximum(scale, 1e-9))
    place = (points + 0.5) / size
    inside = np.clip(place, 0.0, 1.0)
    confidence[(inside != place).any(1)] = 0.0
    return np.column_stack([inside, confidence])


def normalised_region(head: Head, size: tuple[int, int]) -> Array:
    """
    Return the visible part of the head's box.

    :param head: the head.
    :param size: (width, height) px of the image.
    :return: (4,) xmin, ymin, xmax, ymax in 0…1.
    """
    return np.clip((head.box.reshape(2, 2) + 0.5) / size, 0.0, 1.0).ravel()


def cropped_face(image: Image, head: Head) -> Image:
    """
    Return the region of a face, scaled to fit and centred on black.

    :param image: (H, W, 3).
    :param head: the head.
    :return: (`FACE_HEIGHT`, `FACE_WIDTH`, 3).
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = np.rint(
        normalised_region(head, (width, height)) * [width, height, width, height]).astype(int)
    result = np.zeros((FACE_HEIGHT, FACE_WIDTH, 3), np.uint8)
    if x1 <= x0 or y1 <= y0:
        return result
    scale = min(FACE_WIDTH / (x1 - x0), FACE_HEIGHT / (y1 - y0))
    w, h = max(round(scale * (x1 - x0)), 1), max(round(scale * (y1 - y0)), 1)
    left, top = (FACE_WIDTH - w) // 2, (FACE_HEIGHT - h) // 2
    result[top:top + h, left:left + w] = cv2.resize(
        image[y0:y1, x0:x1], (w, h),
        interpolation=cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR)
    return result
