"""Sampling of target poses, so that photographs and turned pictures cover all yaws evenly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trans3dhead_ros.geometry import euler_from_rotation
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.synthesis.turned_photos.expression_editing import eyelid_gap, mouth_gap
from trans3dhead_training.synthesis.turned_photos.head_surface import HeadSurface
from trans3dhead_training.synthesis.turned_photos.photograph import (
    FaceFit,
    Photograph,
    PhotographConfig,
    prepare_photograph,
)
from trans3dhead_training.synthesis.turned_photos.target_pose import TargetPose, TurnedFace
from trans3dhead_training.synthesis.turned_photos.turned_renderer import SIZE, render_poses


@dataclass(frozen=True)
class PoseSamplerConfig:
    """Distribution of target poses."""

    max_yaw_deg: float = 90.0
    """Largest yaw of a turned picture, to either side."""
    max_pitch_deg: float = 45.0
    """Limit of the uniform pitch: nod and elevation of the camera together."""
    max_below_deg: float = 40.0
    """How far below the photograph's own camera the new one may be; photographs do not show the
    neck below the chin."""
    max_above_deg: float = 45.0
    """How far above the photograph's own camera the new one may be."""
    roll_sigma_deg: float = 3.0
    """Standard deviation of the added roll."""
    tilt_deg: float = 45.0
    """Limit of the uniform tilt in the image plane, of half of the pictures."""
    tilt_sigma_deg: float = 6.0
    """Standard deviation of the tilt of the other half."""
    max_source_yaw_deg: float = 50.0
    """Largest yaw of a photograph."""
    outside_shares: tuple[float, float, float] = (0.25, 0.25, 0.5)
    """Shares of photographs outside which pictures are black, of a random colour, or continue the
    photograph."""
    frontal_deg: float = 10.0
    """A head within this yaw shows both cheeks and may turn to either side."""
    turn_back_deg: float = 4.0
    """How far a head may turn back towards the camera."""
    blink_share: float = 0.25
    """Share of pictures with both eyes closing."""
    fully_closed: float = 0.7
    """Share of those whose eyes close completely."""
    wink_share: float = 0.03
    """Share of pictures with one eye closed."""
    jaw_share: float = 0.15
    """Share of pictures with a moved jaw."""


_ATTEMPTS = 30
# Thresholds on the gap of a closed mouth, an open mouth and a closed eye, m.
_SHUT_MOUTH_M, _OPEN_MOUTH_M, _SHUT_EYE_M = 0.003, 0.010, 0.004


def assign_yaws(
    source_yaws: Array, per_photo: float, generator: np.random.Generator,
    config: PoseSamplerConfig = PoseSamplerConfig(), existing_yaws: Array | None = None,
) -> list[Array]:
    """
    Distribute uniform yaws in -largest..largest among photographs.

    Turning shows only what a photograph shows, so a head is turned farther to the side that it
    faces, and a nearly frontal one to either side. Frontal yaws therefore go to frontal
    photographs.

    :param source_yaws: (N,) degrees.
    :param per_photo: mean number of turned pictures of a photograph.
    :param generator: source of the choices.
    :param config: limits of the poses.
    :param existing_yaws: (M,) degrees, yaws of existing pictures; the distribution is uniform
        together with them.
    :return: N arrays of yaws in degrees, some of them possibly empty.
    """
    source_yaws = np.asarray(source_yaws, dtype=float)
    count = round(len(source_yaws) * per_photo)
    if count == 0:
        return [np.empty(0) for _ in source_yaws]
    targets = _even_yaws(
        count, config.max_yaw_deg,
        np.empty(0) if existing_yaws is None else np.asarray(existing_yaws, float), generator)
    given: list[list[float]] = [[] for _ in source_yaws]
    taken = np.zeros(len(source_yaws)) + generator.random(len(source_yaws)) / 2
    # First the yaws that the fewest photographs can be turned to.
    for target in targets[np.argsort(np.abs(targets), kind='stable')]:
        fits = can_turn_to(source_yaws, target, config)
        if not fits.any():
            fits = np.abs(source_yaws - target) <= np.abs(source_yaws - target).min() + 5
        chosen = int(np.where(fits, taken, np.inf).argmin())
        taken[chosen] += 1
        given[chosen].append(float(target))
    return [np.array(yaws) for yaws in given]


def _even_yaws(
    count: int, largest: float, existing_yaws: Array, generator: np.random.Generator,
) -> Array:
    """Return (count,) yaws that make the distribution uniform together with those beside them."""
    bins = 36
    present = np.histogram(existing_yaws, bins, (-largest, largest))[0]
    # Water-filling: every bin below a common level is filled up to it.
    ground = np.sort(present)
    levels = (count + np.cumsum(ground)) / np.arange(1, bins + 1)
    level = levels[np.flatnonzero(levels >= ground)[-1]]
    # Rounding the cumulative sum keeps the total.
    edges = np.round(np.cumsum(np.clip(level - present, 0, None)) + 1e-6).astype(int)
    shares = np.diff(edges, prepend=0)
    low = np.linspace(-largest, largest, bins + 1)[:-1]
    return np.concatenate([
        start + (np.arange(share) + generator.random(share)) * (2 * largest / bins / share)
        for start, share in zip(low, shares, strict=True) if share])


def can_turn_to(
    source_yaws: Array, target: float, config: PoseSamplerConfig = PoseSamplerConfig()
) -> Array:
    """Return which photographs (N,) may be turned to a yaw in degrees."""
    side = np.sign(target) if target else 1.0
    beyond = np.abs(target) >= side * source_yaws - config.turn_back_deg
    return beyond & (side * source_yaws >= -config.frontal_deg)


def sample_target_pose(
    photograph: Photograph, yaw: float, generator: np.random.Generator,
    config: PoseSamplerConfig = PoseSamplerConfig(),
) -> TargetPose:
    """Return a target pose with this yaw (degrees) and random pitch, roll and expression."""
    _, _, roll = euler_from_rotation(photograph.rotation)
    chance = generator.random(6)
    # In profile, roll about the nose becomes a lean towards the camera, so it is reduced.
    roll *= np.cos(np.deg2rad(yaw))
    roll = float(roll + generator.normal(0, config.roll_sigma_deg))
    pitch, nod = _sample_pitch(photograph, float(yaw), roll, generator, config)
    tilt = (generator.uniform(-config.tilt_deg, config.tilt_deg) if chance[4] < 0.5
            else generator.normal(0, config.tilt_sigma_deg))
    amount = 1.0 if chance[1] < config.fully_closed else float(generator.uniform(0.25, 0.9))
    blink = [0.0, 0.0]
    if chance[0] < config.blink_share:
        blink = [amount, amount]
    elif chance[0] < config.blink_share + config.wink_share:
        blink[int(chance[2] < 0.5)] = 1.0
    blink = [amount * (eyelid_gap(photograph, side) > _SHUT_EYE_M)
             for side, amount in zip('RL', blink, strict=True)]
    jaw = 0.0
    if chance[3] < config.jaw_share:
        gap = mouth_gap(photograph)
        if gap < _SHUT_MOUTH_M:
            jaw = float(generator.uniform(0.04, 0.25))
        elif gap > _OPEN_MOUTH_M:
            jaw = -float(generator.uniform(0.05, 0.3))
    return TargetPose((float(yaw), pitch, roll), (float(blink[0]), float(blink[1])), jaw, nod,
                      float(tilt))


def _sample_pitch(
    photograph: Photograph, yaw: float, roll: float, generator: np.random.Generator,
    config: PoseSamplerConfig,
) -> tuple[float, float]:
    """Return a pitch by the camera's elevation, and a nod, degrees, that the picture allows."""
    before = _elevation_deg(photograph.rotation)
    for _ in range(_ATTEMPTS):
        whole = generator.uniform(-config.max_pitch_deg, config.max_pitch_deg)
        nod = whole * generator.random()
        pitch = whole - nod
        change = _elevation_deg(TargetPose((yaw, pitch, roll), nod_deg=nod).rotation) - before
        if -config.max_below_deg <= change <= config.max_above_deg:
            return float(pitch), float(nod)
    # A photograph from far above or below keeps its pitch.
    return float(euler_from_rotation(photograph.rotation)[1]), 0.0


def _elevation_deg(rotation: Array) -> float:
    """Return the elevation of the camera above the head's own horizon, degrees."""
    return float(np.rad2deg(np.arcsin(np.clip(-rotation[2, 2], -1.0, 1.0))))


def render_random_poses(
    picture: Image, points: Array, fit: FaceFit, surface: HeadSurface,
    generator: np.random.Generator, yaws: Sequence[float] | int, size: int = SIZE,
    config: PoseSamplerConfig = PoseSamplerConfig(),
) -> Iterator[tuple[Image, TurnedFace]]:
    """
    Yield turned pictures of one labelled photograph and their labels.

    :param picture: (H, W, 3) uint8 BGR.
    :param points: (68, 2) px, jaw on the visible contour.
    :param fit: the head model fitted to it.
    :param surface: the head's surface.
    :param generator: source of the choices.
    :param yaws: degrees, as `assign_yaws` returns them, or the number of random ones.
    :param size: px, side of the pictures.
    :param config: distribution of the poses.
    :yield: a picture (size, size, 3) BGR and its labels.
    :raises RejectedError: the photograph is not suitable; the message says why.
    """
    # Outside that is always black would tell where the photograph ends.
    outside = ((0, 0, 0), tuple(int(c) for c in generator.integers(0, 256, 3)), None)[
        int(generator.choice(3, p=config.outside_shares))]
    photograph = prepare_photograph(picture, points, fit, surface, PhotographConfig(
        max_yaw_deg=config.max_source_yaw_deg, outside=outside))
    if isinstance(yaws, int):
        yaws = _random_yaws(photograph, yaws, generator, config)
    targets = [sample_target_pose(photograph, yaw, generator, config) for yaw in yaws]
    yield from render_poses(photograph, targets, size)


def _random_yaws(
    photograph: Photograph, count: int, generator: np.random.Generator, config: PoseSamplerConfig,
) -> Array:
    source = euler_from_rotation(photograph.rotation)[:1]
    every = np.linspace(-config.max_yaw_deg, config.max_yaw_deg, 721)
    every = every[[bool(can_turn_to(source, yaw, config)[0]) for yaw in every]]
    return generator.choice(every, count)
