"""Simple pictures of the head model, rendered in NumPy, for documentation and tests."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.mesh import vertex_normals
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_ros.types import Array, BoolArray, Float32Array, Image
from trans3dhead_training.core.rasterizer import rasterize
from trans3dhead_training.synthesis.preview.head_texture import INSIDE, HeadTexture, paint_head

# Rendered at this multiple and averaged down, against aliasing.
_OVERSAMPLING = 2
# Directions towards the lights in the camera optical frame (y down), and their intensities.
_LIGHTS = (((-0.5, -0.6, -0.65), 0.72), ((0.8, -0.1, -0.6), 0.22))
_AMBIENT = 0.30
_GLOSS_SKIN, _GLOSS_EYE = (14.0, 0.10), (90.0, 0.9)


@dataclass(frozen=True, eq=False)
class HeadRenderer:
    """
    Renders a head model on the CPU, a few pictures a second at 480 × 360.

    Example::

        renderer = HeadRenderer.from_model(load_head_model())
        background = np.full((360, 480, 3), 120, np.uint8)
        image = renderer.render(background, Camera.from_fov((480, 360), 60), FACING_CAMERA,
                                np.array([0.0, 0.0, 0.5]), {'jawOpen': 0.4})
    """

    model: HeadModule
    """The head model."""
    appearance: HeadTexture
    """Its texture."""

    @classmethod
    def from_model(cls, model: HeadModule) -> 'HeadRenderer':
        """Return a renderer with a procedural texture for the model."""
        return cls(model, paint_head(model))

    def render(
        self, background: Image, camera: Camera, rotation: Array, translation: Array,
        expression: Mapping[str, float] | None = None, shape: Mapping[int, float] | None = None,
    ) -> Image:
        """
        Return a copy of the background with the head in front of it.

        :param background: (H, W, 3) BGR.
        :param camera: without distortion.
        :param rotation: (3, 3) head → camera optical frame.
        :param translation: (3,) m, head → camera optical frame.
        :param expression: coefficients by name, such as `{'jawOpen': 0.4}`.
        :param shape: identity coefficients by index; the others are 0.
        :return: (H, W, 3) BGR.
        :raises ValueError: the model does not have an expression.
        """
        identity = np.zeros(self.model.shape_count, np.float32)
        for number, value in (shape or {}).items():
            identity[number] = value
        coefficients = named_expression(self.model, expression or {})
        # The model's arrays, be they of NumPy or torch.
        head = np.asarray(self.model.mean) + (
            np.tensordot(identity, np.asarray(self.model.identity), 1)
            + np.tensordot(coefficients, np.asarray(self.model.expression), 1))
        points = head.astype(np.float64) + self.appearance.hair
        vertices = points @ rotation.T + translation
        height, width = background.shape[:2]
        big = cv2.resize(background, None, fx=_OVERSAMPLING, fy=_OVERSAMPLING,
                         interpolation=cv2.INTER_LINEAR)
        pixels = _OVERSAMPLING * (camera.project(vertices) + 0.5) - 0.5
        triangles = np.asarray(self.model.triangles)
        seen = rasterize(pixels, vertices[:, 2], triangles, (big.shape[1], big.shape[0]))
        normals = vertex_normals(vertices, triangles)
        attributes = np.concatenate([self.appearance.rest, normals, vertices], axis=1)
        rest, normal, place = np.split(
            seen.interpolate(attributes.astype(np.float32), triangles), 3, axis=1)
        part = self.appearance.part[triangles[seen.triangle, 0]]
        colours = self.appearance.colours(rest, part)
        lit = _lit(colours, normal, place, part > 0)
        lit[~seen.outside] = INSIDE
        big.reshape(-1, 3)[seen.pixel] = np.clip(lit, 0, 255).astype(np.uint8)
        return cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA)


def named_expression(model: HeadModule, weights: Mapping[str, float]) -> Float32Array:
    """
    Return the coefficients (E,) of expressions by name.

    :param model: the head model.
    :param weights: coefficients by name; the others are 0.
    :return: (E,).
    :raises ValueError: the model does not have a name.
    """
    unknown = set(weights) - set(model.expression_names)
    if unknown:
        raise ValueError(f'expression: unknown {", ".join(sorted(unknown))}')
    return np.array([weights.get(name, 0.0) for name in model.expression_names], np.float32)


def _lit(colours: Float32Array, normal: Float32Array, place: Float32Array,
         eye: BoolArray) -> Float32Array:
    """Return the shaded colours: wrapped diffuse light and Blinn-Phong highlights."""
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    view = -place / np.linalg.norm(place, axis=1, keepdims=True)
    light = np.full(len(colours), _AMBIENT, np.float32)
    gloss = np.zeros(len(colours), np.float32)
    for direction, strength in _LIGHTS:
        towards = np.array(direction, np.float32) / np.linalg.norm(direction)
        light += strength * np.clip((normal @ towards + 0.25) / 1.25, 0, None)
        half = towards + view
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        facing = np.clip(np.einsum('nc,nc->n', normal, half), 0, 1)
        for part, (power, amount) in ((~eye, _GLOSS_SKIN), (eye, _GLOSS_EYE)):
            gloss[part] += strength * amount * facing[part] ** power
    return colours * light[:, None] + 200 * gloss[:, None]
