"""Random light, colour, sharpness, noise and compression of whole views."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from trans3dhead_ros.types import Float32Array, Image

_NOISE_SIDE = 512


@dataclass(frozen=True)
class LightConfig:
    """How often, and how strongly, views change."""

    dark_share: float = 0.15
    """Share of the views that is darkened to dark_gain of the light, with the noise of a sensor."""
    dark_gain: tuple[float, float] = (0.04, 0.5)
    """Range of the light in dark views, log-uniform."""
    gamma_sigma: float = 0.25
    """Standard deviation of the logarithm of the exponent on the intensities."""
    gain_sigma: float = 0.22
    """Standard deviation of the logarithm of the factor on the intensities."""
    grey_share: float = 0.12
    """Share of the views without colour."""
    side_light_share: float = 0.1
    """Share of the views that are brighter on one side."""
    blur_share: float = 0.15
    """Share of the views that are out of focus or moved."""
    noise_share: float = 0.2
    """Share of the views with noise."""
    jpeg_share: float = 0.2
    """Share of the views that are compressed."""


def change_light(view: Image, generator: np.random.Generator, config: LightConfig) -> Image:
    """
    Return a view in other light.

    :param view: (H, W, 3) uint8; unchanged.
    :param generator: decides the changes.
    :param config: how often and how strongly.
    :return: (H, W, 3) uint8.
    """
    chance = generator.random(6)
    if chance[0] < config.blur_share:
        view = _blurred(view, generator)
    if chance[1] < config.grey_share:
        view = cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if chance[2] < config.side_light_share:
        view = _lit_from_a_side(view, generator)
    is_dark = chance[3] < config.dark_share
    gain = np.exp(generator.normal(0, config.gain_sigma))
    if is_dark:
        gain = np.exp(generator.uniform(*np.log(config.dark_gain)))
    tint = np.exp(generator.normal(0, 0.06, 3))
    gamma = np.exp(generator.normal(0, config.gamma_sigma))
    bias = 0.0 if is_dark else generator.normal(0, 0.05)
    levels = np.arange(256)[:, None] / 255
    table = np.clip(255 * (levels ** gamma * gain * tint + bias), 0, 255)
    view = cv2.LUT(view, np.round(table).astype(np.uint8)[None])
    if chance[4] < config.noise_share or is_dark:
        view = _noisy(view, generator, generator.uniform(0.5, 4) if is_dark
                      else generator.uniform(2, 16))
    if chance[5] < config.jpeg_share:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(generator.integers(18, 80))]
        view = cv2.imdecode(cv2.imencode('.jpg', view, quality)[1], cv2.IMREAD_COLOR)
    return view


def _blurred(view: Image, generator: np.random.Generator) -> Image:
    if generator.random() < 0.6:
        return cv2.GaussianBlur(view, (0, 0), generator.uniform(0.4, 2.0))
    length, angle = int(generator.integers(3, 9)), generator.uniform(0, np.pi)
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    for t in np.linspace(-middle, middle, 2 * length):
        kernel[round(middle + t * np.sin(angle)), round(middle + t * np.cos(angle))] = 1
    return cv2.filter2D(view, -1, kernel / kernel.sum())


def _lit_from_a_side(view: Image, generator: np.random.Generator) -> Image:
    height, width = view.shape[:2]
    angle, strength = generator.uniform(0, 2 * np.pi), generator.uniform(0.2, 0.85)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * np.float32(np.cos(angle))
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    shade = (1 + np.float32(strength) * (x + y)).clip(0, None)
    return cv2.multiply(view, cv2.merge([shade, shade, shade]), dtype=cv2.CV_8U)


def _noisy(view: Image, generator: np.random.Generator, sigma: float) -> Image:
    height, width = view.shape[:2]
    top, left = (int(generator.integers(max(_NOISE_SIDE - side, 0) + 1))
                 for side in (height, width))
    noise = _normal_noise()[top:top + height, left:left + width]
    if noise.shape != view.shape:
        noise = np.resize(noise, view.shape)
    return cv2.add(view, noise * np.float32(sigma), dtype=cv2.CV_8U)


@cache
def _normal_noise() -> Float32Array:
    """Draw it once: noise for every pixel of every view would take longer than all the rest."""
    return np.random.default_rng(0).standard_normal((_NOISE_SIDE, _NOISE_SIDE, 3), np.float32)
