"""Mild image degradations of a camera; training augments the pictures further."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from trans3dhead_ros.types import Float32Array, Image


@dataclass(frozen=True)
class CameraEffects:
    """Probabilities and strengths of degradations, in the order in which they are applied."""

    coarse: float = 0.5
    """Probability that a small head has no more detail than a crop of a 720-row frame."""
    defocus: float = 0.3
    """Probability of defocus blur."""
    defocus_px: float = 1.3
    """Largest sigma of defocus blur, px of a 256 px picture."""
    motion: float = 0.08
    """Probability of motion blur."""
    motion_px: float = 6.0
    """Longest motion blur, px of a 256 px picture."""
    noise: float = 0.45
    """Probability of sensor noise."""
    noise_levels: float = 6.0
    """Largest standard deviation of the noise, in levels of 255."""
    jpeg: float = 0.3
    """Probability of JPEG compression."""
    jpeg_quality: tuple[int, int] = (45, 95)
    """Range of the JPEG quality."""


def apply_camera_effects(
    image: Image, generator: np.random.Generator, effects: CameraEffects = CameraEffects(),
    magnification: float = 1.0, darkness: float = 0.0,
) -> Image:
    """
    Return a picture with random degradations.

    :param image: (H, W, 3) uint8.
    :param generator: source of the choices.
    :param effects: probabilities and strengths.
    :param magnification: px of the picture per px of the frame that it is a crop of; the crop was
        enlarged where it is above 1.
    :param darkness: 0…1; noise grows with it, as with the gain of a sensor.
    :return: (H, W, 3) uint8, a new array or the same one.
    """
    chance = generator.random(5)
    unit = max(image.shape[:2]) / 256
    height, width = image.shape[:2]
    if chance[0] < effects.coarse and magnification > 1.1:
        factor = min(magnification * generator.uniform(0.6, 1.0), 4.0)
        if factor > 1.1:
            small = (max(round(width / factor), 8), max(round(height / factor), 8))
            image = cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA),
                               (width, height), interpolation=cv2.INTER_LINEAR)
    if chance[1] < effects.defocus:
        sigma = unit * generator.uniform(0.3, effects.defocus_px)
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    if chance[2] < effects.motion:
        image = cv2.filter2D(
            image,
            -1,
            motion_blur_kernel(
                unit * generator.uniform(2, effects.motion_px), generator.uniform(0, np.pi)
            ),
        )
    if chance[3] < max(effects.noise, darkness):
        sigma = generator.uniform(0.5, effects.noise_levels) * (1 + 1.5 * darkness)
        image = add_sensor_noise(image, generator, sigma)
    if chance[4] < effects.jpeg:
        quality = int(generator.integers(*effects.jpeg_quality))
        data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image


def motion_blur_kernel(length: float, angle: float) -> Float32Array:
    """Return the kernel of a linear motion of `length` px in the direction of `angle` rad."""
    half = max(int(np.ceil(length / 2)), 1)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.uint8)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    ends = np.round((half + np.stack([-reach, reach])) * 16).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 255, 1, cv2.LINE_AA, 4)
    return kernel.astype(np.float32) / kernel.sum()


def add_sensor_noise(image: Image, generator: np.random.Generator, sigma: float) -> Image:
    """
    Add sensor noise with standard deviation `sigma` at middle grey.

    It is stronger in bright parts, and partly coloured and smooth, as after a codec.

    :param image: (H, W, 3) uint8.
    :param generator: source of the noise.
    :param sigma: levels of 255.
    :return: (H, W, 3) uint8.
    """
    height, width = image.shape[:2]
    grain = generator.standard_normal((height, width, 1), dtype=np.float32)
    colour = generator.standard_normal((height // 2 + 1, width // 2 + 1, 3), dtype=np.float32)
    colour = cv2.resize(colour, (width, height), interpolation=cv2.INTER_LINEAR)
    photons = np.float32(sigma) * np.sqrt((image.astype(np.float32) + 32) / 160)
    return np.clip(image + photons * (0.8 * grain + 0.6 * colour) + 0.5, 0, 255).astype(np.uint8)
