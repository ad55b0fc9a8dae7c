"""Every predictor's answers to every face of a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from trans3dhead_ros.errors import UserError
from trans3dhead_training.core import metrics
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.evaluation import dad_benchmark as dad_3dheads
from trans3dhead_training.evaluation.dense_errors import (
    HeadMesh,
    answered_mesh,
    measure_mesh,
    true_mesh,
)
from trans3dhead_training.evaluation.predictions import Answer, ask
from trans3dhead_training.evaluation.views import outline
from trans3dhead_training.formats.readers import read_samples
from trans3dhead_training.predictors import Predictor

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measured:
    """
    What was asked and answered.

    :ivar answers: of the same faces, by the predictor's name.
    :ivar reference_yaw: (N,) degrees by 3DDFA_V2; None where it is not at hand.
    :ivar unreadable: names of the faces whose picture could not be read, left out everywhere.
    :ivar remarks: what could not be measured, and why.
    """

    answers: dict[str, list[Answer]]
    reference_yaw: Array | None
    unreadable: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_faces(data: str, split: str, limit: int | None = None) -> list[Sample]:
    """
    Read a set, or `limit` of its faces, evenly spread.

    :raises ValueError: see `read_samples`; and for labels that are no numbers or have no extent.
    """
    samples = read_samples(data, split)
    if limit is not None:
        steps = np.linspace(0, len(samples) - 1, min(limit, len(samples)))
        samples = [samples[int(step)] for step in steps]
    for sample in samples:
        check(sample)
    return samples


def check(sample: Sample) -> None:
    """
    See that errors of this sample are numbers.

    :raises ValueError: naming the label that is no finite number, or a face without extent.
    """
    for name in ('points', 'contour', 'rotation', 'given_box', 'shape', 'expression'):
        value = getattr(sample, name)
        if value is not None and not np.isfinite(value).all():
            raise UserError(f'data: {name} of {sample.name} ({sample.source}) holds something '
                             'that is no finite number; mend or remove it')
    if not (np.ptp(outline(sample), axis=0) > 0).all():
        raise UserError(f'data: the face in {sample.name} ({sample.source}) has no extent; mend '
                         'or remove it')


def measure(
    samples: Sequence[Sample], predictors: Mapping[str, Predictor],
    reference: Predictor | None = None, label_free: bool = True, flame: Path | None = None,
) -> Measured:
    """
    Ask every predictor about every face.

    A picture that cannot be read is left out and named: a long evaluation does not end for it.

    :param reference: 3DDFA_V2, for the sign of yaw. :param flame: see `dad_3dheads.read_topology`.
    :raises ValueError: no picture could be read, or labels do not fit the head model.
    """
    meshes = {name: HeadMesh(p.head_model) for name, p in predictors.items()
              if p.head_model is not None}
    benchmark = _Benchmark(samples, flame)
    answers: dict[str, list[Answer]] = {name: [] for name in predictors}
    yaws, unreadable = [], []
    for sample in tqdm(samples, desc='faces', unit='face', leave=False, disable=None):
        try:
            image = sample.image()
        except ValueError:
            unreadable.append(sample.name)
            continue
        for name, predictor in predictors.items():
            answer = ask(predictor, sample, image, label_free)
            extra = _mesh_errors(meshes.get(name), answer) | benchmark.measure(
                answer, image.shape[0], meshes.get(name))
            answers[name].append(replace(answer, mesh=extra) if extra else answer)
            if predictor is reference:
                yaws.append(answer.yaw)
        if reference is not None and reference not in predictors.values():
            yaws.append(ask(reference, sample, image, label_free=False).yaw)
    if len(unreadable) == len(samples):
        raise UserError(f'data: none of the {len(samples)} pictures could be read, the first is '
                         f'{unreadable[0]}')
    return Measured(answers, np.array(yaws) if reference is not None else None, unreadable,
                    benchmark.remarks)


def _mesh_errors(mesh: HeadMesh | None, answer: Answer) -> dict[str, float]:
    if mesh is None:
        return {}
    true = true_mesh(mesh, answer.sample)
    if true is None:
        return {}
    return measure_mesh(mesh, answered_mesh(mesh, answer.plain), true,
                        float(metrics.box_size(outline(answer.sample))))


class _Benchmark:
    """What samples of DAD-3DHeads add, and nothing for others."""

    def __init__(self, samples: Sequence[Sample], flame: Path | None) -> None:
        subsets = {sample.picture.parents[1] for sample in samples
                   if sample.source == dad_3dheads.SOURCE and isinstance(sample.picture, Path)}
        self._boxes = {subset: dad_3dheads.head_boxes(subset) for subset in subsets}
        self._topology = None if flame is None else dad_3dheads.read_topology(flame)
        self.remarks = [] if flame or not subsets else [
            'NME, Chamfer distance and Z5 of DAD-3DHeads need to know which vertices of FLAME are '
            'landmarks, face and head (--flame, see docs/evaluation.md)']

    def measure(self, answer: Answer, height: int, mesh: HeadMesh | None) -> dict[str, float]:
        sample = answer.sample
        if sample.source != dad_3dheads.SOURCE or not isinstance(sample.picture, Path):
            return {}
        annotation = dad_3dheads.read_annotation(
            sample, height, self._boxes[sample.picture.parents[1]][sample.name])
        vertices = None if mesh is None else answered_mesh(mesh, answer.plain)
        return dad_3dheads.benchmark(
            annotation, self._topology, answer.plain, vertices,
            None if mesh is None else vertices[mesh.landmark_indices])
