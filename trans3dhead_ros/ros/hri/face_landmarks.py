"""
A head in the numbers of REP-155: 70 landmarks and a region in 0…1 of the image, a small picture.

0 is the left or upper edge of the image and 1 the right or lower one, so a pixel centre x is
`(x + 0.5) / width`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.perception.gaze import LEFT_EYE, RIGHT_EYE, pupils
from trans3dhead_ros.perception.head import Head

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

FACE_WIDTH, FACE_HEIGHT = 128, 128
"""Size of `cropped`, px: the defaults of REP-155."""

# A landmark counts as found within this share of the face's size, as failure rates have it.
_FOUND_WITHIN = 0.05
# What the middle of an eye is off its pupil, of the eye's width, where eyes are not followed.
_PUPIL_DOUBT = 0.1


def normalised_landmarks(head: Head, gaze: Array, size: tuple[int, int]) -> Array:
    """
    Return (70, 3): x, y in 0…1 and a confidence, in the order of hri_msgs/FacialLandmarks.

    That is the order of the 68 with the right and the left pupil behind. The confidence is the
    probability that a coordinate is off by less than 5 % of the face's size √(w · h), from the
    scales of the landmarks. A point outside of the image is moved to its border, since the message
    knows no others, and has confidence 0.

    :param gaze: (3, 3) of `gaze_rotation`. :param size: (width, height) px of the image.
    """
    points = np.concatenate([head.landmarks[:, :2], pupils(head, gaze)])
    rims = [head.landmarks[eye, :2] for eye in (RIGHT_EYE, LEFT_EYE)]
    doubts = [head.landmark_scale[eye].mean() + _PUPIL_DOUBT * np.ptp(rim, axis=0).max()
              for eye, rim in zip((RIGHT_EYE, LEFT_EYE), rims, strict=True)]
    scale = np.concatenate([head.landmark_scale, doubts])
    face = np.sqrt(np.prod(head.box[2:] - head.box[:2]))
    confidence = 1.0 - np.exp(-_FOUND_WITHIN * face / np.maximum(scale, 1e-9))
    place = (points + 0.5) / size
    inside = np.clip(place, 0.0, 1.0)
    confidence[(inside != place).any(1)] = 0.0
    return np.column_stack([inside, confidence])


def normalised_region(head: Head, size: tuple[int, int]) -> Array:
    """
    Return (4,) xmin, ymin, xmax, ymax in 0…1: the part of the head's box that the image shows.

    :param size: (width, height) px of the image.
    """
    return np.clip((head.box.reshape(2, 2) + 0.5) / size, 0.0, 1.0).ravel()


def face_picture(image: Picture, head: Head) -> Picture:
    """
    Return the region of a face, scaled to fit and centred on black.

    :param image: (H, W, 3).
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
