"""Boxes of an image -> one aligned head each: crop, network, and back to pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import nearest_rotation
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT, SELLION
from trans3dhead_ros.network.checkpoint import bundled_checkpoint, load_checkpoint
from trans3dhead_ros.network.device import full_precision, resolve_device
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_ros.perception.crop import crop_square, crop_window, landmark_box
from trans3dhead_ros.types import Array, Image

#: Crops that go through the network at once; bounds the memory of a crowd.
_BATCH = 32
#: Natural log of crop units per metre: a head of a tenth to a hundred times the crop.
_LOG_SCALE_RANGE = (-3.0, 7.0)
#: Heads have uncertainties of 0.02 to 0.04, up to 0.07 in a blur; what is none has 0.08 and more.
_HALF_SURE, _SURE_STEP = 0.07, 0.008


@dataclass(frozen=True, eq=False)
class Alignments:
    """
    What the network says about B crops of one image, in image pixels, under weak perspective.

    A head point p (m, head frame) appears at `scale * (rotation @ p)[:2] + origin` px.
    """

    #: (B,) probability 0…1, see `head_score`.
    score: Array
    #: (B, 68, 3) px; z from the head model, 0 at the sellion, smaller is nearer.
    landmarks: Array
    #: (B, 68, 2) px, the jaw on the visible contour.
    contour: Array
    #: (B, 68) px, Laplace scale of `landmarks`.
    landmark_scale: Array
    #: (B, 3, 3) head -> camera, as the crop looks.
    rotation: Array
    #: (B, 2) px, where the head's origin appears.
    origin: Array
    #: (B,) px per metre.
    scale: Array
    #: (B, I) and (B, E) coefficients.
    shape: Array
    expression: Array
    #: (B, 68, 3) m, the head model's landmarks in the head frame.
    points: Array
    #: (B, 2) px, centre of each crop.
    centre: Array

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, chosen: Any) -> Alignments:
        """Return the chosen heads (indices, a slice or a mask)."""
        return Alignments(**{name: value[chosen] for name, value in vars(self).items()})

    @property
    def boxes(self) -> Array:
        """(B, 4) tight boxes of the landmarks, px."""
        return landmark_box(self.landmarks)

    @staticmethod
    def join(parts: list[Alignments]) -> Alignments:
        """Return one batch of several, which must not all be missing."""
        return Alignments(**{name: np.concatenate([getattr(part, name) for part in parts])
                             for name in vars(parts[0])})


class HeadAligner:
    """
    A network on its device. Holds no state between images, so trackers may share it.

    :param network: in evaluation mode, on `device`.
    :param metadata: of its checkpoint.
    """

    def __init__(
        self, network: Trans3DHead, device: torch.device, metadata: dict[str, Any] | None = None,
    ) -> None:
        self.network = network
        self.device = device
        self.metadata = metadata or {}
        head = network.head_model
        self.expression_names: tuple[str, ...] = head.expression_names
        #: (T, 3) vertex indices, counter-clockwise seen from outside.
        self.triangles = head.triangles.cpu().numpy()
        #: (68,) vertices of the landmarks.
        self.landmark_indices = head.landmark_indices.cpu().numpy()
        self._mean = _double(head.mean)[self.landmark_indices].ravel()
        # (I + E, 204): the landmarks' rows of the basis, cut out once.
        self._basis = np.concatenate([
            _double(shapes[:, head.landmark_indices].flatten(1))
            for shapes in (head.identity, head.expression)])

    @classmethod
    def load(
        cls, model: str | os.PathLike[str] | None = None, device: str | torch.device = 'auto',
    ) -> HeadAligner:
        """
        Load a checkpoint; None is the one that comes with the package.

        :raises ValueError: for a device that is not there, or a file that is no good checkpoint.
        """
        target = resolve_device(device)
        path = bundled_checkpoint() if model is None else Path(model)
        network, metadata = load_checkpoint(path, target)
        return cls(network, target, metadata)

    def warm_up(self) -> None:
        """
        Run once, so that the first image does not pay for lazy initialisation.

        :raises ValueError: for a network whose answers are no numbers.
        """
        black = np.zeros((32, 32, 3), np.uint8)
        found = self.align(black, np.array([[4.0, 4.0, 28.0, 28.0]]))
        vertices = self.vertices(found.shape, found.expression)
        if not all(np.isfinite(values).all() for values in (*vars(found).values(), vertices)):
            raise UserError('network: its answers are not finite; train or load another one')

    def align(self, image: Image, boxes: Array) -> Alignments:
        """
        Align the head of each landmark box.

        :param image: (H, W, 3) uint8 BGR.
        :param boxes: (B, 4) x0 y0 x1 y1 px.
        """
        return self.align_each([(image, boxes)])[0]

    def align_each(self, looks: Sequence[tuple[Image, Array]]) -> list[Alignments]:
        """
        Align the heads of several images, all crops in one batch.

        :param looks: images and boxes as of `align`, at least one.
        :return: one answer for each image.
        """
        config = self.network.config
        size = config.input_size
        windows = [(image, *crop_window(box, config.crop_scale))
                   for image, boxes in looks for box in boxes]
        crops = np.empty((len(windows), size, size, 3), np.uint8)
        for crop, (image, centre, side) in zip(crops, windows, strict=True):
            crop[:] = crop_square(image, centre, side, size)
        centres = np.array([centre for _, centre, _ in windows]).reshape(-1, 2)
        sides = np.array([side for *_, side in windows])
        joined = Alignments.join([
            self._decode(crops[i:i + _BATCH], centres[i:i + _BATCH], sides[i:i + _BATCH])
            for i in range(0, max(len(windows), 1), _BATCH)])
        ends = np.cumsum([len(boxes) for _, boxes in looks]).tolist()
        return [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    @torch.inference_mode()
    def vertices(self, shape: Array, expression: Array) -> Array:
        """Return head-model vertices (B, V, 3) m in the head frame."""
        head = self.network.head_model
        coefficients = (torch.from_numpy(values).to(head.mean) for values in (shape, expression))
        return _double(head(*coefficients))

    @torch.inference_mode()
    def _decode(self, crops: Image, centres: Array, sides: Array) -> Alignments:
        # Sent as bytes: a quarter of the floats' traffic to an accelerator.
        batch = torch.from_numpy(crops).to(self.device).flip(-1).permute(0, 3, 1, 2)
        with full_precision(self.device):
            answer = self.network(batch.float() / 255.0)
        half = 0.5 * sides
        to_px = half[:, None, None]
        xy = _double(answer.landmarks) * to_px + centres[:, None]
        contour = xy.copy()
        contour[:, :JAW_COUNT] = _double(answer.contour) * to_px + centres[:, None]
        rotation = nearest_rotation(_double(answer.rotation))
        scale = np.exp(np.clip(_double(answer.log_scale), *_LOG_SCALE_RANGE)) * half
        shape, expression = _double(answer.shape), _double(answer.expression)
        coefficients = np.concatenate([shape, expression], axis=1)
        points = (self._mean + coefficients @ self._basis).reshape(-1, COUNT, 3)
        depth = np.einsum('bpi,bi->bp', points - points[:, SELLION:SELLION + 1], rotation[:, 2])
        landmark_scale = _double(answer.landmark_scale)[:, :COUNT] * half[:, None]
        return Alignments(
            score=head_score(_double(answer.score), landmark_scale, landmark_box(xy)),
            landmarks=np.concatenate([xy, (depth * scale[:, None])[..., None]], axis=-1),
            contour=contour,
            landmark_scale=landmark_scale,
            rotation=rotation,
            origin=_double(answer.translation) * half[:, None] + centres,
            scale=scale,
            shape=shape,
            expression=expression,
            points=points,
            centre=centres,
        )


def head_score(logit: Array, landmark_scale: Array, boxes: Array) -> Array:
    """
    Return the probability (B,) that a crop shows a head whose landmarks can be placed.

    What looks like a head to the network's score, as a book shelf may, still is none where its
    landmark branch cannot tell where the points are. Either doubt alone lowers the answer:
    `1 / (1 + exp(-logit) + exp((uncertainty - 0.07) / 0.008))`.

    :param logit: (B,) of the network. :param landmark_scale: (B, 68) px. :param boxes: (B, 4) px.
    """
    doubt = (uncertainty(landmark_scale, boxes) - _HALF_SURE) / _SURE_STEP
    return 1.0 / (1.0 + np.exp(np.clip(-logit, None, 50.0)) + np.exp(np.clip(doubt, None, 50.0)))


def uncertainty(landmark_scale: Array, boxes: Array) -> Array:
    """Return the predicted error of landmarks (B, 68) px relative to the size of boxes (B, 4)."""
    size = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    return landmark_scale.mean(axis=1) / np.maximum(size, 1e-9)


def _double(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()
