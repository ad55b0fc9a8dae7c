"""Random light on a head: panoramas, studio lamps, side light, back light, low light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from trans3dhead_ros.types import Array
from trans3dhead_training.synthesis.render.lighting import rotate_irradiance, spherical_harmonics
from trans3dhead_training.synthesis.render.renderer import Lighting
from trans3dhead_training.synthesis.scenes.hdr_environments import Environment

KINDS = ('environment', 'studio', 'side', 'back', 'low')
_ENVIRONMENT_SHARE = {'environment': 1.0, 'studio': 0.5, 'side': 0.22, 'back': 0.4, 'low': 0.6}

# Normals of the visible half of a sphere, each for the same area of the picture.
_X, _Y = np.meshgrid(np.linspace(-0.8, 0.8, 5), np.linspace(-0.8, 0.8, 5))
_FLAT = np.stack([_X, _Y], axis=-1).reshape(-1, 2)
_FLAT = _FLAT[(_FLAT ** 2).sum(1) < 0.9]
_SEEN_OF_BALL = np.column_stack([_FLAT, -np.sqrt(1 - (_FLAT ** 2).sum(1))])
_SEEN_OF_BALL_HARMONICS = spherical_harmonics(torch.from_numpy(_SEEN_OF_BALL.T)).T.numpy()


@dataclass(frozen=True)
class LightDistribution:
    """Distribution of the light."""

    shares: tuple[float, ...] = (0.44, 0.22, 0.13, 0.10, 0.11)
    """Probability of each of `KINDS`."""
    exposure: float = 1.05
    """Median brightness of white paper that faces the camera; 1 is white."""
    exposure_sigma: float = 0.22
    """Standard deviation of the exposure's logarithm."""
    low_exposure: tuple[float, float] = (0.16, 0.45)
    """Range of the exposure for the kind 'low', uniform."""


@dataclass(frozen=True, eq=False)
class SceneLight:
    """The light of one picture."""

    lighting: Lighting
    """For the renderer."""
    environment: Environment
    """The panorama."""
    panorama_to_camera: Array
    """(3, 3) rotation from the panorama to the camera."""
    gain: Array
    """(3,) factor from the panorama's linear RGB to the picture's."""
    kind: str
    """One of `KINDS`."""


def sample_light(
    generator: np.random.Generator, environments: Sequence[Environment],
    distribution: LightDistribution = LightDistribution(), camera_turn: Array | None = None,
) -> SceneLight:
    """
    Return the random light of one picture.

    :param generator: source of the choices.
    :param environments: the panoramas.
    :param distribution: distribution of the light.
    :param camera_turn: (3, 3) tilt of the camera, or None for a random one.
    :return: the light.
    """
    kind = str(generator.choice(KINDS, p=distribution.shares))
    environment = environments[generator.integers(len(environments))]
    azimuth = generator.uniform(0, 360)
    if camera_turn is None:
        camera_turn = Rotation.from_euler(
            'xz', [generator.normal(0, 8), generator.normal(0, 5)], degrees=True).as_matrix()
    turn = camera_turn @ Rotation.from_euler('y', azimuth, degrees=True).as_matrix()
    tint = np.exp(generator.normal(0, 0.08, 3))
    share = _ENVIRONMENT_SHARE[kind] * generator.uniform(0.6, 1.4)
    irradiance = share * tint * rotate_irradiance(
        environment.irradiance, torch.from_numpy(turn).float()).numpy()
    directions, colours = _lamps(kind, generator)
    if kind == 'environment' or generator.random() < 0.3:
        directions.insert(0, turn @ environment.sun.numpy())
        colours.insert(0, generator.uniform(0.5, 1.0) * environment.sun_colour.numpy() * tint)
    if kind == 'low':
        exposure = generator.uniform(*distribution.low_exposure)
    else:
        exposure = distribution.exposure * np.exp(generator.normal(0, distribution.exposure_sigma))
    if kind == 'back':  # exposed for the bright background
        exposure *= generator.uniform(0.35, 0.9)
    gain = exposure / _mean_brightness(irradiance, directions, colours)
    lighting = Lighting(
        irradiance=torch.from_numpy(gain * irradiance).float(),
        directions=torch.from_numpy(np.array(directions).reshape(-1, 3)).float(),
        colours=torch.from_numpy(gain * np.array(colours).reshape(-1, 3)).float(),
        shadows=len(directions) > 0)
    return SceneLight(lighting, environment, turn, gain * share * tint, kind)


def _lamps(kind: str, generator: np.random.Generator) -> tuple[list[Array], list[Array]]:
    """Return directions and colours of the lamps, the strongest first."""
    if kind == 'environment':
        return [], []
    warmth = generator.normal(0, 0.18)
    colour = np.array([np.exp(warmth), 1.0, np.exp(-warmth)])
    if kind == 'side':
        azimuth = generator.choice([-1, 1]) * generator.uniform(60, 105)
        elevation, strength = generator.uniform(-20, 40), generator.uniform(1.2, 2.5)
    elif kind == 'back':
        azimuth = generator.uniform(130, 230)
        elevation, strength = generator.uniform(5, 60), generator.uniform(1.5, 4.0)
    elif kind == 'low':
        azimuth = generator.uniform(0, 360)
        elevation, strength = generator.uniform(-30, 70), generator.uniform(0.0, 0.8)
    else:
        azimuth = generator.uniform(-70, 70)
        elevation, strength = generator.uniform(0, 65), generator.uniform(0.3, 1.3)
    directions, colours = [_lamp_direction(azimuth, elevation)], [strength * colour]
    if kind == 'studio' and generator.random() < 0.6:
        directions.append(_lamp_direction(generator.uniform(-110, 110), generator.uniform(-20, 50)))
        colours.append(generator.uniform(0.1, 0.6) * np.exp(generator.normal(0, 0.15, 3)))
    return directions, colours


def _lamp_direction(azimuth_deg: float, elevation_deg: float) -> Array:
    """Return the direction to a lamp: (0, 0) is at the camera, azimuth grows to the right."""
    azimuth, elevation = np.deg2rad([azimuth_deg, elevation_deg])
    return np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation),
                     -np.cos(azimuth) * np.cos(elevation)])


def _mean_brightness(
    irradiance: Array, directions: Sequence[Array], colours: Sequence[Array]
) -> float:
    """Return the mean light on the visible half of a sphere: the radiance of white paper."""
    light = np.clip(_SEEN_OF_BALL_HARMONICS @ irradiance.mean(1), 0, None)
    for direction, colour in zip(directions, colours, strict=True):
        light = light + np.clip(_SEEN_OF_BALL @ direction, 0, None) * colour.mean()
    return float(light.mean())
