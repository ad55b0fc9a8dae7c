"""
What a camera does to a picture, mildly: training disturbs each draw again (`augment.photometric`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from trans3dhead_ros.types import Float32Array, Image


@dataclass(frozen=True)
class CameraEffects:
    """Chances and strengths of what happens to a picture, in the order in which it happens."""

    coarse: float = 0.5
    """That a small head shows no more than a frame of some hundred rows would hold of it."""
    defocus: float = 0.3
    """Chance and the largest sigma, px of a 256 px picture."""
    defocus_px: float = 1.3
    """Chance and the largest sigma, px of a 256 px picture."""
    motion: float = 0.08
    """Chance and the longest smear."""
    motion_px: float = 6.0
    """Chance and the longest smear."""
    noise: float = 0.45
    """Chance and the largest standard deviation of 255."""
    noise_levels: float = 6.0
    """Chance and the largest standard deviation of 255."""
    jpeg: float = 0.3
    """Chance and range of quality."""
    jpeg_quality: tuple[int, int] = (45, 95)
    """Chance and range of quality."""


def apply_camera_effects(
    image: Image, generator: np.random.Generator, effects: CameraEffects = CameraEffects(),
    magnification: float = 1.0, darkness: float = 0.0,
) -> Image:
    """
    Return the picture as a camera would have taken it.

    :param image: (H, W, 3) uint8.
    :param magnification: px of the picture per px of the frame that it is a crop of; above 1 the
        crop was enlarged.
    :param darkness: 0…1, how far the sensor's gain had to be turned up: noise grows with it.
    :return: the same shape and type, another array or the same one.
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
        image = add_sensor_noise(image, generator,
                             generator.uniform(0.5, effects.noise_levels) * (1 + 1.5 * darkness))
    if chance[4] < effects.jpeg:
        quality = int(generator.integers(*effects.jpeg_quality))
        data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image


def motion_blur_kernel(length: float, angle: float) -> Float32Array:
    """Return the kernel of a movement of `length` px in the direction of `angle` rad."""
    half = max(int(np.ceil(length / 2)), 1)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.uint8)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    ends = np.round((half + np.stack([-reach, reach])) * 16).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 255, 1, cv2.LINE_AA, 4)
    return kernel.astype(np.float32) / kernel.sum()


def add_sensor_noise(image: Image, generator: np.random.Generator, sigma: float) -> Image:
    """
    Add noise of `sigma` levels at middle grey: more in bright parts than in dark ones, partly
    in colour, partly smooth as a codec leaves it.
    """
    height, width = image.shape[:2]
    grain = generator.standard_normal((height, width, 1), dtype=np.float32)
    colour = generator.standard_normal((height // 2 + 1, width // 2 + 1, 3), dtype=np.float32)
    colour = cv2.resize(colour, (width, height), interpolation=cv2.INTER_LINEAR)
    photons = np.float32(sigma) * np.sqrt((image.astype(np.float32) + 32) / 160)
    return np.clip(image + photons * (0.8 * grain + 0.6 * colour) + 0.5, 0, 255).astype(np.uint8)
