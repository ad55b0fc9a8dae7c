"""The HDR panoramas: light from all sides, and what is seen behind a head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

LIGHT_SIZE = (64, 32)
"""(width, height) px of the panorama that light is summed over: irradiance is smooth."""
_SUN_QUANTILE = 0.995


@dataclass(frozen=True, eq=False)
class Environment:
    """
    One panorama in linear RGB, scaled so that its mean luminance is 1.

    Its middle lies along +z, x goes right, y down: the optical frame of a level camera that looks
    at the middle. Light and background of a picture use the same rotation world → camera.

    :ivar name: of its file.
    :ivar panorama: (H, W, 3) float32, for looking at. :ivar small: (32, 64, 3) float32 without its
        brightest spot. :ivar sun: (3,) unit vector towards that spot. :ivar sun_colour: (3,) what
        the spot shines on a surface that faces it, as `small` does by its irradiance / pi.
    """

    name: str
    panorama: NDArray[np.float32]
    small: NDArray[np.float32]
    sun: Array
    sun_colour: Array

    @classmethod
    def read(cls, path: Path) -> Environment:
        """
        Read an equirectangular .hdr.

        :raises ValueError: it is missing or is no such picture.
        """
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
        if image is None or image.dtype != np.float32 or image.ndim != 3:
            raise ValueError(f'environment: {path} is missing or is no HDR panorama')
        panorama = np.ascontiguousarray(image[..., ::-1])
        small = cv2.resize(panorama, LIGHT_SIZE, interpolation=cv2.INTER_AREA)
        weight = solid_angles(small.shape[:2])[..., None]
        mean = float((small.mean(-1, keepdims=True) * weight).sum() / weight.sum())
        panorama, small = panorama / mean, small / mean
        directions = sphere(small.shape[:2])
        luminance = small.mean(-1)
        limit = np.quantile(luminance, _SUN_QUANTILE)
        beyond = np.clip(1 - limit / np.maximum(luminance, 1e-9), 0, 1)[..., None] * small
        towards = ((beyond.mean(-1, keepdims=True) * weight) * directions).sum((0, 1))
        colour = (beyond * weight).sum((0, 1)) / np.pi
        return cls(path.stem, panorama, (small - beyond).astype(np.float32),
                   towards / max(np.linalg.norm(towards), 1e-9), colour)

    def light(self, world_to_camera: Array) -> NDArray[np.float32]:
        """Return `small` as the camera stands in it: (32, 64, 3), its middle along the camera's +z.

        :param world_to_camera: (3, 3).
        """
        world = sphere(self.small.shape[:2]) @ world_to_camera
        return self._sample(self.small, world)

    def view(
        self, world_to_camera: Array, size: tuple[int, int], field_of_view_deg: float,
    ) -> NDArray[np.float32]:
        """
        Return what a camera sees, (H, W, 3) linear RGB.

        :param size: (width, height) px. :param field_of_view_deg: across the width.
        """
        width, height = size
        focal = 0.5 * width / np.tan(np.deg2rad(field_of_view_deg) / 2)
        x, y = np.meshgrid((np.arange(width) - (width - 1) / 2) / focal,
                           (np.arange(height) - (height - 1) / 2) / focal)
        rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ world_to_camera
        return self._sample(self.panorama, rays)

    @staticmethod
    def _sample(panorama: NDArray[np.float32], directions: Array) -> NDArray[np.float32]:
        height, width = panorama.shape[:2]
        x, y, z = np.moveaxis(directions, -1, 0)
        column = (np.arctan2(x, z) / (2 * np.pi) + 0.5) * width - 0.5
        row = (np.arctan2(y, np.hypot(x, z)) / np.pi + 0.5) * height - 0.5
        return cv2.remap(panorama, column.astype(np.float32), row.astype(np.float32),
                         cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def read_environments(folder: Path) -> tuple[Environment, ...]:
    """
    Read every .hdr of a folder, in the order of their names.

    :raises ValueError: the folder holds none, or one that cannot be read.
    """
    paths = sorted(Path(folder).glob('*.hdr'))
    if not paths:
        raise ValueError(f'environments: no .hdr in {folder}; set TRANS3DHEAD_DATA to the folder '
                         'of the data')
    return tuple(Environment.read(path) for path in paths)


def sphere(shape: tuple[int, int]) -> Array:
    """Return the directions (H, W, 3) of the pixels of a panorama."""
    height, width = shape
    azimuth = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    down = ((np.arange(height) + 0.5) / height - 0.5) * np.pi
    flat = np.cos(down)[:, None]
    return np.stack([flat * np.sin(azimuth), np.broadcast_to(np.sin(down)[:, None], shape),
                     flat * np.cos(azimuth)], axis=-1)


def solid_angles(shape: tuple[int, int]) -> Array:
    """Return the solid angles (H, W) of the pixels of a panorama; they sum to about 4 pi."""
    height, width = shape
    down = ((np.arange(height) + 0.5) / height - 0.5) * np.pi
    angle = np.cos(down) * (np.pi / height) * (2 * np.pi / width)
    return np.broadcast_to(angle[:, None], shape)


def developed(linear: NDArray[np.floating]) -> Image:
    """Return sRGB uint8 of linear RGB, highlights rolled off softly above 0.8."""
    bright = np.maximum(linear, 0.0)
    over = np.maximum(bright - 0.8, 0.0)
    bright = np.where(bright > 0.8, 0.8 + 0.2 * over / (over + 0.4), bright)
    encoded = np.where(bright <= 0.0031308, 12.92 * bright, 1.055 * bright ** (1 / 2.4) - 0.055)
    return np.clip(255 * encoded + 0.5, 0, 255).astype(np.uint8)
