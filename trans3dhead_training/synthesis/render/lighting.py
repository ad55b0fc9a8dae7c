"""
Image-based lighting: spherical harmonics of the irradiance, and the brightest light as a lamp.

A panorama is equirectangular, linear RGB, row 0 at the zenith. In its own frame (x right, y down, z
forward, as a camera's) the centre of the picture is +z and its right quarter +x; a rotation maps
that frame to the camera's. Colours of lamps and irradiance have the same unit: a white Lambertian
surface under irradiance 1 (divided by pi), or facing a lamp of colour 1, has radiance 1.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

# Coefficients of a clamped cosine lobe (Ramamoorthi and Hanrahan 2001), divided by pi.
_COSINE = (1.0, *(2 / 3,) * 3, *(1 / 4,) * 5)
HARMONIC_SCALE = (
    math.sqrt(1 / math.pi) / 2, *(math.sqrt(3 / math.pi) / 2,) * 3,
    *(math.sqrt(15 / math.pi) / 2,) * 2, math.sqrt(5 / math.pi) / 4, math.sqrt(15 / math.pi) / 2,
    math.sqrt(15 / math.pi) / 4)
_MEASURED_ROWS = 64
"""Panoramas are averaged down to that many rows, because irradiance is smooth."""


def spherical_harmonics(direction: torch.Tensor) -> torch.Tensor:
    """Return the real spherical harmonics (9, ...) up to degree 2 of unit directions (3, ...)."""
    x, y, z = direction
    basis = torch.stack([
        torch.ones_like(x), y, z, x, x * y, y * z, z * z * 3 - 1, x * z, x * x - y * y
    ])
    scale = basis.new_tensor(HARMONIC_SCALE)
    return basis * scale.view(9, *[1] * (basis.ndim - 1))


def constant_irradiance(colour: tuple[float, float, float] | torch.Tensor) -> torch.Tensor:
    """Return the irradiance (9, 3) of an environment of one colour, linear RGB."""
    result = torch.zeros(9, 3)
    result[0] = torch.as_tensor(colour, dtype=torch.float32) * (2 * math.sqrt(math.pi))
    return result


def environment_irradiance(
    panorama: torch.Tensor, rotation: torch.Tensor | None = None
) -> torch.Tensor:
    """
    Return the spherical harmonics of the irradiance / pi of an environment.

    :param panorama: (H, W, 3) float32 linear RGB.
    :param rotation: (3, 3) panorama frame -> camera, or None for the identity.
    :return: (9, 3).
    :raises ValueError: the panorama has another shape.
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
    Rotate an irradiance to another frame.

    :param irradiance: (9, 3).
    :param rotation: (3, 3) from the frame of the irradiance to the new one.
    :return: (9, 3).
    """
    # Degree 2 is closed under rotation, so values at well-spread directions determine it.
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
    Split the sun, or the brightest window, off an environment, so that it can cast shadows.

    :param panorama: (H, W, 3) float32 linear RGB.
    :param rotation: (3, 3) panorama frame -> camera, or None for the identity.
    :param degrees: radius about the brightest direction.
    :return: (3,) unit direction towards it in the camera frame; (3,) its colour; (h, w, 3) the
        remaining panorama at a lower resolution.
    :raises ValueError: the panorama has another shape.
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
    """Return the direction (3, H, W) and the solid angle (H, W) of each pixel."""
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
