"""Views of labelled pictures in memory: what a detector is trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.detection.detection_batch import DetectionBatch
from trans3dhead_training.detection.labelled_picture import HeadLabels, LabelledPicture
from trans3dhead_training.detection.light_augmentation import LightConfig, change_light
from trans3dhead_training.detection.view_sampling import (
    ViewConfig,
    ViewLabels,
    render_view,
    view_labels,
    view_matrix,
)

_MAX_PASTED = 4
_PASTED_PX = (8.0, 260.0)
_MOSAIC_ZOOM = 0.6


@dataclass(frozen=True)
class SourceShares:
    """Relative shares of the sources among the views; 0 leaves a source out."""

    heads: float = 0.5
    """Photographs in which whole heads are labelled."""
    masks: float = 0.1
    """Photographs in which only faces are labelled."""
    rooms: float = 0.28
    """Pictures without people."""
    faces: float = 0.12
    """Faces with landmarks, pasted into pictures without people."""
    scenes: float = 0.18
    """Frames with synthetic people."""


@dataclass(frozen=True)
class DetectionSampling:
    """What the views of a training show."""

    size: int = 320
    """Side of the square views, px; a multiple of 32."""
    shares: SourceShares = field(default_factory=SourceShares)
    """Sampling share of each source."""
    mosaic_share: float = 0.2
    """Share of the views that are composed of four smaller ones."""
    views: ViewConfig = field(default_factory=ViewConfig)
    """Scale, rotation and position of the views."""
    light: LightConfig = field(default_factory=LightConfig)
    """Light and sharpness of the views."""

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 32:
            raise UserError(f'size: expected a multiple of 32, got {self.size}')


@dataclass(frozen=True, eq=False)
class _View:
    image: Image
    labels: ViewLabels
    complete: bool


class DetectionDataset:
    """
    Random views of pictures.

    :param pictures: by the names of `SourceShares`; what is missing or empty has no share.
    :param sampling: what the views show.
    :raises UserError: there is nothing to draw from.
    """

    def __init__(
        self, pictures: Mapping[str, Sequence[LabelledPicture]], sampling: DetectionSampling,
    ) -> None:
        shares = asdict(sampling.shares)
        unknown = sorted(set(pictures) - set(shares))
        if unknown:
            raise UserError(f'sources: unknown: {", ".join(unknown)}')
        self.pictures = pictures
        self.sampling = sampling
        self.names = [name for name, share in shares.items() if share > 0 and pictures.get(name)
                      # Faces are pasted into rooms.
                      and (name != 'faces' or pictures.get('rooms'))]
        if not self.names:
            raise UserError('shares: no source with a share has pictures')
        share = np.array([shares[name] for name in self.names])
        self._share = share / share.sum()

    def training_batch(
        self, count: int, seed: Sequence[int], share: tuple[int, int] = (0, 1),
    ) -> DetectionBatch:
        """
        Make views; each depends on the seed and on its number in the batch alone.

        :param count: size of a whole batch.
        :param seed: of the batch.
        :param share: (rank, size) of a process that makes only its part of the batch.
        :return: the batch, or the part.
        """
        views = [self._training_view(np.random.default_rng((*seed, number)))
                 for number in range(share[0], count, share[1])]
        return DetectionBatch.stack([view.image for view in views],
                                    [view.labels for view in views],
                                    [view.complete for view in views])

    def _training_view(self, generator: np.random.Generator) -> _View:
        side = self.sampling.size
        mosaic = generator.random() < self.sampling.mosaic_share
        view = self._mosaic(generator) if mosaic else self._view(generator, (side, side), 1.0)
        return replace(view, image=change_light(view.image, generator, self.sampling.light))

    def _mosaic(self, generator: np.random.Generator) -> _View:
        side = self.sampling.size
        x, y = (int(side * generator.uniform(0.35, 0.65)) for _ in range(2))
        canvas = np.empty((side, side, 3), np.uint8)
        heads, ignored = [], []
        for left, right, top, bottom in ((0, x, 0, y), (x, side, 0, y), (0, x, y, side),
                                         (x, side, y, side)):
            view = self._view(generator, (right - left, bottom - top), _MOSAIC_ZOOM)
            canvas[top:bottom, left:right] = view.image
            shift = np.array([left, top], dtype=float)
            heads.append(view.labels.heads.moved(np.column_stack([np.eye(2), shift])))
            ignored.append(view.labels.ignored + np.tile(shift, 2))
            if not view.complete:
                ignored.append(np.array([[left, top, right, bottom]]) - 0.5)
        return _View(canvas, ViewLabels(HeadLabels.join(heads), np.concatenate(ignored)), True)

    def _view(self, generator: np.random.Generator, size: tuple[int, int],
              zoom_factor: float) -> _View:
        name = self.names[int(generator.choice(len(self.names), p=self._share))]
        if name == 'faces':
            return self._pasted(generator, size)
        pictures = self.pictures[name]
        picture = pictures[int(generator.integers(len(pictures)))]
        config = self.sampling.views
        matrix = view_matrix(picture, size, generator, config, zoom_factor)
        colour = generator.integers(0, 256, 3) if generator.random() < 0.5 else np.zeros(3)
        labels = view_labels(picture.heads.moved(matrix), size, config)
        missed = picture.missed.moved(matrix).extent_box
        return _View(render_view(picture.image, matrix, size, colour),
                     replace(labels, ignored=np.concatenate([labels.ignored, missed])),
                     picture.complete)

    def _pasted(self, generator: np.random.Generator, size: tuple[int, int]) -> _View:
        """Paste a few faces, with what the photograph shows around them, into a room."""
        rooms, faces = self.pictures['rooms'], self.pictures['faces']
        config = self.sampling.views
        room = rooms[int(generator.integers(len(rooms)))]
        canvas = render_view(room.image, view_matrix(room, size, generator, config), size,
                             np.zeros(3))
        heads, ignored = [HeadLabels.none()], [np.zeros((0, 4))]
        covered = np.zeros(canvas.shape[:2], np.uint8)
        for _ in range(int(generator.integers(1, _MAX_PASTED + 1))):
            face = faces[int(generator.integers(len(faces)))]
            matrix = _pasted_matrix(face, size, generator)
            mask = _paste_mask(face.image, matrix, size, generator)
            if (covered & mask).any():
                continue
            covered |= mask
            image = render_view(face.image, matrix, size, np.zeros(3))
            soft = cv2.blur(mask, (3, 3)).astype(np.float32)[..., None] / 255
            canvas = (canvas + soft * (image.astype(np.float32) - canvas)).astype(np.uint8)
            labels = view_labels(face.heads.moved(matrix), size, config)
            x, y, width, height = cv2.boundingRect(mask)
            heads.append(labels.heads)
            # Other heads may be seen around the face.
            ignored += [labels.ignored, np.array([[x, y, x + width, y + height]]) - 0.5]
        return _View(canvas, ViewLabels(HeadLabels.join(heads), np.concatenate(ignored)), True)


def _pasted_matrix(face: LabelledPicture, size: tuple[int, int],
                   generator: np.random.Generator) -> Array:
    box = face.heads.landmark_box[0]
    low, high = np.log(_PASTED_PX)
    scale = np.exp(generator.uniform(low, high)) / max(box[3] - box[1], 1.0)
    # Photographs of faces are small: enlarged much further, they would only be blurred.
    scale = min(float(scale), 2.5)
    turn = np.deg2rad(generator.normal(0, 12) if generator.random() < 0.8
                      else generator.uniform(-180, 180))
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    flip = np.diag([-1.0 if generator.random() < 0.5 else 1.0, 1.0])
    linear = np.array([[cos, -sin], [sin, cos]]) @ flip
    return np.column_stack([linear, generator.random(2) * size
                            - linear @ (0.5 * (box[:2] + box[2:]))])


def _paste_mask(image: Image, matrix: Array, size: tuple[int, int],
                generator: np.random.Generator) -> Image:
    """Return (height, width) 255 where a picture is pasted: all of it, or an ellipse inside."""
    height, width = image.shape[:2]
    mask = np.full((height, width), 255, np.uint8)
    if generator.random() < 0.5:
        mask[:] = 0
        cv2.ellipse(mask, (width // 2, height // 2), (width // 2 - 1, height // 2 - 1), 0, 0, 360,
                    255, -1)
    return cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_NEAREST)
