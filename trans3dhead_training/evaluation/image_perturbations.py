"""Alterations of an image and of boxes whose effect on a correct prediction is known."""

from __future__ import annotations

import cv2
import numpy as np

from trans3dhead_ros.boxes import iou
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.core.background_crops import MAXIMUM_OVERLAP
from trans3dhead_training.data.sample import Sample

TURN_DEG = 25.0

BOX_JITTER = 0.05
"""Relative change of a jittered box along x, along y, and in scale."""
BOX_DRAWS = 4

OFF_SHIFT = 0.25
"""Shift of the boxes that are off the face, relative to their size."""

NOISE_SHIFT_PX, NOISE_LEVELS, NOISE_QUALITY = 0.5, 2.0, 90
"""How images of a still camera differ: largest shift, standard deviation of 255, JPEG quality."""
NOISE_DRAWS = 4


def face_outline(sample: Sample) -> Array:
    """
    Return points (P, 2) px whose tight box is the face's, also after the image is rotated.

    These are the points that are labelled. Where a dataset has only a box, it is the ellipse that
    fills the box, because the corners of a rotated box would enlarge it.

    :param sample: with points or a box.
    :return: (P, 2) px.
    """
    if sample.points is not None:
        points = sample.labelled_points
        known = np.isfinite(points).all(axis=-1)
        return points if known.all() else points[known]
    angle = np.arange(64) * (np.pi / 32)
    centre, radius = (sample.box[:2] + sample.box[2:]) / 2, (sample.box[2:] - sample.box[:2]) / 2
    return centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def rotate_image(image: Image, points: Array, degrees: float) -> tuple[Image, Array]:
    """
    Rotate an image and its points about the face.

    :param image: (H, W, 3).
    :param points: (P, 2) px.
    :param degrees: counter-clockwise on the screen, as in OpenCV.
    :return: image (H, W, 3) and points (P, 2).
    """
    box = landmark_box(points)
    centre = (box[:2] + box[2:]) / 2
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), degrees, 1.0)
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(image, matrix, size), points @ matrix[:, :2].T + matrix[:, 2]


def mirror_image(image: Image, points: Array) -> tuple[Image, Array]:
    """Mirror an image left-right, with points (P, 2) that keep their order."""
    return (np.ascontiguousarray(image[:, ::-1]),
            np.array([image.shape[1] - 1, 0]) + points * [-1, 1])


def jittered_boxes(box: Array, generator: np.random.Generator) -> Array:
    """
    Return boxes around the same face that differ as those of a detector do.

    Each is shifted by ± `BOX_JITTER` of its size along x and along y, and scaled by as much; the
    signs are random, and no two boxes have the same three.

    :param box: (4,) px.
    :param generator: source of the signs.
    :return: (`BOX_DRAWS`, 4) px.
    """
    chosen = generator.permutation(8)[:BOX_DRAWS]
    signs = 1 - 2 * (chosen[:, None] >> np.arange(3) & 1)
    centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    centres = centre + BOX_JITTER * signs[:, :2] * size
    half = size / 2 * (1 + BOX_JITTER * signs[:, 2:])
    return np.concatenate([centres - half, centres + half], axis=1)


def off_boxes(box: Array) -> Array:
    """Return a box (4,) px that is shifted left, right, up and down by `OFF_SHIFT`, (4, 4)."""
    steps = OFF_SHIFT * np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])
    return box + np.tile(steps * (box[2:] - box[:2]), 2)


def noisy_copies(image: Image, generator: np.random.Generator) -> list[tuple[Image, Array]]:
    """
    Simulate images that a still camera takes of a still scene.

    Each is shifted by a fraction of a pixel, gets its own noise and is compressed as JPEG.

    :param image: (H, W, 3).
    :param generator: source of shifts and noise.
    :return: `NOISE_DRAWS` images and their shifts (2,) px.
    """
    copies = []
    size = (image.shape[1], image.shape[0])
    for _ in range(NOISE_DRAWS):
        shift = generator.uniform(-NOISE_SHIFT_PX, NOISE_SHIFT_PX, 2)
        moved = cv2.warpAffine(image, np.column_stack([np.eye(2), shift]), size,
                               borderMode=cv2.BORDER_REPLICATE)
        noise = generator.standard_normal(image.shape, np.float32) * NOISE_LEVELS
        noisy = np.clip(np.round(moved + noise), 0, 255).astype(np.uint8)
        encoded = cv2.imencode('.jpg', noisy, [cv2.IMWRITE_JPEG_QUALITY, NOISE_QUALITY])[1]
        copies.append((cv2.imdecode(encoded, cv2.IMREAD_COLOR), shift))
    return copies


def corner_boxes(image: Image, box: Array) -> Array:
    """
    Return small boxes in the image's corners that hardly overlap the face's.

    :param image: (H, W, 3).
    :param box: (4,) px of the face.
    :return: (0…4, 4) px.
    """
    height, width = image.shape[:2]
    side = 0.6 * float((box[2:] - box[:2]).max())
    corners = np.array([[x, y, x + side, y + side]
                        for y in (0, height - side) for x in (0, width - side)])
    return corners[iou(box[None], corners)[0] < MAXIMUM_OVERLAP]


def faceless_copies(image: Image, box: Array) -> list[Image]:
    """
    Return the image with its face covered by the mean colour, and with its 8 × 8 blocks shuffled.

    :param image: (H, W, 3).
    :param box: (4,) px of the face.
    :return: two images (H, W, 3).
    """
    height, width = image.shape[:2]
    x0, y0 = np.floor(np.clip(box[:2], 0, [width - 9, height - 9])).astype(int)
    x1, y1 = np.ceil(np.clip(box[2:], [x0 + 8, y0 + 8], [width, height])).astype(int)
    covered, scrambled = image.copy(), image.copy()
    covered[y0:y1, x0:x1] = image[y0:y1, x0:x1].mean(axis=(0, 1))
    step_y, step_x = (y1 - y0) // 8, (x1 - x0) // 8
    for target, source in enumerate(np.random.default_rng(0).permutation(64)):
        (to_y, to_x), (from_y, from_x) = divmod(target, 8), divmod(int(source), 8)
        scrambled[y0 + to_y * step_y:, x0 + to_x * step_x:][:step_y, :step_x] = (
            image[y0 + from_y * step_y:, x0 + from_x * step_x:][:step_y, :step_x])
    return [covered, scrambled]
