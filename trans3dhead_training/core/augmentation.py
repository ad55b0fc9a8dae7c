"""Random augmentation of crops: geometry, light, sharpness, noise, compression, occlusion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

BORDERS = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101)
"""What lies beyond a picture."""

_DARK_GAIN = (0.05, 0.5)
"""Light that is left in dark crops, log-uniform."""


@dataclass(frozen=True)
class Augmentation:
    """Strength of the changes to crops, and sampling frequency of faces."""

    turn_sigma_deg: float = 15.0
    """Standard deviation of the in-plane rotation of most crops."""
    wide_turn_share: float = 0.3
    """Share of the crops that are rotated uniformly by up to wide_turn_deg instead."""
    wide_turn_deg: float = 80.0
    """Maximum rotation of that share."""
    shift_sigma: float = 0.06
    """Standard deviation of the shift of the crop, as a fraction of the longer side of the box."""
    off_share: float = 0.0
    """Share of the crops that are shifted off the head, uniformly by up to off_shift along each
    axis."""
    off_shift: float = 0.4
    """Maximum shift of such a crop, as a fraction of the longer side of the box."""
    cut_share: float = 0.0
    """Share of the heads that are cut by an artificial picture border, by up to cut_most."""
    cut_most: float = 0.4
    """Largest part of the landmark box beyond that border."""
    zoom_sigma: float = 0.11
    """Standard deviation of the logarithm of the crop's size."""
    photometric: float = 1.0
    """Factor on the probabilities and strengths of photometric changes, 0..1."""
    automatic_share: float = 0.25
    """Sampling weight of a face with automatic labels, relative to a hand-labelled one."""
    yaw_boost_deg: float = 22.0
    """A photograph at this yaw is drawn twice as often as a frontal one, and at twice this yaw five
    times as often; large values draw all of them equally."""


@dataclass(frozen=True)
class CropTransform:
    """
    A similarity from face units to crop units, optionally after mirroring.

    Face units: u = 2 (px - box centre) / longer side of the landmark box; crop units: -1..1 spans
    the crop.
    """

    mirror: bool
    """Flip the x of face units first."""
    turn: np.ndarray
    """(2, 2) in-plane rotation, applied second."""
    scale: float
    """Factor, applied third."""
    shift: np.ndarray
    """(2,) crop units, added last."""

    def points(self, face_units: np.ndarray) -> np.ndarray:
        """Map (P, 2) face units, already mirrored if `mirror`, to crop units."""
        return self.scale * face_units @ self.turn.T + self.shift

    def image_to_crop(self, centre: np.ndarray, side: float, size: int) -> np.ndarray:
        """
        Return the matrix from image px to crop px.

        :param centre: (2,) px, of the landmark box.
        :param side: longer side of the landmark box, px.
        :param size: side of the crop, px.
        :return: (2, 3).
        """
        flip = np.diag([-1.0 if self.mirror else 1.0, 1.0])
        linear = self.scale * self.turn @ flip * (2.0 / side)
        offset = self.shift - linear @ centre
        # Crop px i lies at crop unit (2 i + 1) / size - 1.
        return np.column_stack([linear, offset + 1.0]) * (size / 2) - [[0, 0, 0.5], [0, 0, 0.5]]


def centred_transform(face_units: np.ndarray, crop_scale: float) -> CropTransform:
    """Return the transform of the crop that inference takes around points (P, 2) in face units."""
    low, high = np.nanmin(face_units, axis=0), np.nanmax(face_units, axis=0)
    scale = 2.0 / (crop_scale * (high - low).max())
    return CropTransform(False, np.eye(2), scale, -scale * (low + high) / 2)


def random_transform(
    face_units: np.ndarray, mirror: bool, crop_scale: float, generator: np.random.Generator,
    config: Augmentation = Augmentation(),
) -> CropTransform:
    """
    Return a random crop: turned in the image plane, with the position and size of a detector.

    :param face_units: (P, 2), already mirrored if `mirror`; nan where unknown.
    :param mirror: whether the picture is mirrored.
    :param crop_scale: side of a crop / longer side of the landmark box.
    :param generator: random generator.
    :param config: how strongly to change.
    :return: the transform.
    """
    # Most heads are upright, but a tracker must also handle people lying down.
    if generator.random() < config.wide_turn_share:
        degrees = generator.uniform(-config.wide_turn_deg, config.wide_turn_deg)
    else:
        degrees = generator.normal(0, config.turn_sigma_deg)
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[c, -s], [s, c]])
    turned = face_units @ turn.T
    low, high = np.nanmin(turned, axis=0), np.nanmax(turned, axis=0)
    longer = (high - low).max()
    zoom = float(np.clip(np.exp(generator.normal(0, config.zoom_sigma)), 0.72, 1.4))
    scale = 2.0 / (crop_scale * longer * zoom)
    if generator.random() < config.off_share:
        jitter = generator.uniform(-config.off_shift, config.off_shift, 2) * longer
    else:
        jitter = np.clip(generator.normal(0, config.shift_sigma, 2), -0.18, 0.18) * longer
    return CropTransform(mirror, turn, scale, -scale * ((low + high) / 2 + jitter))


def cut_by_border(
    crop: np.ndarray, points: np.ndarray, generator: np.random.Generator, most: float,
) -> np.ndarray:
    """
    Let a border of the picture cut a head off.

    :param crop: (S, S, 3), unchanged.
    :param points: (P, 2) landmarks, crop units; nan where unknown.
    :param generator: decides the side, the part and what lies beyond: mostly black, as where a
        robot looks, else a colour or the continued picture.
    :param most: largest part of the landmark box beyond the border.
    :return: (S, S, 3).
    """
    axis, last = generator.integers(2, size=2)
    low, high = np.nanmin(points[:, axis]), np.nanmax(points[:, axis])
    part = generator.uniform(0.05, most) * (high - low)
    border = high - part if last else low + part
    size = crop.shape[0]
    shown = int(np.clip((border + 1) * size / 2, 1, size - 1))
    sides = [0, 0, 0, 0]  # top, bottom, left, right
    kept = slice(shown) if last else slice(shown, size)
    sides[2 * (1 - axis) + last] = size - shown if last else shown
    kind = cv2.BORDER_CONSTANT if generator.random() < 0.7 else BORDERS[
        generator.integers(len(BORDERS))]
    colour = generator.integers(0, 256, 3) * (generator.random() < 0.3)
    part_shown = np.ascontiguousarray(crop[:, kept] if axis == 0 else crop[kept])
    return cv2.copyMakeBorder(part_shown, *sides, kind, value=colour.tolist())


def photometric(
    crop: np.ndarray, generator: np.random.Generator, strength: float = 1.0,
) -> np.ndarray:
    """
    Change light, colour, sharpness, noise and compression of a crop (S, S, 3) uint8 BGR.

    :param crop: unchanged.
    :param generator: decides the changes.
    :param strength: factor on the probabilities and on the spread of light and colour, 0..1.
    :return: the changed crop, of the same shape and type.
    """
    chance = generator.random(8) / max(strength, 1e-6)
    size = crop.shape[0]
    if chance[0] < 0.25:  # a small, distant head
        small = int(size * generator.uniform(0.12, 0.7))
        crop = cv2.resize(cv2.resize(crop, (small, small), interpolation=cv2.INTER_AREA),
                          (size, size), interpolation=cv2.INTER_LINEAR)
    if chance[1] < 0.12:
        crop = cv2.GaussianBlur(crop, (0, 0), generator.uniform(0.5, 2.2))
    elif chance[1] < 0.2:  # motion
        length = int(generator.integers(3, 10))
        angle = generator.uniform(0, np.pi)
        kernel = np.zeros((length, length), np.float32)
        middle = (length - 1) / 2
        for t in np.linspace(-middle, middle, 2 * length):
            kernel[round(middle + t * np.sin(angle)),
                   round(middle + t * np.cos(angle))] = 1
        crop = cv2.filter2D(crop, -1, kernel / kernel.sum())
    if chance[2] < 0.15:
        crop = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    levels = np.arange(256, dtype=np.float32) / 255
    gamma = np.exp(generator.normal(0, 0.3 * strength))
    gain = np.exp(generator.normal(0, 0.22 * strength))
    bias = generator.normal(0, 0.07 * strength)
    is_dark = chance[7] < 0.08
    if is_dark:
        gain, bias = np.exp(generator.uniform(*np.log(_DARK_GAIN))), 0.0
    tint = np.exp(generator.normal(0, 0.07, 3))
    table = levels[:, None] ** gamma * gain * tint + bias
    crop = cv2.LUT(crop, np.clip(table * 255, 0, 255).astype(np.uint8)[None])
    if chance[3] < 0.12:  # light from one side
        direction = generator.normal(size=2)
        direction /= np.linalg.norm(direction) + 1e-9
        grid = np.linspace(-1, 1, size, dtype=np.float32)
        shade = 1 + generator.uniform(0.2, 0.8) * (
            grid[None, :] * direction[0] + grid[:, None] * direction[1]).astype(np.float32)
        crop = cv2.multiply(crop, cv2.merge([shade, shade, shade]), dtype=cv2.CV_8U)
    if chance[4] < 0.3:
        crop = occlude(crop, generator)
    if chance[5] < 0.2 or is_dark:
        sigma = generator.uniform(0.5, 4) if is_dark else generator.uniform(2, 16)
        noise = generator.standard_normal(crop.shape, dtype=np.float32) * np.float32(sigma)
        crop = cv2.add(crop, noise, dtype=cv2.CV_8U)
    if chance[6] < 0.15:
        quality = int(generator.integers(18, 75))
        crop = cv2.imdecode(cv2.imencode('.jpg', crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1],
                            cv2.IMREAD_COLOR)
    return crop


def occlude(crop: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Cover a part of a crop (S, S, 3) with an ellipse or box of colour, noise or its pixels."""
    size = crop.shape[0]
    extent = (size * generator.uniform(0.1, 0.42, 2)).astype(int) + 1
    corner = (generator.random(2) * (size - extent)).astype(int)
    mask = np.zeros((size, size), np.uint8)
    middle = tuple(int(v) for v in corner + extent // 2)
    if generator.random() < 0.5:
        cv2.ellipse(mask, middle, tuple(int(v) for v in extent // 2 + 1),
                    generator.uniform(0, 180), 0, 360, 255, -1)
    else:
        mask[corner[1]:corner[1] + extent[1], corner[0]:corner[0] + extent[0]] = 255
    kind = generator.integers(3)
    if kind == 0:
        cover = np.full_like(crop, generator.integers(0, 256, 3).astype(np.uint8))
    elif kind == 1:
        coarse = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        cover = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    else:
        cover = np.roll(crop, tuple(generator.integers(size // 4, size, 2)), (0, 1))
    return cv2.copyTo(cover, mask, crop.copy())
