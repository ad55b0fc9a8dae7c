"""One aligned head for each box of an image: crop, run the network, map back to pixels."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import nearest_rotation
from trans3dhead_ros.head_model import HeadModel
from trans3dhead_ros.inference.engine import Engine
from trans3dhead_ros.inference.open_engine import choose_engine, open_engine
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT, SELLION
from trans3dhead_ros.model_files.model_metadata import crop_settings
from trans3dhead_ros.model_files.model_pair import ModelFiles, open_model
from trans3dhead_ros.perception.crop import (
    crop_roll,
    crop_square,
    crop_window,
    landmark_box,
    part_outside,
    roll_in_image,
    roll_matrix,
    upright_box,
)
from trans3dhead_ros.types import Array, Image, IndexArray

# Crops in one pass of the network; bounds the memory that a crowd takes.
_MAX_BATCH = 32
# Natural logarithm of crop units per metre: heads of a tenth to a hundred times the crop.
_LOG_SCALE_RANGE = (-3.0, 7.0)
# The uncertainty of heads is 0.02 to 0.04, up to 0.07 with motion blur; without a head it is above
# 0.08.
_UNCERTAINTY_MIDPOINT, _UNCERTAINTY_STEP = 0.07, 0.008
# The network is too sure of faces that a border cuts: their scales are larger by this factor from
# this part of the landmark box outside of the image on. Of 384 that were cut by 10 to 40 %, 314
# then have a score of 0.5 or more, and 1 of these is off by more than 15°. Of 768 with an earlier
# network it was 8 of 764 without the factor and 2 of 546 with 3; 11 of 691 with 2.5 and black
# beyond the border, which is replicated, instead of 4 of 686.
_CUT_FACTOR, _CUT_PART = 2.7, 0.1


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
    cut_factor: Array
    """(B,) factor from the network's scales to these: above 1 if a border cuts the head."""
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
    crop_roll: Array
    """(B,) degrees by which each crop was turned, clockwise."""

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, chosen: Any) -> Alignments:
        """Return the chosen heads (indices, a slice or a mask)."""
        return Alignments(**{name: value[chosen] for name, value in vars(self).items()})

    @property
    def boxes(self) -> Array:
        """(B, 4) tight boxes of the landmarks, px."""
        return landmark_box(self.landmarks)

    @property
    def uncertainty(self) -> Array:
        """(B,) mean of the network's scales of the landmarks, relative to the size of their box."""
        return uncertainty(self.landmark_scale, upright_box(self.landmarks, self.crop_roll)
                           ) / self.cut_factor

    @property
    def crops(self) -> tuple[Array, Array]:
        """The crops around these heads: landmark boxes (B, 4) px, and rolls (B,) degrees."""
        roll = crop_roll(roll_in_image(self.rotation, self.crop_roll), self.crop_roll)
        return upright_box(self.landmarks, roll), roll

    def replaced(self, rows: IndexArray, others: Alignments) -> Alignments:
        """Return these heads with others in some rows."""
        order = np.arange(len(self))
        order[rows] = len(self) + np.arange(len(others))
        return Alignments.join([self, others])[order]

    @staticmethod
    def join(parts: list[Alignments]) -> Alignments:
        """Concatenate batches, at least one."""
        if len(parts) == 1:
            return parts[0]
        return Alignments(**{name: np.concatenate([getattr(part, name) for part in parts])
                             for name in vars(parts[0])})


class HeadAligner:
    """
    A network in its engine, without state between images, so that trackers can share it.

    :param engine: runs the network.
    :param head_model: whose shapes and expressions the network estimates.
    :param files: the files of the model.

    Example::

        aligner = HeadAligner.load(device='cpu')
        cameras = [HeadPipeline(aligner, make_detector()) for _ in range(2)]
    """

    expression_names: tuple[str, ...]
    """Names of the E expression coefficients."""
    triangles: IndexArray
    """(T, 3) vertex indices, counter-clockwise seen from outside."""
    landmark_indices: IndexArray
    """(68,) vertex indices of the landmarks."""
    input_size: int
    """Side of the crop, px."""
    crop_scale: float
    """Side of the crop / longer side of the landmark box."""

    def __init__(self, engine: Engine, head_model: HeadModel, files: ModelFiles) -> None:
        self.engine = engine
        self.head_model = head_model
        self.files = files
        self.input_size, self.crop_scale = crop_settings(files.path, files.metadata)
        self.expression_names = head_model.expression_names
        self.triangles = head_model.triangles
        self.landmark_indices = head_model.landmark_indices
        self._mean, self._basis = head_model.landmark_rows()

    @classmethod
    def load(
        cls, model: str | os.PathLike[str] | None = None, device: str = 'auto',
        backend: str = 'auto', threads: int = 0,
    ) -> HeadAligner:
        """
        Load a model.

        :param model: path of either file of a model, or 'default' or 'open' for one that comes
            with the package; None is 'default'.
        :param device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
        :param backend: 'auto', 'onnxruntime', 'openvino', 'opencv' or 'torch'.
        :param threads: of the CPU for the network; 0 is at most two.
        :return: the aligner.
        :raises UserError: for a device or an engine that does not exist, or a file that is not a
            valid model.
        """
        files = open_model(model)
        engine = open_engine(files, backend, device, threads)
        return cls(engine, files.head_model(), files)

    def moved(self, device: str, backend: str = 'auto', threads: int = 0) -> HeadAligner:
        """
        Return the same model on a device.

        :param device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
        :param backend: as for `load`.
        :param threads: as for `load`.
        :return: this aligner where it is there already, else another one.
        :raises ValueError: for a device or an engine that does not exist, or when the file of the
            model has changed.
        """
        if choose_engine(self.files, backend, device) == (self.backend, self.device):
            return self
        return HeadAligner(open_engine(self.files, backend, device, threads), self.head_model,
                           self.files)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the files of the model say, by name."""
        return self.files.metadata

    @property
    def device(self) -> str:
        """Where the network runs: 'cpu' or 'cuda:N'."""
        return self.engine.device

    @property
    def backend(self) -> str:
        """Name of the engine."""
        return self.engine.backend

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

    def align(self, image: Image, boxes: Array, rolls: Array | None = None) -> Alignments:
        """
        Align the head in each landmark box.

        :param image: (H, W, 3) uint8 BGR.
        :param boxes: (B, 4) x0 y0 x1 y1 px.
        :param rolls: (B,) degrees by which the crops are turned, clockwise; None: not at all.
        :return: one alignment per box.
        """
        return self.align_images([(image, boxes, rolls)])[0]

    def align_images(
        self, requests: Sequence[tuple[Image, Array] | tuple[Image, Array, Array | None]],
    ) -> list[Alignments]:
        """
        Align the heads of several images, all crops in one batch.

        :param requests: images, boxes and perhaps rolls as for `align`, at least one.
        :return: the alignments of each image.
        """
        size = self.input_size
        windows = [(image, *crop_window(box, self.crop_scale))
                   for image, boxes, *_ in requests for box in boxes]
        rolls = np.concatenate([
            np.zeros(len(boxes)) if not turned or turned[0] is None else turned[0]
            for _, boxes, *turned in requests])
        crops = [crop_square(image, centre, side, size, roll, cv2.BORDER_REPLICATE)
                 for (image, centre, side), roll in zip(windows, rolls, strict=True)]
        centres = np.array([centre for _, centre, _ in windows]).reshape(-1, 2)
        sides = np.array([side for *_, side in windows])
        extents = np.array([image.shape[1::-1] for image, *_ in windows]).reshape(-1, 2)
        joined = Alignments.join([
            self._decode(crops[part], centres[part], sides[part], rolls[part], extents[part])
            for part in (slice(start, start + _MAX_BATCH)
                         for start in range(0, max(len(windows), 1), _MAX_BATCH))])
        ends = np.cumsum([len(boxes) for _, boxes, *_ in requests]).tolist()
        return [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def landmark_points(self, shape: Array, expression: Array) -> Array:
        """Return the landmarks (B, 68, 3) m of the head model in the head frame."""
        coefficients = np.concatenate([shape, expression], axis=1)
        return (self._mean + coefficients @ self._basis).reshape(-1, COUNT, 3)

    def vertices(self, shape: Array, expression: Array) -> Array:
        """Return the vertices (B, V, 3) m of the head model in the head frame."""
        return self.head_model.vertices(shape, expression).astype(np.float64)

    def _decode(
        self, crops: list[Image], centres: Array, sides: Array, rolls: Array, extents: Array,
    ) -> Alignments:
        found = self._estimates(crops)
        half = 0.5 * sides
        # From crop units to pixels; for rows of points.
        turn = roll_matrix(rolls)
        to_px = half[:, None, None] * turn.swapaxes(-1, -2)
        xy = found['landmarks'] @ to_px + centres[:, None]
        contour = xy.copy()
        contour[:, :JAW_COUNT] = found['contour'] @ to_px + centres[:, None]
        rotation = nearest_rotation(found['rotation'])
        rotation[:, :2] = turn @ rotation[:, :2]
        scale = np.exp(np.clip(found['log_scale'], *_LOG_SCALE_RANGE)) * half
        shape, expression = found['shape'], found['expression']
        points = self.landmark_points(shape, expression)
        depth = np.einsum('bpi,bi->bp', points - points[:, SELLION:SELLION + 1], rotation[:, 2])
        outside = part_outside(landmark_box(xy), extents)
        cut = 1.0 + (_CUT_FACTOR - 1.0) * np.minimum(outside / _CUT_PART, 1.0)
        landmark_scale = found['landmark_scale'][:, :COUNT] * (cut * half)[:, None]
        return Alignments(
            score=head_score(found['score'], landmark_scale, upright_box(xy, rolls)),
            landmarks=np.concatenate([xy, (depth * scale[:, None])[..., None]], axis=-1),
            contour=contour,
            landmark_scale=landmark_scale,
            cut_factor=cut,
            rotation=rotation,
            origin=(found['translation'][:, None] @ to_px)[:, 0] + centres,
            scale=scale,
            shape=shape,
            expression=expression,
            points=points,
            centre=centres,
            crop_roll=rolls,
        )

    def _estimates(self, crops: list[Image]) -> dict[str, Array]:
        """Return the network's outputs, by name, for B crops (S, S, 3) BGR."""
        shapes = self._output_shapes()
        if len(crops) == 0:
            return {name: np.zeros((0, *shape)) for name, shape in shapes.items()}
        found = self.engine.run(cv2.dnn.blobFromImages(crops, 1.0 / 255.0, swapRB=True))
        for name, shape in shapes.items():
            expected = (len(crops), *shape)
            if name not in found or found[name].size != math.prod(expected):
                answer = found[name].shape if name in found else 'nothing'
                raise UserError(f'{self.files.path}: its graph gives {answer} as {name}, expected '
                                f'{expected}; write it again with `trans3dhead export`')
            # OpenCV gives a column where others give numbers.
            found[name] = found[name].reshape(expected).astype(np.float64)
        return found

    def _output_shapes(self) -> dict[str, tuple[int, ...]]:
        return {'landmarks': (COUNT, 2), 'contour': (JAW_COUNT, 2),
                'landmark_scale': (COUNT + JAW_COUNT,), 'rotation': (3, 3), 'translation': (2,),
                'log_scale': (), 'shape': (self.head_model.shape_count,),
                'expression': (self.head_model.expression_count,), 'score': ()}


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
