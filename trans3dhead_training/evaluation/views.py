"""Changes of a picture whose effect on a right answer is known without labels."""

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.perception.detector import iou
from trans3dhead_training.core.background_crops import MAXIMUM_OVERLAP
from trans3dhead_training.data.sample import Sample

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

TURN_DEG = 25.0

BOX_JITTER = 0.05
"""Share of the box's size by which another box is shifted along x, along y, and scaled."""
BOX_DRAWS = 4

NOISE_SHIFT_PX, NOISE_LEVELS, NOISE_QUALITY = 0.5, 2.0, 90
"""What a still camera changes: up to this shift, noise of this deviation (of 255), JPEG."""
NOISE_DRAWS = 4


def outline(sample: Sample) -> Array:
    """
    Return points (P, 2) px whose tight box is the face's, in this view and in a turned one.

    These are the labelled points; where a set has only a box, the ellipse that fills it, because
    the corners of a turned box would make it larger.
    """
    if sample.points is not None:
        return sample.points
    angle = np.arange(64) * (np.pi / 32)
    centre, radius = (sample.box[:2] + sample.box[2:]) / 2, (sample.box[2:] - sample.box[:2]) / 2
    return centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def turn_picture(image: Image, points: Array, degrees: float) -> tuple[Image, Array]:
    """Turn a picture and its points about the face; cv2's sign, counter-clockwise on the screen."""
    box = landmark_box(points)
    centre = (box[:2] + box[2:]) / 2
    turn = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), degrees, 1.0)
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(image, turn, size), points @ turn[:, :2].T + turn[:, 2]


def mirror_picture(image: Image, points: Array) -> tuple[Image, Array]:
    """Mirror a picture left-right, and points whose order does not matter."""
    return (np.ascontiguousarray(image[:, ::-1]),
            np.array([image.shape[1] - 1, 0]) + points * [-1, 1])


def jittered_boxes(box: Array, generator: np.random.Generator) -> Array:
    """
    Return boxes (`BOX_DRAWS`, 4) around the same face, as a detector might have drawn them.

    Each is shifted by ± `BOX_JITTER` of its size along x and along y, and larger or smaller by as
    much; the signs are drawn, no two boxes have the same three.
    """
    chosen = generator.permutation(8)[:BOX_DRAWS]
    signs = 1 - 2 * (chosen[:, None] >> np.arange(3) & 1)
    centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    centres = centre + BOX_JITTER * signs[:, :2] * size
    half = size / 2 * (1 + BOX_JITTER * signs[:, 2:])
    return np.concatenate([centres - half, centres + half], axis=1)


def noisy_copies(image: Image, generator: np.random.Generator) -> list[tuple[Image, Array]]:
    """
    Return `NOISE_DRAWS` pictures that a still camera could have taken of a still scene.

    Each is shifted by a part of a pixel, (2,) px, which is returned with it, gets noise of its own
    and passes through JPEG.
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
    """Return small boxes (0…4, 4) in the picture's corners that overlap the face's by little."""
    height, width = image.shape[:2]
    side = 0.6 * float((box[2:] - box[:2]).max())
    corners = np.array([[x, y, x + side, y + side]
                        for y in (0, height - side) for x in (0, width - side)])
    return corners[iou(box[None], corners)[0] < MAXIMUM_OVERLAP]


def faceless_copies(image: Image, box: Array) -> list[Image]:
    """
    Return the picture with its face covered by its mean colour, and with it cut into 8 × 8
    blocks that change places.
    """
    height, width = image.shape[:2]
    x0, y0 = np.floor(np.clip(box[:2], 0, [width - 9, height - 9])).astype(int)
    x1, y1 = np.ceil(np.clip(box[2:], [x0 + 8, y0 + 8], [width, height])).astype(int)
    covered, scrambled = image.copy(), image.copy()
    covered[y0:y1, x0:x1] = image[y0:y1, x0:x1].mean(axis=(0, 1))
    step_y, step_x = (y1 - y0) // 8, (x1 - x0) // 8
    for place, origin in enumerate(np.random.default_rng(0).permutation(64)):
        (to_y, to_x), (from_y, from_x) = divmod(place, 8), divmod(int(origin), 8)
        scrambled[y0 + to_y * step_y:, x0 + to_x * step_x:][:step_y, :step_x] = (
            image[y0 + from_y * step_y:, x0 + from_x * step_x:][:step_y, :step_x])
    return [covered, scrambled]
