"""One aligned head for each box of an image: crop, run the network, map back to pixels."""

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
from trans3dhead_ros.head_model import HeadModel
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT, SELLION
from trans3dhead_ros.network.checkpoint import bundled_checkpoint, load_checkpoint
from trans3dhead_ros.network.device import full_precision, resolve_device
from trans3dhead_ros.network.model import Trans3DHead
from trans3dhead_ros.perception.crop import crop_square, crop_window, landmark_box
from trans3dhead_ros.types import Array, Image, IndexArray

# Crops in one pass of the network; bounds the memory that a crowd takes.
_MAX_BATCH = 32
# Natural logarithm of crop units per metre: heads of a tenth to a hundred times the crop.
_LOG_SCALE_RANGE = (-3.0, 7.0)
# The uncertainty of heads is 0.02 to 0.04, up to 0.07 with motion blur; without a head it is above
# 0.08.
_UNCERTAINTY_MIDPOINT, _UNCERTAINTY_STEP = 0.07, 0.008


@dataclass(frozen=True, eq=False)
class Alignments:
    """
    The network's estimates for B crops of one image, in its pixels, under weak perspective.

    A head point p (m, head frame) projects to `scale * (rotation @ p)[:2] + origin` px.
    """

    score: Array
    """(B,) probability 0…1, see `head_score`."""
    landmarks: Array
    """(B, 68, 3) px; z from the head model, 0 at the sellion, smaller is nearer."""
    contour: Array
    """(B, 68, 2) px, the jaw on the visible contour."""
    landmark_scale: Array
    """(B, 68) px, Laplace scale of `landmarks`."""
    rotation: Array
    """(B, 3, 3) head -> camera optical frame of the crop."""
    origin: Array
    """(B, 2) px, the projection of the head's origin."""
    scale: Array
    """(B,) px per metre."""
    shape: Array
    """(B, I) identity coefficients."""
    expression: Array
    """(B, E) expression coefficients, 0…1."""
    points: Array
    """(B, 68, 3) m, the landmarks of the head model in the head frame."""
    centre: Array
    """(B, 2) px, centre of each crop."""

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
        """Concatenate batches, at least one."""
        return Alignments(**{name: np.concatenate([getattr(part, name) for part in parts])
                             for name in vars(parts[0])})


class HeadAligner:
    """
    A network on its device, without state between images, so that trackers can share it.

    :param network: in evaluation mode, on `device`.
    :param device: where the network is.
    :param metadata: of its checkpoint.

    Example::

        aligner = HeadAligner.load(device='cpu')
        cameras = [HeadPipeline(aligner, make_detector('cascade')) for _ in range(2)]
    """

    head_model: HeadModel
    """What shape and expression are coefficients of."""
    expression_names: tuple[str, ...]
    """Names of the E expression coefficients."""
    triangles: IndexArray
    """(T, 3) vertex indices, counter-clockwise seen from outside."""
    landmark_indices: IndexArray
    """(68,) vertex indices of the landmarks."""

    def __init__(
        self, network: Trans3DHead, device: torch.device, metadata: dict[str, Any] | None = None,
    ) -> None:
        self.network = network
        self.device = device
        self.metadata = metadata or {}
        self.head_model = network.head_model.numpy()
        self.expression_names = self.head_model.expression_names
        self.triangles = self.head_model.triangles
        self.landmark_indices = self.head_model.landmark_indices
        self._mean, self._basis = self.head_model.landmark_rows()

    @classmethod
    def load(
        cls, model: str | os.PathLike[str] | None = None, device: str | torch.device = 'auto',
    ) -> HeadAligner:
        """
        Load a checkpoint.

        :param model: path of the checkpoint; None is the one that comes with the package.
        :param device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
        :return: the aligner.
        :raises UserError: for a device that does not exist, or a file that is not a valid
            checkpoint.
        """
        target = resolve_device(device)
        path = bundled_checkpoint() if model is None else Path(model)
        network, metadata = load_checkpoint(path, target)
        return cls(network, target, metadata)

    def warm_up(self) -> None:
        """
        Run the network once, so that the first image does not wait for lazy initialisation.

        :raises UserError: for a network whose outputs are not finite.
        """
        black = np.zeros((32, 32, 3), np.uint8)
        found = self.align(black, np.array([[4.0, 4.0, 28.0, 28.0]]))
        vertices = self.vertices(found.shape, found.expression)
        if not all(np.isfinite(values).all() for values in (*vars(found).values(), vertices)):
            raise UserError('network: its outputs are not finite; train or load another one')

    def align(self, image: Image, boxes: Array) -> Alignments:
        """
        Align the head in each landmark box.

        :param image: (H, W, 3) uint8 BGR.
        :param boxes: (B, 4) x0 y0 x1 y1 px.
        :return: one alignment per box.
        """
        return self.align_images([(image, boxes)])[0]

    def align_images(self, requests: Sequence[tuple[Image, Array]]) -> list[Alignments]:
        """
        Align the heads of several images, all crops in one batch.

        :param requests: images and boxes as for `align`, at least one.
        :return: the alignments of each image.
        """
        config = self.network.config
        size = config.input_size
        windows = [(image, *crop_window(box, config.crop_scale))
                   for image, boxes in requests for box in boxes]
        crops = np.empty((len(windows), size, size, 3), np.uint8)
        for crop, (image, centre, side) in zip(crops, windows, strict=True):
            crop[:] = crop_square(image, centre, side, size)
        centres = np.array([centre for _, centre, _ in windows]).reshape(-1, 2)
        sides = np.array([side for *_, side in windows])
        joined = Alignments.join([
            self._decode(crops[part], centres[part], sides[part])
            for part in (slice(start, start + _MAX_BATCH)
                         for start in range(0, max(len(windows), 1), _MAX_BATCH))])
        ends = np.cumsum([len(boxes) for _, boxes in requests]).tolist()
        return [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def vertices(self, shape: Array, expression: Array) -> Array:
        """Return the vertices (B, V, 3) m of the head model in the head frame."""
        return self.head_model.vertices(shape, expression).astype(np.float64)

    @torch.inference_mode()
    def _decode(self, crops: Image, centres: Array, sides: Array) -> Alignments:
        # Transferred as bytes, a quarter of the size of floats.
        batch = torch.from_numpy(crops).to(self.device).flip(-1).permute(0, 3, 1, 2)
        with full_precision(self.device):
            prediction = self.network(batch.float() / 255.0)
        half = 0.5 * sides
        to_px = half[:, None, None]
        xy = _double(prediction.landmarks) * to_px + centres[:, None]
        contour = xy.copy()
        contour[:, :JAW_COUNT] = _double(prediction.contour) * to_px + centres[:, None]
        rotation = nearest_rotation(_double(prediction.rotation))
        scale = np.exp(np.clip(_double(prediction.log_scale), *_LOG_SCALE_RANGE)) * half
        shape, expression = _double(prediction.shape), _double(prediction.expression)
        coefficients = np.concatenate([shape, expression], axis=1)
        points = (self._mean + coefficients @ self._basis).reshape(-1, COUNT, 3)
        depth = np.einsum('bpi,bi->bp', points - points[:, SELLION:SELLION + 1], rotation[:, 2])
        landmark_scale = _double(prediction.landmark_scale)[:, :COUNT] * half[:, None]
        return Alignments(
            score=head_score(_double(prediction.score), landmark_scale, landmark_box(xy)),
            landmarks=np.concatenate([xy, (depth * scale[:, None])[..., None]], axis=-1),
            contour=contour,
            landmark_scale=landmark_scale,
            rotation=rotation,
            origin=_double(prediction.translation) * half[:, None] + centres,
            scale=scale,
            shape=shape,
            expression=expression,
            points=points,
            centre=centres,
        )


def head_score(logit: Array, landmark_scale: Array, boxes: Array) -> Array:
    """
    Return the probability that a crop shows a head whose landmarks can be located.

    The score of the network alone accepts some bookshelves, in which its landmarks are uncertain.
    A low score and a high uncertainty each lower the probability:
    `1 / (1 + exp(-logit) + exp((uncertainty - 0.07) / 0.008))`.

    :param logit: (B,) score of the network.
    :param landmark_scale: (B, 68) Laplace scale, px.
    :param boxes: (B, 4) boxes of the landmarks, px.
    :return: (B,) 0…1.
    """
    excess = (uncertainty(landmark_scale, boxes) - _UNCERTAINTY_MIDPOINT) / _UNCERTAINTY_STEP
    return 1.0 / (1.0 + np.exp(np.clip(-logit, None, 50.0)) + np.exp(np.clip(excess, None, 50.0)))


def uncertainty(landmark_scale: Array, boxes: Array) -> Array:
    """Return (B,) mean `landmark_scale` (B, 68) relative to the size of the boxes (B, 4)."""
    size = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    return landmark_scale.mean(axis=1) / np.maximum(size, 1e-9)


def _double(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()
