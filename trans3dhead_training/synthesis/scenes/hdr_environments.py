"""HDR panoramas: image-based lighting, and views as backgrounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array, Float32Array
from trans3dhead_training.synthesis.render.lighting import environment_irradiance, extract_sun


@dataclass(frozen=True, eq=False)
class Environment:
    """A panorama in linear RGB, in the frame of `render.lighting`, scaled to mean radiance 1."""

    name: str
    """Name of its file."""
    panorama: torch.Tensor
    """(H, W, 3) float32, for views."""
    irradiance: torch.Tensor
    """(9, 3) of all but its brightest spot."""
    sun: torch.Tensor
    """(3,) unit vector towards the brightest spot."""
    sun_colour: torch.Tensor
    """(3,) colour of its light."""

    @classmethod
    def read(cls, path: Path) -> Environment:
        """
        Read an equirectangular .hdr file.

        :param path: the file.
        :return: the environment.
        :raises UserError: the file is missing or is not an HDR panorama.
        """
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
        if image is None or image.dtype != np.float32 or image.ndim != 3:
            raise UserError(f'environment: {path} is missing or not an HDR panorama')
        panorama = torch.from_numpy(np.ascontiguousarray(image[..., ::-1]))
        # The zeroth harmonic is the mean over the sphere.
        mean = environment_irradiance(panorama)[0].mean() / (2 * np.sqrt(np.pi))
        panorama = panorama / mean
        sun, colour, rest = extract_sun(panorama)
        return cls(path.stem, panorama, environment_irradiance(rest), sun, colour)

    def view(
        self, panorama_to_camera: Array, size: tuple[int, int],
        field_of_view_deg: float,
    ) -> Float32Array:
        """
        Return a perspective view of the panorama.

        :param panorama_to_camera: (3, 3).
        :param size: (width, height) px.
        :param field_of_view_deg: along the width.
        :return: (H, W, 3) linear RGB.
        """
        width, height = size
        focal = 0.5 * width / np.tan(np.deg2rad(field_of_view_deg) / 2)
        right, down = np.meshgrid((np.arange(width, dtype=np.float32) - (width - 1) / 2) / focal,
                                  (np.arange(height, dtype=np.float32) - (height - 1) / 2) / focal)
        rays = np.stack([right, down, np.ones_like(right)], axis=-1).astype(np.float32)
        x, y, z = np.moveaxis(rays @ panorama_to_camera.astype(np.float32), -1, 0)
        height, width = self.panorama.shape[:2]
        column = (np.arctan2(x, z) / (2 * np.pi) + 0.5) * width - 0.5
        row = (np.arctan2(y, np.hypot(x, z)) / np.pi + 0.5) * height - 0.5
        return cv2.remap(self.panorama.numpy(), column, row, cv2.INTER_LINEAR,
                         borderMode=cv2.BORDER_WRAP)


def read_environments(folder: Path) -> tuple[Environment, ...]:
    """
    Read every .hdr file of a folder, sorted by name.

    :param folder: the folder.
    :return: the environments.
    :raises UserError: the folder holds none, or one that cannot be read.
    """
    paths = sorted(Path(folder).glob('*.hdr'))
    if not paths:
        raise UserError(f'environments: no .hdr in {folder}; set TRANS3DHEAD_DATA to the folder '
                        'of the data')
    return tuple(Environment.read(path) for path in paths)
