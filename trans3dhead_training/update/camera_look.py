"""
The look of heads before one camera, measured in its pictures and given to other pictures.

It is how large heads appear, how bright and in which colour, how noisy and how sharp, and how a
wide lens stretches them. Exact labels of synthetic heads hold for it too (domain adaptation; see
Tobin et al., IROS 2017, for the opposite way, which is to vary everything).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from trans3dhead_ros.geometry import rotation_to_ray
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.data.sample import Placement, Sample
from trans3dhead_training.preparation.picture_bytes import encode_jpeg
from trans3dhead_training.synthesis.scenes.camera_effects import add_sensor_noise

BLURS_PX = (0.0, 0.5, 0.7, 0.9, 1.2, 1.6, 2.1, 2.8)
"""Standard deviations of the blurs that are tried."""

# Second derivatives of second derivatives: blind to edges and slopes (Immerkaer, 1996).
_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_NOISE_KERNEL_NORM, _MEDIAN_OF_NORMAL = 6.0, 0.6745
_MAX_GAIN, _GRAIN = 3.0, 0.8
_FACE_PX = 64


@dataclass(frozen=True)
class CameraLook:
    """How a camera shows one head."""

    side_px: float
    """Longer side of the landmark box."""
    colour: Array
    """(3,) mean of the landmark box, BGR, 0…255."""
    noise: float
    """Standard deviation of the noise, levels of 255."""
    sharpness: float
    """Logarithm of the contrast of details relative to that of the face, without the noise."""


def measure_look(image: Image, box: Array) -> CameraLook:
    """
    Measure how a picture shows a head.

    :param image: (H, W, 3) BGR, as large as the camera showed it.
    :param box: (4,) landmark box, px.
    :return: the look.
    """
    face = _face(image, box)
    noise = _noise(image)
    grey = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY).astype(np.float32)
    bands = [cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (1.0, 2.0, 4.0, 8.0)]
    # White noise has 0.14 of its deviation between the first two.
    detail = max(float(np.var(bands[0] - bands[1])) - (0.14 * noise) ** 2, 1e-3)
    coarse = max(float(np.var(bands[2] - bands[3])), 1e-3)
    return CameraLook(float((box[2:] - box[:2]).max()), face.reshape(-1, 3).mean(0), noise,
                      0.5 * float(np.log(detail / coarse)))


def with_look(
    image: Image, box: Array, look: CameraLook, blur_px: float, generator: np.random.Generator,
) -> Image:
    """
    Give a picture the light, the blur and the noise of a look; not its size.

    :param image: (H, W, 3) BGR.
    :param box: (4,) landmark box, px.
    :param look: of a head of about the same size.
    :param blur_px: standard deviation of the blur.
    :param generator: of the noise.
    :return: (H, W, 3) BGR.
    """
    if blur_px > 0:
        image = cv2.GaussianBlur(image, (0, 0), blur_px)
    gain = np.minimum(look.colour / np.maximum(_face(image, box).reshape(-1, 3).mean(0), 1.0),
                      _MAX_GAIN)
    image = np.clip(np.round(image * gain), 0, 255).astype(np.uint8)
    missing = look.noise ** 2 - _noise(image) ** 2
    if missing <= 0:
        return image
    # As `add_sensor_noise` spreads it over the levels.
    at_grey = np.sqrt(missing) / (_GRAIN * np.sqrt((float(image.mean()) + 32) / 160))
    return add_sensor_noise(image, generator, float(at_grey))


def scaled(sample: Sample, factor: float) -> Sample:
    """
    Make the picture of a sample smaller.

    :param sample: with the points of the 3D definition, their depth and the placement.
    :param factor: 0…1, on its sides.
    :return: the sample; the same one where the picture keeps its size.
    """
    whole = sample.image()
    height, width = (max(round(side * factor), 1) for side in whole.shape[:2])
    if (height, width) == whole.shape[:2] or factor >= 1.0:
        return sample
    image = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    factor = width / whole.shape[1]

    def moved(points: Array) -> Array:
        # Pixel centres lie at integers, edges at halves, and scaling keeps the edges.
        return (points + 0.5) * factor - 0.5

    return replace(
        sample, picture=encode_jpeg(image), points=moved(sample.points),
        depth=None if sample.depth is None else sample.depth * factor,
        contour=moved(sample.contour), placement=Placement(
            moved(sample.placement.translation), sample.placement.log_scale + np.log(factor)))


def stretched(sample: Sample, ray: Array) -> Sample:
    """
    Show a head as a flat sensor does away from the optical axis, where a wide lens stretches it.

    At the angle a from the axis, a picture is larger by 1 / cos² a along the radius and by
    1 / cos a across it; here the area stays the same. The rotation is that towards the ray.

    :param sample: seen about along the optical axis, with the labels that `scaled` needs.
    :param ray: (2,) x / z and y / z of the ray through the head; nan where it is not known.
    :return: the sample; the same one without a ray.
    """
    if not np.isfinite(ray).all():
        return sample
    turn = rotation_to_ray(ray)
    # Derivative of the projection of turn @ (x, y, 1) at the ray.
    stretch = (turn[:2, :2] - np.outer(turn[:2, 2], turn[2, :2]) / turn[2, 2]) / turn[2, 2]
    stretch = stretch / np.sqrt(np.linalg.det(stretch))
    image, centre = sample.image(), (sample.box[:2] + sample.box[2:]) / 2
    matrix = np.column_stack([stretch, centre - stretch @ centre])
    image = cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)

    def moved(points: Array) -> Array:
        return (points - centre) @ stretch.T + centre

    return replace(
        sample, picture=encode_jpeg(image), points=moved(sample.points),
        contour=moved(sample.contour), placement=Placement(
            moved(sample.placement.translation), sample.placement.log_scale))


def _face(image: Image, box: Array) -> Image:
    height, width = image.shape[:2]
    x0, y0, x1, y1 = np.clip(np.round(box), 0, [width, height, width, height]).astype(int)
    return image[y0:max(y1, y0 + 1), x0:max(x1, x0 + 1)]


def _noise(image: Image) -> float:
    response = cv2.filter2D(image.astype(np.float32), -1, _NOISE_KERNEL)[1:-1, 1:-1]
    # What lies outside of the frame is black and has no noise.
    inside = image[1:-1, 1:-1].any(axis=-1)
    if not inside.any():
        return 0.0
    return float(np.median(np.abs(response[inside]))) / (_MEDIAN_OF_NORMAL * _NOISE_KERNEL_NORM)
