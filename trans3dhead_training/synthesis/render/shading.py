"""The light that a surface sends to the camera: diffuse with a soft terminator, and a highlight."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trans3dhead_training.synthesis.render.lighting import HARMONIC_SCALE

_BLEED = (1.0, 0.45, 0.3)
"""How far red, green and blue travel under skin, relative to red."""
_SHOULDER = 0.8


@dataclass(frozen=True, eq=False)
class ShadingPoints:
    """N samples of surface, one column each; camera frame, linear RGB."""

    albedo: torch.Tensor
    """(3, N)"""
    position: torch.Tensor
    """(3, N) m"""
    normal: torch.Tensor
    """(3, N) unit"""
    occlusion: torch.Tensor | None
    """(N,) share of the environment that is seen, or None: all of it"""
    specular: torch.Tensor
    """(N,)"""
    roughness: torch.Tensor
    """(N,)"""
    wrap: torch.Tensor
    """(N,)"""
    shadow: torch.Tensor | None
    """(N,) share 0..1 of the first light that arrives, or None: all of it"""


def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(N,) of (3, N) and (3, N) or (3, 1)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def normalize(vector: torch.Tensor) -> torch.Tensor:
    """(3, N) of length 1; zero stays zero."""
    return vector / dot(vector, vector).sqrt().clamp(min=1e-20)


def shade(
    surface: ShadingPoints,
    irradiance: torch.Tensor,
    directions: torch.Tensor,
    colours: torch.Tensor,
) -> torch.Tensor:
    """
    (3, N) linear RGB with a soft shoulder, so that highlights do not clip.

    :param irradiance: (9, 3, N) or (9, 3, 1)
    :param directions: (L, 3, N) or (L, 3, 1) unit, towards the lights
    :param colours: (L, 3, N) or (L, 3, 1)
    """
    normal, view = surface.normal, normalize(-surface.position)
    facing = dot(normal, view).clamp(min=0)
    mirrored = normal * (facing * 2) - view
    bleed = [surface.wrap * share for share in _BLEED]
    calm = [1 / ((1 + w) * (1 + w)) for w in bleed]

    # what is rough shows no mirror image at a grazing angle either
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
        # of the half vector h only squares are needed: (l h)^2 and (n h)^2
        across = ((1 + between) * 0.5).clamp_(min=0.05)
        peak = (cosine + facing).clamp_(min=0)
        peak = peak * peak / (across * 4) * (width - 1) + 1
        # GGX with the visibility term of Kelemen and Szirmay-Kalos 2001; pi cancels, see lighting
        strength = width * _fresnel(surface.specular, across.sqrt()) / (peak * peak * across * 4)
        glossy += light * (strength * cosine.clamp(min=0))
        for k, w in enumerate(bleed):
            diffuse[k] += light[k] * ((cosine + w) * calm[k]).clamp_(min=0)
    linear = surface.albedo * diffuse + glossy
    over = (linear - _SHOULDER).clamp_(min=0)
    # x / (1 + x) in units of what is left above the shoulder
    return linear.clamp_(max=_SHOULDER).add_(over * (1 - _SHOULDER) / (over + (1 - _SHOULDER)))


def _evaluate_harmonics(irradiance: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """(3, N): the harmonics of `lighting`, their constants taken into the few coefficients."""
    x, y, z = direction
    basis = (y, z, x, x * y, y * z, z * z * 3 - 1, x * z, x * x - y * y)
    scaled = irradiance * irradiance.new_tensor(HARMONIC_SCALE)[:, None, None]
    result = scaled[0].expand(3, len(x)).contiguous()
    for k, value in enumerate(basis):
        result += scaled[k + 1] * value
    return result.clamp_(min=0)


def _fresnel(at_normal: torch.Tensor, cosine: torch.Tensor) -> torch.Tensor:
    """Schlick 1994."""
    rest = 1 - cosine.clamp(max=1)
    square = rest * rest
    # a specular of 0 asks for no highlight at all
    return at_normal + (at_normal * 20).clamp_(max=1) * (1 - at_normal) * (square * square * rest)
