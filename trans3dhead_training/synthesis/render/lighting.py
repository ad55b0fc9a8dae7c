"""
Light of an environment: spherical harmonics of the diffuse part, and the panorama itself.

A panorama is equirectangular, linear RGB, row 0 at the zenith. In its own frame (x right, y down,
z forward, as a camera's) the middle of the picture is +z and its right quarter +x; a rotation takes
that frame to the camera's. Directional colours and irradiance are in the same unit: a white Lambert
surface under irradiance 1 (divided by pi) or facing a light of colour 1 has radiance 1.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F


# Band limits of a cosine lobe (Ramamoorthi and Hanrahan 2001), divided by pi.
_COSINE = (1.0, *(2 / 3,) * 3, *(1 / 4,) * 5)
HARMONIC_SCALE = (
    math.sqrt(1 / math.pi) / 2,
    *(math.sqrt(3 / math.pi) / 2,) * 3,
    *(math.sqrt(15 / math.pi) / 2,) * 2,
    math.sqrt(5 / math.pi) / 4,
    math.sqrt(15 / math.pi) / 2,
    math.sqrt(15 / math.pi) / 4,
)
_MEASURED_ROWS = 64
"""Irradiance is smooth: the panorama is averaged down to so many rows first."""


def spherical_harmonics(direction: torch.Tensor) -> torch.Tensor:
    """(9, ...) real spherical harmonics up to degree 2 of unit directions (3, ...)."""
    x, y, z = direction
    basis = torch.stack([
        torch.ones_like(x), y, z, x, x * y, y * z, z * z * 3 - 1, x * z, x * x - y * y
    ])
    scale = basis.new_tensor(HARMONIC_SCALE)
    return basis * scale.view(9, *[1] * (basis.ndim - 1))


def constant_irradiance(colour: tuple[float, float, float] | torch.Tensor) -> torch.Tensor:
    """(9, 3) of an environment that has one colour (linear RGB) all around."""
    result = torch.zeros(9, 3)
    result[0] = torch.as_tensor(colour, dtype=torch.float32) * (2 * math.sqrt(math.pi))
    return result


def environment_irradiance(
    panorama: torch.Tensor, rotation: torch.Tensor | None = None
) -> torch.Tensor:
    """
    (9, 3) spherical harmonics of irradiance / pi of an environment.

    :param panorama: (H, W, 3) float32 linear RGB
    :param rotation: (3, 3) panorama frame -> camera; the identity where it is None
    :raises ValueError: another shape
    """
    _check(panorama)
    small = _reduced(panorama, max(1, panorama.shape[0] // _MEASURED_ROWS))
    direction, solid_angle = _directions(small)
    if rotation is not None:
        direction = torch.einsum('ij,jhw->ihw', rotation.to(direction), direction)
    weighted = spherical_harmonics(direction) * solid_angle
    radiance = torch.einsum('khw,hwc->kc', weighted, small)
    return radiance * radiance.new_tensor(_COSINE)[:, None]


def rotate_irradiance(irradiance: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """
    The same light about a turned head or camera.

    :param irradiance: (9, 3)
    :param rotation: (3, 3) from the frame of the irradiance to the new one
    """
    # degree 2 is closed under rotation: 9 values at well-spread directions determine it
    i = np.arange(32) + 0.5
    polar, azimuth = np.arccos(1 - 2 * i / 32), np.pi * (1 + 5**0.5) * i
    points = np.stack(
        [np.cos(azimuth) * np.sin(polar), np.sin(azimuth) * np.sin(polar), np.cos(polar)]
    )
    spread = torch.from_numpy(points)
    before = spherical_harmonics(rotation.double().cpu().T @ spread)
    values = before.T @ irradiance.double().cpu()
    turned = torch.linalg.lstsq(spherical_harmonics(spread).T, values).solution
    return turned.to(irradiance)


def extract_sun(
    panorama: torch.Tensor, rotation: torch.Tensor | None = None, degrees: float = 12.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Take the sun, or the brightest window, out of an environment, so that it can cast a shadow.

    :param panorama: (H, W, 3) float32 linear RGB
    :param rotation: (3, 3) panorama frame -> camera
    :param degrees: radius about the brightest place
    :return: (3,) unit direction towards it in the camera frame; (3,) its colour (see above); the
        panorama without what it has above its surroundings, (h, w, 3), smaller than the given one
    :raises ValueError: another shape
    """
    _check(panorama)
    small = _reduced(panorama, max(1, panorama.shape[0] // _MEASURED_ROWS))
    direction, solid_angle = _directions(small)
    luminance = (small * small.new_tensor([0.2126, 0.7152, 0.0722])).sum(2)
    peak = int((luminance * (solid_angle > 0)).argmax())
    centre = direction.flatten(1)[:, peak]
    near = (direction * centre[:, None, None]).sum(0) > math.cos(math.radians(degrees))
    around = (direction * centre[:, None, None]).sum(0) > math.cos(math.radians(2 * degrees))
    level = small[around & ~near].median(0).values
    excess = (small - level).clamp(min=0) * near[..., None]
    energy = (excess * solid_angle[..., None]).sum((0, 1))
    weight = (excess.sum(2) * solid_angle).flatten()
    mean = (direction.flatten(1) * weight).sum(1)
    towards = mean / mean.norm() if float(mean.norm()) > 0 else centre
    if rotation is not None:
        towards = rotation.to(towards) @ towards
    return towards, energy / math.pi, small - excess


def _reduced(panorama: torch.Tensor, times: int) -> torch.Tensor:
    if times == 1:
        return panorama
    return F.avg_pool2d(panorama.permute(2, 0, 1)[None], times)[0].permute(1, 2, 0)


def _directions(panorama: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(3, H, W) towards each pixel; (H, W) its solid angle, 4 pi in all."""
    height, width = panorama.shape[:2]
    device = panorama.device
    edges = torch.arange(height + 1, device=device) * (math.pi / height)
    polar = (edges[:-1] + edges[1:])[:, None] / 2
    azimuth = ((torch.arange(width, device=device) + 0.5) / width - 0.5) * (2 * math.pi)
    direction = torch.stack([
        polar.sin() * azimuth.sin(), -polar.cos().expand(height, width),
        polar.sin() * azimuth.cos(),
    ])
    area = (edges[:-1].cos() - edges[1:].cos())[:, None] * (2 * math.pi / width)
    return direction, area.expand(height, width)


def _check(panorama: torch.Tensor) -> None:
    if panorama.ndim != 3 or panorama.shape[2] != 3 or not panorama.is_floating_point():
        raise ValueError(
            f'panorama must be (H, W, 3) float linear RGB, got {tuple(panorama.shape)} '
            f'{panorama.dtype}'
        )
