"""Random backgrounds: views of HDR panoramas, walls, clutter and noise."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from trans3dhead_ros.types import Float32Array, Image
from trans3dhead_training.synthesis.render.texture_atlas import encode_srgb
from trans3dhead_training.synthesis.scenes.light_sampling import SceneLight

KINDS = ('panorama', 'wall', 'clutter', 'noise')
_SHARES = (0.56, 0.20, 0.20, 0.04)


def sample_background(
    generator: np.random.Generator, light: SceneLight, size: tuple[int, int],
) -> Image:
    """
    Return a random background for a light.

    :param generator: source of the choices.
    :param light: the light of the picture.
    :param size: (width, height) px.
    :return: (H, W, 3) uint8 sRGB RGB.
    """
    kind = generator.choice(KINDS, p=_SHARES)
    unit = max(size) / 256
    blur = unit * generator.choice([0.0, generator.uniform(0.5, 2.5), generator.uniform(2.5, 9.0)],
                                   p=[0.35, 0.35, 0.3])
    # Half the resolution is enough for what is blurred.
    step = 2 if blur > 2.0 * unit else 1
    working_size = (-(-size[0] // step), -(-size[1] // step))
    if kind == 'panorama':
        # With the exposure of the head the sky would often be plain white.
        gain = light.gain * np.exp(generator.normal(-0.3, 0.4))
        linear = gain * light.environment.view(light.panorama_to_camera, working_size,
                                               generator.uniform(25, 95))
    else:
        linear = {'wall': _wall, 'clutter': _clutter, 'noise': _noise}[kind](
            generator, working_size
        )
        linear = linear * (generator.uniform(0.25, 0.7) if light.kind == 'low' else 1.0)
    image = encode_srgb(torch.from_numpy(linear.astype(np.float32))).numpy()
    if blur > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), blur / step)
    return image if step == 1 else cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def _colour(generator: np.random.Generator, saturation: float = 0.2) -> Float32Array:
    """Return one linear RGB colour of random brightness, mostly greyish."""
    grey = generator.uniform(0.05, 0.9) ** 2
    return np.clip(grey * np.exp(generator.normal(0, saturation, 3)), 0, 1).astype(np.float32)


def _ramp(generator: np.random.Generator, size: tuple[int, int]) -> Float32Array:
    """Return a linear ramp 0…1 (H, W, 1) in a random direction."""
    angle = generator.uniform(0, 2 * np.pi)
    x = np.linspace(-1, 1, size[0], dtype=np.float32)[None, :, None]
    y = np.linspace(-1, 1, size[1], dtype=np.float32)[:, None, None]
    along = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    return np.clip(0.5 + 0.5 * along, 0, 1)


def _wall(generator: np.random.Generator, size: tuple[int, int]) -> Float32Array:
    ramp = _ramp(generator, size)
    first = _colour(generator)
    second = first * np.float32(generator.uniform(0.35, 1.2))
    wall = first * ramp + second * (1 - ramp)
    return wall * (1 + _grain(generator, size, generator.uniform(0.5, 6), 0.04))


def _clutter(generator: np.random.Generator, size: tuple[int, int]) -> Float32Array:
    """Return boxes, bars and discs of all sizes on a wall."""
    width, height = size
    image = np.ascontiguousarray(_wall(generator, size))
    for _ in range(int(generator.integers(6, 40))):
        colour = tuple(float(c) for c in _colour(generator, 0.35))
        extent = np.exp(generator.uniform(np.log(0.02), np.log(0.45), 2)) * max(size)
        x, y = generator.uniform(-0.1, 1.1, 2) * size
        kind = generator.integers(4)
        if kind == 0:
            corners = np.array([[x, y], [x + extent[0], y + extent[1]]]).round().astype(int)
            cv2.rectangle(image, corners[0].tolist(), corners[1].tolist(), colour, -1)
        elif kind == 1:
            cv2.ellipse(image, (round(x), round(y)), (round(extent[0] / 2), round(extent[1] / 2)),
                        generator.uniform(0, 180), 0, 360, colour, -1)
        elif kind == 2:
            end = (round(x + generator.normal(0, 0.1) * width), round(y + height))
            cv2.line(image, (round(x), round(y - height)), end, colour,
                     max(round(extent[0] / 8), 1))
        else:
            turned = cv2.boxPoints(((x, y), tuple(extent), generator.uniform(0, 180)))
            cv2.fillPoly(image, [turned.round().astype(np.int32)], colour)
    return image * (1 + _grain(generator, size, 1.0, 0.04))


def _noise(generator: np.random.Generator, size: tuple[int, int]) -> Float32Array:
    coarse = int(generator.integers(3, 24))
    rough = generator.random((coarse, coarse, 3), dtype=np.float32)
    tint = generator.uniform(0.0, 0.5)
    rough = tint * rough + (1 - tint) * rough.mean(-1, keepdims=True)
    return np.clip(cv2.resize(rough, size, interpolation=cv2.INTER_CUBIC), 0, 1) ** 2


def _grain(generator: np.random.Generator, size: tuple[int, int], sigma: float,
           amplitude: float) -> Float32Array:
    """Return smooth noise (H, W, 1), computed at a lower resolution where sigma allows."""
    step = max(int(sigma), 1)
    rough = generator.standard_normal((size[1] // step + 2, size[0] // step + 2), dtype=np.float32)
    smooth = cv2.resize(cv2.GaussianBlur(rough, (0, 0), max(sigma / step, 0.5)), size,
                        interpolation=cv2.INTER_CUBIC)
    return (amplitude * smooth / max(float(smooth.std()), 1e-6))[..., None]
