"""Runs predictors on every face of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array
from trans3dhead_training.core import metrics
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.evaluation import dad_metrics
from trans3dhead_training.evaluation.face_result import FaceResult, check_labels, evaluate_face
from trans3dhead_training.evaluation.image_perturbations import face_outline
from trans3dhead_training.evaluation.mesh_errors import (
    HeadMesh,
    compute_mesh_errors,
    predicted_mesh,
    true_mesh,
)
from trans3dhead_training.formats.readers import read_samples
from trans3dhead_training.predictors import Predictor


@dataclass(frozen=True, eq=False)
class DatasetEvaluation:
    """The results of all predictors on one dataset."""

    results: dict[str, list[FaceResult]]
    """On the same faces, by the predictor's name."""
    reference_yaw: Array | None
    """(N,) degrees by 3DDFA_V2; None where it is not available."""
    unreadable: list[str] = field(default_factory=list)
    """Names of the faces that are left out because their image could not be read."""
    remarks: list[str] = field(default_factory=list)
    """What could not be measured, and why."""


def read_dataset(data: str, split: str, limit: int | None = None) -> list[Sample]:
    """
    Read a dataset, or a number of its faces, evenly spread.

    :param data: `FORMAT:PATH`.
    :param split: one of `SPLITS`.
    :param limit: number of faces; None reads all.
    :return: the samples.
    :raises UserError: see `read_samples` and `check_labels`.
    """
    samples = read_samples(data, split)
    if limit is not None:
        steps = np.linspace(0, len(samples) - 1, min(limit, len(samples)))
        samples = [samples[int(step)] for step in steps]
    for sample in samples:
        check_labels(sample)
    return samples


def evaluate_dataset(
    samples: Sequence[Sample], predictors: Mapping[str, Predictor],
    reference: Predictor | None = None, label_free: bool = True, flame: Path | None = None,
) -> DatasetEvaluation:
    """
    Run every predictor on every face.

    An image that cannot be read is left out and named, so that it does not end a long evaluation.

    :param samples: of the dataset.
    :param predictors: by name.
    :param reference: 3DDFA_V2, for the sign of yaw.
    :param label_free: see `evaluate_face`.
    :param flame: see `dad_metrics.read_topology`.
    :return: the results.
    :raises UserError: no image could be read, or labels do not fit the head model.
    """
    meshes = {name: HeadMesh(p.head_model) for name, p in predictors.items()
              if p.head_model is not None}
    dad = _DadBenchmark(samples, flame)
    results: dict[str, list[FaceResult]] = {name: [] for name in predictors}
    yaws, unreadable = [], []
    for sample in tqdm(samples, desc='faces', unit='face', leave=False, disable=None):
        try:
            image = sample.image()
        except UserError:
            unreadable.append(sample.name)
            continue
        for name, predictor in predictors.items():
            result = evaluate_face(predictor, sample, image, label_free)
            extra = _mesh_errors(meshes.get(name), result) | dad.measure(
                result, image.shape[0], meshes.get(name))
            results[name].append(replace(result, extra=extra) if extra else result)
            if predictor is reference:
                yaws.append(result.yaw)
        if reference is not None and reference not in predictors.values():
            yaws.append(evaluate_face(reference, sample, image, label_free=False).yaw)
    if len(unreadable) == len(samples):
        raise UserError(f'data: none of the {len(samples)} images could be read, the first is '
                        f'{unreadable[0]}')
    return DatasetEvaluation(results, np.array(yaws) if reference is not None else None,
                             unreadable, dad.remarks)


def _mesh_errors(mesh: HeadMesh | None, result: FaceResult) -> dict[str, float]:
    true = None if mesh is None else true_mesh(mesh, result.sample)
    if true is None:
        return {}
    return compute_mesh_errors(mesh, predicted_mesh(mesh, result.prediction), true,
                               float(metrics.box_size(face_outline(result.sample))))


class _DadBenchmark:
    """The metrics that samples of DAD-3DHeads add; none for other samples."""

    def __init__(self, samples: Sequence[Sample], flame: Path | None) -> None:
        subsets = {sample.picture.parents[1] for sample in samples
                   if sample.source == dad_metrics.SOURCE and isinstance(sample.picture, Path)}
        self._boxes = {subset: dad_metrics.read_head_boxes(subset) for subset in subsets}
        self._topology = None if flame is None else dad_metrics.read_topology(flame)
        self.remarks = [] if flame or not subsets else [
            'NME, Chamfer distance and Z5 of DAD-3DHeads need the vertices of FLAME that are '
            'landmarks, face and head (--flame, see docs/evaluation.md)']

    def measure(self, result: FaceResult, height: int, mesh: HeadMesh | None) -> dict[str, float]:
        sample = result.sample
        if sample.source != dad_metrics.SOURCE or not isinstance(sample.picture, Path):
            return {}
        annotation = dad_metrics.read_annotation(
            sample, height, self._boxes[sample.picture.parents[1]][sample.name])
        vertices = None if mesh is None else predicted_mesh(mesh, result.prediction)
        return dad_metrics.compute_dad_metrics(
            annotation, self._topology, result.prediction, vertices,
            None if mesh is None else vertices[mesh.landmark_indices])
