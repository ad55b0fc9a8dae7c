"""
Readers of the sets that a detector learns from, into memory.

A set of boxes is a folder of pictures with a `labels.csv`, of scenes one with a `labels.jsonl`.
"""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.data.labels import is_held_out, read_labels, table_text
from trans3dhead_training.detection.labelled_picture import (
    OUTLINE_COUNT,
    HeadLabels,
    LabelledPicture,
    bounds,
    ellipse_points,
)

MISSED_LABELS = Path(__file__).with_name('missed_labels.csv')
"""`file, x0, y0, x1, y1`: heads that their labellers missed. Those in held-out pictures were found
by visual inspection; those in training pictures are confident detections, without those that are
not heads on visual inspection."""

_SUFFIXES = ('.webp', '.jpg', '.jpeg', '.png')
_UPRIGHT_WEIGHT = 0.25
"""Weight of the assumption that a head in a photograph is upright."""
_MIN_SIDE_PX = 2.0
_FACE_SEEN, _FACE_UNSEEN = 0.35, 0.12
"""Shares of visible landmarks from which, and up to which, a face counts as seen or not."""
# Centre and sides of a landmark box in units of the sides of a labelled face: medians over those in
# which YuNet finds landmarks.
_FACE_BOX_SHIFT, _FACE_BOX_SCALE = np.array([0.0, -0.02]), np.array([0.98, 0.82])
_RIGHT_EYE, _LEFT_EYE = slice(36, 42), slice(42, 48)
_EYES_WEIGHT = 0.6
"""Trust in the roll of the line between the eyes."""
_MIN_EYE_DISTANCE = 0.28
"""Of the longer side of the landmark box; the eyes of a turned head say little about its roll."""


def read_head_boxes(folder: Path, validation: bool | None) -> list[LabelledPicture]:
    """
    Read pictures whose whole heads are labelled, from behind too.

    :param folder: with `labels.csv`: `file, source, x0, y0, x1, y1`. Heads in `MISSED_LABELS` are
        those that its labellers missed.
    :param validation: the held-out pictures, or the others; None: all.
    :return: the pictures.
    :raises UserError: the folder or a picture is missing.
    """
    missed: dict[str, list[list[float]]] = defaultdict(list)
    for row in _rows(MISSED_LABELS):
        missed[row['file']].append(_box(row))
    return [LabelledPicture(image, HeadLabels.of_boxes(boxes, up_weight=_UPRIGHT_WEIGHT),
                            missed=HeadLabels.of_boxes(_boxes(missed.get(name, [])))).shrunk()
            for name, image, boxes in _boxed(folder, validation)]


def read_face_boxes(folder: Path, validation: bool | None) -> list[LabelledPicture]:
    """
    Read pictures whose faces are labelled, masked or not; other heads may be in them.

    :param folder: with `labels.csv`: `file, mask, x0, y0, x1, y1`.
    :param validation: as for `read_head_boxes`.
    :return: the pictures.
    :raises UserError: the folder or a picture is missing.
    """
    pictures = []
    for _, image, boxes in _boxed(folder, validation):
        sides = boxes[:, 2:] - boxes[:, :2]
        centre = 0.5 * (boxes[:, :2] + boxes[:, 2:]) + _FACE_BOX_SHIFT * sides
        half = 0.5 * _FACE_BOX_SCALE * sides
        heads = HeadLabels.of_boxes(None, np.concatenate([centre - half, centre + half], axis=1),
                                    up_weight=_UPRIGHT_WEIGHT, face=1.0)
        pictures.append(LabelledPicture(image, heads, complete=False).shrunk())
    return pictures


def read_rooms(folder: Path, validation: bool | None) -> list[LabelledPicture]:
    """
    Read pictures without people.

    :param folder: of pictures.
    :param validation: as for `read_head_boxes`.
    :return: the pictures.
    :raises UserError: the folder is missing, or a picture cannot be read.
    """
    paths = [path for path in sorted(_checked(folder).iterdir())
             if path.suffix.lower() in _SUFFIXES and _chosen(path.name, validation)]
    return [LabelledPicture(_read(path), HeadLabels.none()).shrunk() for path in paths]


def read_face_crops(folder: Path, max_per_source: int, seed: int = 0) -> list[LabelledPicture]:
    """
    Read crops around one labelled face; held-out photographs are left out.

    :param folder: with `labels.csv`: `file, source, split, x0 … y67`.
    :param max_per_source: at most so many crops of each source, drawn at random.
    :param seed: of the draw.
    :return: the crops; around the face other heads may be seen.
    :raises UserError: the folder or a picture is missing.
    """
    rows = defaultdict(list)
    for record in read_labels(folder):
        if record.points is not None and not record.is_validation:
            rows[record.source].append(record)
    generator, pictures = np.random.default_rng(seed), []
    for source in sorted(rows):
        chosen = generator.permutation(len(rows[source]))[:max_per_source]
        pictures += [LabelledPicture(_read(rows[source][number].path),
                                     _face(rows[source][number].points), complete=False).shrunk()
                     for number in chosen]
    return pictures


def read_portraits(folder: Path, fits: Path) -> list[LabelledPicture]:
    """
    Read pictures of one face with a teacher's points.

    :param folder: that the names in the fits are relative to.
    :param fits: file of `trans3dhead prepare fits --portraits`.
    :return: the pictures whose fit was accepted; held-out ones are left out.
    :raises UserError: the file or a picture is missing.
    """
    if not fits.is_file():
        raise UserError(f'portrait_fits: no file {fits}; make it with `trans3dhead prepare fits '
                        "--portraits`, or set portrait_fits=''")
    with np.load(fits) as arrays:
        names, points, accepted = (arrays[key] for key in ('files', 'points', 'accepted'))
    return [LabelledPicture(_read(folder / name), _face(own), complete=False).shrunk()
            for name, own, good in zip(names.tolist(), points, accepted, strict=True)
            if good and not is_held_out(name)]


def read_scenes(folder: Path, validation: bool | None = None) -> list[LabelledPicture]:
    """
    Read the frames of `trans3dhead prepare scenes`.

    :param folder: with `labels.jsonl`.
    :param validation: as for `read_head_boxes`.
    :return: the pictures; all that can be known about their heads is known.
    :raises UserError: the folder or a picture is missing, or the labels are damaged.
    """
    path = _checked(folder) / 'labels.jsonl'
    if not path.is_file():
        raise UserError(f'scenes: no {path}; make it with `trans3dhead prepare scenes`')
    pictures = []
    try:
        entries = [json.loads(line) for line in path.read_text().splitlines()]
        for entry in entries:
            if _chosen(entry['file'], validation):
                labels = _scene_labels(entry['heads'])
                pictures.append(LabelledPicture(_read(folder / entry['file']), labels).shrunk())
    except UserError:
        raise
    except (IndexError, KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise UserError(f'scenes: {path} is damaged ({error!r}); make it again with `trans3dhead '
                        'prepare scenes`') from None
    return pictures


def _scene_labels(heads: list[dict[str, Any]]) -> HeadLabels:
    """Return the labels of the heads of one frame."""
    if not heads:
        return HeadLabels.none()
    apparent = np.array([head['apparent'] for head in heads])
    up, toward = apparent[:, :2, 2], -apparent[:, 2, 0]
    length = np.linalg.norm(up, axis=1)
    visible = np.array([head['face'] for head in heads])
    return HeadLabels(
        outline=ellipse_points(np.array([head['head_box'] for head in heads]), len(heads),
                               OUTLINE_COUNT),
        landmarks=np.ascontiguousarray(np.array(
            [head['landmarks'] for head in heads])[..., :2].transpose(0, 2, 1)),
        up=up / np.maximum(length, 1e-6)[:, None], up_weight=length,
        face=np.where(visible >= _FACE_SEEN, 1.0, np.where(
            (visible <= _FACE_UNSEEN) & (toward < 0.2), 0.0, np.nan)),
        shown=np.array([head['seen'] for head in heads]))


def _boxed(folder: Path, validation: bool | None) -> Iterator[tuple[str, Image, Array]]:
    """Yield the names and the pictures of a folder, and the boxes (N, 4) px of each."""
    boxes: dict[str, list[list[float]]] = defaultdict(list)
    for row in _table(folder):
        if _chosen(row['file'], validation):
            if row['x0']:
                boxes[row['file']].append(_box(row))
            else:
                boxes[row['file']] += []
    for name in sorted(boxes):
        found = _boxes(boxes[name])
        # A slip of the labeller's hand is a line, not a head.
        yield name, _read(folder / name), found[
            ((found[:, 2:] - found[:, :2]) >= _MIN_SIDE_PX).all(axis=1)]


def _face(points: Array) -> HeadLabels:
    """Return the labels of one face with points (68, 2) px."""
    labels = HeadLabels.of_boxes(None, bounds(points.T[None]), face=1.0)
    eyes = points[_LEFT_EYE].mean(axis=0) - points[_RIGHT_EYE].mean(axis=0)
    distance = float(np.linalg.norm(eyes))
    rolled = distance > _MIN_EYE_DISTANCE * np.ptp(points, axis=0).max()
    up = np.array([[eyes[1], -eyes[0]]]) / distance if rolled else labels.up
    return replace(labels, landmarks=np.ascontiguousarray(points.T)[None], up=up,
                   up_weight=np.array([_EYES_WEIGHT if rolled else 0.0]))


def _table(folder: Path) -> list[dict[str, str]]:
    path = _checked(folder) / 'labels.csv'
    if not path.is_file():
        raise UserError(f'data: no {path}')
    return _rows(path)


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table_text(path), newline='')))


def _box(row: dict[str, str]) -> list[float]:
    return [float(row[key]) for key in ('x0', 'y0', 'x1', 'y1')]


def _boxes(rows: list[list[float]]) -> Array:
    return np.array(rows).reshape(-1, 4)


def _checked(folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f'data: no folder {folder}')
    return folder


def _chosen(name: str, validation: bool | None) -> bool:
    return validation is None or is_held_out(name) == validation


def _read(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f'data: {path} cannot be read; restore or remove it')
    return image
