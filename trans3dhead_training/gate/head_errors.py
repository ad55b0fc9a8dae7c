"""Errors of a model on labelled heads, each seen in several boxes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from trans3dhead_ros.perception.aligner import Alignments, HeadAligner
from trans3dhead_ros.perception.crop import (
    crop_roll,
    landmark_box,
    roll_in_image,
    upright_box,
)
from trans3dhead_ros.types import Array
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.evaluation.face_errors import collect_errors
from trans3dhead_training.evaluation.face_result import FaceResult
from trans3dhead_training.evaluation.image_perturbations import (
    BOX_DRAWS,
    corner_boxes,
    face_outline,
    faceless_copies,
    jittered_boxes,
)
from trans3dhead_training.predictors import Alignment

LANDMARKS, POSE, SCORE = 'landmarks', 'pose', 'score'

WORST = {LANDMARKS: 25.0, POSE: 45.0}
"""%, degrees: a larger error counts as this, so that a few failures do not decide a mean."""

VIEWS = 1 + BOX_DRAWS
"""Boxes in which each head is seen: its own, and such as a detector gives."""
_COLUMNS = {LANDMARKS: 'scored_percent', POSE: 'geodesic_deg'}


def head_errors(aligner: HeadAligner, samples: Sequence[Sample], name: str) -> dict[str, Array]:
    """
    Align every head in its box and in boxes that are off by a little.

    :param aligner: the model.
    :param samples: N heads.
    :param name: of the set, for the progress bar.
    :return: by `LANDMARKS` (% of the box, or of the distance of the eyes, as `trans3dhead evaluate`
        scores the labels) and `POSE` (degrees), where labels allow it: (N, `VIEWS`) errors, nan
        where there is no label; by `SCORE`: (N, `VIEWS`) probabilities.
    """
    found = [aligner.align(sample.image(), *_crops(sample)) for sample in tqdm(
        samples, desc=name, unit='head', leave=False, disable=None)]
    errors: dict[str, list[Array]] = {}
    for view in range(VIEWS):
        columns = collect_errors([FaceResult(sample, _alignment(alignments, view))
                                  for sample, alignments in zip(samples, found, strict=True)]
                                 ).columns
        for figure, column in _COLUMNS.items():
            if column in columns:
                errors.setdefault(figure, []).append(np.minimum(columns[column], WORST[figure]))
    return {**{figure: np.stack(views, axis=1) for figure, views in errors.items()},
            SCORE: np.stack([alignments.score for alignments in found])}


def no_head_scores(
    aligner: HeadAligner, places: Sequence[Sample], heads: Sequence[Sample], name: str,
) -> tuple[Array, list[str]]:
    """
    Return the scores of crops that show no head.

    :param aligner: the model.
    :param places: pictures without people; their boxes and some around them are taken.
    :param heads: pictures of heads, which are covered, scrambled or left out of the crop.
    :param name: of the set, for the progress bar.
    :return: (N, K) probabilities, nan where a picture has fewer crops, and the N groups.
    """
    rows = []
    for sample in tqdm([*places, *heads], desc=name, unit='picture', leave=False, disable=None):
        image = sample.image()
        if sample.points is None:
            rows.append(aligner.align(image, *_crops(sample)).score)
            continue
        box = landmark_box(face_outline(sample))
        parts = aligner.align_images([
            (image, corner_boxes(image, box)),
            *((copy, box[None]) for copy in faceless_copies(image, box))])
        rows.append(np.concatenate([part.score for part in parts]))
    widest = max(map(len, rows))
    return (np.stack([np.pad(row, (0, widest - len(row)), constant_values=np.nan)
                      for row in rows]),
            [sample.group for sample in (*places, *heads)])


def _crops(sample: Sample) -> tuple[Array, Array]:
    """
    Return landmark boxes (`VIEWS`, 4) px and rolls (`VIEWS`,), as tracking makes crops.

    They depend on the sample alone, so that all models see the same ones.
    """
    outline, roll = face_outline(sample), np.zeros(1)
    if sample.rotation is not None:
        roll = crop_roll(roll_in_image(np.asarray(sample.rotation, float)[None]))
    box = upright_box(outline[None], roll)[0]
    generator = np.random.default_rng(zlib.crc32(sample.group.encode()))
    boxes = np.concatenate([box[None], jittered_boxes(box, generator)])
    return boxes, np.repeat(roll, len(boxes))


def _alignment(found: Alignments, view: int) -> Alignment:
    return Alignment(landmarks=found.landmarks[view, :, :2], contour=found.contour[view],
                     rotation=found.rotation[view], score=float(found.score[view]),
                     landmark_scale=found.landmark_scale[view])
