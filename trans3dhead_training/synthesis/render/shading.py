"""Shading: diffuse light with a soft terminator, and GGX highlights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trans3dhead_training.synthesis.render.lighting import HARMONIC_SCALE

_BLEED = (1.0, 0.45, 0.3)
"""Scattering distance of red, green and blue under skin, relative to red."""
_SHOULDER = 0.8


@dataclass(frozen=True, eq=False)
class ShadingPoints:
    """N surface points; one column each; camera frame, linear RGB."""

    albedo: torch.Tensor
    """(3, N) linear RGB."""
    position: torch.Tensor
    """(3, N) m."""
    normal: torch.Tensor
    """(3, N) unit."""
    occlusion: torch.Tensor | None
    """(N,) fraction of the environment that is visible, or None for all of it."""
    specular: torch.Tensor
    """(N,) as in `Material`."""
    roughness: torch.Tensor
    """(N,) as in `Material`."""
    wrap: torch.Tensor
    """(N,) as in `Material`."""
    shadow: torch.Tensor | None
    """(N,) fraction 0..1 of the first light that arrives, or None for all of it."""


def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return dot products (N,) of (3, N) and (3, N) or (3, 1)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def normalize(vector: torch.Tensor) -> torch.Tensor:
    """Return (3, N) scaled to unit length; zero stays zero."""
    return vector / dot(vector, vector).sqrt().clamp(min=1e-20)


def shade(
    surface: ShadingPoints, irradiance: torch.Tensor, directions: torch.Tensor,
    colours: torch.Tensor,
) -> torch.Tensor:
    """
    Return the radiance, with a soft shoulder that keeps highlights from clipping.

    :param surface: the points.
    :param irradiance: (9, 3, N) or (9, 3, 1).
    :param directions: (L, 3, N) or (L, 3, 1) unit, towards the lights.
    :param colours: (L, 3, N) or (L, 3, 1).
    :return: (3, N) linear RGB.
    """
    normal, view = surface.normal, normalize(-surface.position)
    facing = dot(normal, view).clamp(min=0)
    mirrored = normal * (facing * 2) - view
    bleed = [surface.wrap * share for share in _BLEED]
    calm = [1 / ((1 + w) * (1 + w)) for w in bleed]

    # Rough surfaces have no Fresnel reflection at grazing angles.
    smooth = (1 - surface.roughness) * (1 - surface.roughness)
    fresnel = surface.specular + (_fresnel(surface.specular, facing) - surface.specular) * smooth
    diffuse, glossy = (
        _evaluate_harmonics(irradiance, normal),
        _evaluate_harmonics(irradiance, mirrored) * fresnel,
    )
    if surface.occlusion is not None:
        diffuse, glossy = diffuse * surface.occlusion, glossy * surface.occlusion

    width = surface.roughness * surface.roughness
    width = (width * width).clamp_(min=1e-4)
    for i, (towards, colour) in enumerate(zip(directions, colours, strict=True)):
        cosine, between = dot(normal, towards), dot(view, towards)
        light = colour if i or surface.shadow is None else colour * surface.shadow
        # Only the squares (l h)² and (n h)² of the half vector h are needed.
        across = ((1 + between) * 0.5).clamp_(min=0.05)
        peak = (cosine + facing).clamp_(min=0)
        peak = peak * peak / (across * 4) * (width - 1) + 1
        # GGX with the visibility term of Kelemen and Szirmay-Kalos 2001; pi cancels (`lighting`).
        strength = width * _fresnel(surface.specular, across.sqrt()) / (peak * peak * across * 4)
        glossy += light * (strength * cosine.clamp(min=0))
        for k, w in enumerate(bleed):
            diffuse[k] += light[k] * ((cosine + w) * calm[k]).clamp_(min=0)
    linear = surface.albedo * diffuse + glossy
    over = (linear - _SHOULDER).clamp_(min=0)
    # x / (1 + x) in units of the range above the shoulder.
    return linear.clamp_(max=_SHOULDER).add_(over * (1 - _SHOULDER) / (over + (1 - _SHOULDER)))


def _evaluate_harmonics(irradiance: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Return the irradiance (3, N) in a direction; constants are in the coefficients."""
    x, y, z = direction
    basis = (y, z, x, x * y, y * z, z * z * 3 - 1, x * z, x * x - y * y)
    scaled = irradiance * irradiance.new_tensor(HARMONIC_SCALE)[:, None, None]
    result = scaled[0].expand(3, len(x)).contiguous()
    for k, value in enumerate(basis):
        result += scaled[k + 1] * value
    return result.clamp_(min=0)


def _fresnel(at_normal: torch.Tensor, cosine: torch.Tensor) -> torch.Tensor:
    """Return the Fresnel reflectance (Schlick 1994)."""
    rest = 1 - cosine.clamp(max=1)
    square = rest * rest
    # A specular of 0 means no highlight at all.
    return at_normal + (at_normal * 20).clamp_(max=1) * (1 - at_normal) * (square * square * rest)
