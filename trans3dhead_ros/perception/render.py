"""The head model as a picture: for documentation, and for a clip with ground truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from trans3dhead_ros.camera import Camera
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.head_model import HeadModel
from trans3dhead_ros.perception.paint import INSIDE, Appearance, paint
from trans3dhead_ros.perception.raster import rasterise
from trans3dhead_ros.perception.truth import Truth, write_truth

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

CLIP_NAME = 'turning_head.mp4'
CLIP_SIZE, CLIP_FPS, CLIP_SECONDS = (480, 360), 25.0, 5.0
CLIP_FOV_DEG = 60.0

# Drawn at this multiple and averaged down, or outlines are stairs.
_OVERSAMPLING = 2
# Directions towards the lights in the camera optical frame (y down), and their strengths.
_LIGHTS = (((-0.5, -0.6, -0.65), 0.72), ((0.8, -0.1, -0.6), 0.22))
_AMBIENT = 0.30
_NECK = np.array([-0.095, 0.0, -0.136])
_PULLOVER, _COLLAR = (96, 70, 60), (74, 52, 46)
_GLOSS_SKIN, _GLOSS_EYE = (14.0, 0.10), (90.0, 0.9)


@dataclass(frozen=True, eq=False)
class HeadRenderer:
    """Renders a head model on the processor, a few pictures a second at 480 × 360."""

    model: HeadModel
    appearance: Appearance

    @classmethod
    def of(cls, model: HeadModel) -> 'HeadRenderer':
        """Paint the model and return its renderer."""
        return cls(model, paint(model))

    def render(
        self, background: Image, camera: Camera, rotation: Array, translation: Array,
        expression: Mapping[str, float] | None = None, shape: Mapping[int, float] | None = None,
    ) -> Image:
        """
        Return a copy of the background with the head in front of it.

        :param background: (H, W, 3) BGR.
        :param camera: without distortion.
        :param rotation, translation: (3, 3) and (3,) m, head frame → camera optical frame.
        :param expression: coefficients by name, such as `{'jawOpen': 0.4}`.
        :param shape: identity coefficients by number; the mean head where absent.
        :raises ValueError: for an expression that the model does not have.
        """
        identity = self.model.mean.new_zeros((1, self.model.shape_count))
        for number, value in (shape or {}).items():
            identity[0, number] = value
        head = self.model(identity, named_expression(self.model, expression or {}))[0]
        points = head.cpu().numpy().astype(np.float64) + self.appearance.hair
        vertices = points @ rotation.T + translation
        height, width = background.shape[:2]
        big = cv2.resize(background, None, fx=_OVERSAMPLING, fy=_OVERSAMPLING,
                         interpolation=cv2.INTER_LINEAR)
        pixels = _OVERSAMPLING * (camera.project(vertices) + 0.5) - 0.5
        triangles = self.model.triangles.cpu().numpy()
        seen = rasterise(pixels, vertices[:, 2], triangles, (big.shape[1], big.shape[0]))
        normals = _vertex_normals(vertices, triangles)
        attributes = np.concatenate([self.appearance.rest, normals, vertices], axis=1)
        rest, normal, place = np.split(
            seen.interpolate(attributes.astype(np.float32), triangles), 3, axis=1)
        part = self.appearance.part[triangles[seen.triangle, 0]]
        colours = self.appearance.colours(rest, part)
        lit = _lit(colours, normal, place, part > 0)
        lit[~seen.outside] = INSIDE
        big.reshape(-1, 3)[seen.pixel] = np.clip(lit, 0, 255).astype(np.uint8)
        return cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA)


def load_head(checkpoint: str | Path | None = None) -> HeadModel:
    """
    Return the head model of a checkpoint; None is the bundled one.

    :raises ValueError: when the file is missing or no checkpoint of ours.
    """
    from trans3dhead_ros.device import resolve_device
    from trans3dhead_ros.network.checkpoint import bundled_checkpoint, load_checkpoint
    network, _ = load_checkpoint(checkpoint or bundled_checkpoint(), resolve_device('auto'))
    return network.head_model


def named_expression(model: HeadModel, weights: Mapping[str, float]) -> torch.Tensor:
    """
    Return the coefficients (1, E) of expressions by name.

    :raises ValueError: for a name that the model does not have.
    """
    unknown = set(weights) - set(model.expression_names)
    if unknown:
        raise ValueError(f'expression: unknown {", ".join(sorted(unknown))}')
    values = [weights.get(name, 0.0) for name in model.expression_names]
    return model.mean.new_tensor([values])


def _vertex_normals(vertices: Array, triangles: NDArray[np.integer]) -> Array:
    corners = vertices[triangles]
    # The cross product's length weighs each face by its area.
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], face)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _lit(colours: NDArray[np.float32], normal: NDArray[np.float32], place: NDArray[np.float32],
         eye: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the colours under the lights: wrapped diffuse, which skin resembles, and gloss."""
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


def _room(size: tuple[int, int], seed: int = 1) -> Image:
    """Return a blurred, indifferent background."""
    width, height = size
    rng = np.random.default_rng(seed)
    grey, tint = rng.uniform(70, 165, (6, 8, 1)), rng.uniform(-12, 12, (6, 8, 3))
    small = grey * [1.05, 1.0, 0.92] + tint
    room = cv2.resize(small.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    room *= np.linspace(1.1, 0.75, height, dtype=np.float32)[:, None, None]
    return np.clip(cv2.GaussianBlur(room, (0, 0), width / 24), 0, 255).astype(np.uint8)


def _dress(image: Image, camera: Camera, rotation: Array, translation: Array, front: bool) -> None:
    """Draw the back of a collar, or the pullover in front of the neck, into the image."""
    # The collar follows the neck's end, the shoulders stay level.
    neck = camera.project(rotation @ _NECK + translation)
    metre = camera.K[0, 0] / translation[2]
    angle = np.linspace(0, np.pi if front else 2 * np.pi, 40)
    collar = neck + metre * np.stack([0.078 * np.cos(angle), 0.026 * np.sin(angle)], axis=-1)
    if not front:
        _fill(image, collar, _COLLAR)
        return
    level = neck[1] + 0.07 * metre
    x, y = neck
    right = [[x + 0.12 * metre, y + 0.012 * metre], [x + 0.23 * metre, level],
             [x + 0.25 * metre, image.shape[0] + 9]]
    left = [[2 * x - end, height] for end, height in reversed(right)]
    _fill(image, np.array([*right, *left, *collar[::-1]]), _PULLOVER)
    hem = np.array([0.0, 0.014 * metre])
    _fill(image, np.concatenate([collar, collar[::-1] + hem]), _COLLAR)


def _fill(image: Image, polygon: Array, colour: tuple[int, int, int]) -> None:
    cv2.fillPoly(image, [np.round(polygon * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)


def clip_truth(seconds: float = CLIP_SECONDS) -> Truth:
    """Return the motion of the clip: the head turns, nods and tilts while it sways."""
    time = np.arange(round(CLIP_FPS * seconds)) / CLIP_FPS
    turn = 2 * np.pi * time / seconds
    euler_deg = np.stack([38 * np.sin(turn), 11 * np.sin(2 * turn), 9 * np.sin(turn + 0.6) - 5],
                         axis=-1)
    translation = np.stack([0.045 * np.sin(turn + 2.2), -0.025 + 0.015 * np.sin(2 * turn + 1),
                            0.46 + 0.05 * np.sin(turn + 1)], axis=-1)
    return Truth(rotation_from_euler(euler_deg), translation,
                 Camera.from_fov(CLIP_SIZE, CLIP_FOV_DEG).K, CLIP_SIZE, CLIP_FPS)


def _clip_expression(seconds: float) -> dict[str, float]:
    """Two blinks, a word or two, a smile."""
    blink = max(np.exp(-((seconds - at) / 0.07) ** 2) for at in (1.1, 3.7))
    talk = np.exp(-((seconds - 2.4) / 0.5) ** 2) * (0.5 + 0.5 * np.sin(14 * seconds))
    smile = np.exp(-((seconds - 4.3) / 0.5) ** 2)
    return {'eyeBlink_L': blink, 'eyeBlink_R': blink, 'jawOpen': 0.4 * talk,
            'mouthSmile_L': 0.7 * smile, 'mouthSmile_R': 0.7 * smile}


def write_turning_head(
    folder: str | Path, model: HeadModel | None = None, seconds: float = CLIP_SECONDS,
) -> Path:
    """
    Render the default clip at 480 × 360 and 25 frames a second, and write its truth beside it.

    :param folder: made if it is not there.
    :param model: None is the head of the bundled checkpoint.
    :return: the clip's path.
    :raises ValueError: the folder cannot be written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CLIP_NAME
    renderer = HeadRenderer.of(load_head() if model is None else model)
    truth = clip_truth(seconds)
    camera = Camera(truth.intrinsics, size=truth.size)
    room, rng = _room(CLIP_SIZE), np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), CLIP_FPS, CLIP_SIZE)
    if not writer.isOpened():
        raise ValueError(f'folder: {path} cannot be written')
    try:
        for index, (rotation, translation) in enumerate(
                zip(truth.rotation, truth.translation, strict=True)):
            background = room.copy()
            _dress(background, camera, rotation, translation, front=False)
            expression = {name: value for name, value in _clip_expression(index / CLIP_FPS).items()
                          if name in renderer.model.expression_names}
            image = renderer.render(background, camera, rotation, translation, expression)
            _dress(image, camera, rotation, translation, front=True)
            noise = rng.normal(0, 2.5, image.shape)
            writer.write(np.clip(image + noise, 0, 255).astype(np.uint8))
    finally:
        writer.release()
    write_truth(path, truth)
    return path
