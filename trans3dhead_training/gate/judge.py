"""Judge a candidate on the frozen sets and on the user's own held-out heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.model_metadata import model_path
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.types import Array, BoolArray
from trans3dhead_training.data.sample import Sample
from trans3dhead_training.data.shards import read_shards
from trans3dhead_training.evaluation.face_errors import decode_label_euler
from trans3dhead_training.evaluation.face_result import check_labels
from trans3dhead_training.evaluation.motion import (
    exact_lag_ms,
    still_heads,
    still_jitter,
    turn_lag,
)
from trans3dhead_training.gate.frozen_sets import (
    DARK,
    FROZEN,
    HEADS,
    MASKS,
    NO_HEADS,
    REPLAY,
    TURNS,
    read_frozen,
)
from trans3dhead_training.gate.head_errors import (
    LANDMARKS,
    POSE,
    SCORE,
    head_errors,
    no_head_scores,
)
from trans3dhead_training.gate.verdict import TARGET, Measurement, Verdict, compare

LARGE_YAW, LARGE_PITCH, LARGE_ROLL = 'yaw > 60°', 'pitch > 25°', 'roll > 40°'
SCORES, STILL, TURN = 'scores', 'still head', 'turning head'


def judge(
    candidate: str | Path, current: str | Path | None = None, held_out: Path | None = None, *,
    frozen: Path = FROZEN,
) -> Verdict:
    """
    Compare a candidate with the model in use.

    Both are asked for the same samples, and the candidate passes where no figure is worse and, with
    `held_out`, where that is better. Nothing is written.

    :param candidate: path of either file of the candidate.
    :param current: path of either file of the model in use, or the name of one that comes with the
        package; None is the bundled one.
    :param held_out: folder of shards of the user's own heads; where some are marked as held out,
        only these count. None judges without a target.
    :param frozen: folder of the frozen sets.
    :return: the verdict.
    :raises UserError: a model or a shard is missing or damaged, or `held_out` has no labels.
    """
    candidate, current = Path(candidate), model_path(current)
    target = None if held_out is None else _read_target(held_out)
    sets = {name: read_frozen(name, frozen) for name in (*HEADS, NO_HEADS, TURNS)}
    aligners = [HeadAligner.load(path, 'cpu') for path in (current, candidate)]
    before, after = (dict(_measure(aligner, sets, target)) for aligner in aligners)
    hashes = [str(aligner.metadata['sha256']) for aligner in aligners]
    return Verdict(candidate, hashes[1], current, hashes[0], compare(before, after))


Named = tuple[tuple[str, str], Measurement]


def _measure(
    aligner: HeadAligner, sets: dict[str, list[Sample]], target: list[Sample] | None,
) -> Iterator[Named]:
    """Yield every measurement of a model by set and figure."""
    heads = [sample for name in HEADS for sample in sets[name]]
    errors = head_errors(aligner, heads, 'heads')
    for name, chosen in _subsets(heads).items():
        yield from _head_figures(name, errors, heads, chosen)
    groups = [sample.group for sample in heads]
    yield (SCORES, 'missed heads'), Measurement(100 * (1 - errors[SCORE]), groups, '%')
    scores, places = no_head_scores(aligner, sets[NO_HEADS], sets[REPLAY], NO_HEADS)
    yield (SCORES, 'false heads'), Measurement(100 * scores, places, '%')
    still = still_heads(sets[REPLAY])
    points, turns = still_jitter(aligner, still)
    groups = [sample.group for sample in still]
    yield (STILL, 'jitter of landmarks'), Measurement(points, groups, '%')
    yield (STILL, 'jitter of pose'), Measurement(turns, groups, '°')
    # A lag below that of exact answers counts as theirs, or to be steadier would be worse.
    lags = np.maximum(turn_lag(aligner, sets[TURNS]), exact_lag_ms())
    yield (TURN, 'lag'), Measurement(lags, [f'{TURNS}{number}' for number in range(len(lags))],
                                     'ms')
    if target is not None:
        yield from _head_figures(TARGET, head_errors(aligner, target, TARGET), target,
                                 np.ones(len(target), bool))


def _head_figures(
    name: str, errors: dict[str, Array], heads: Sequence[Sample], chosen: BoolArray,
) -> Iterator[Named]:
    groups = [sample.group for sample, one in zip(heads, chosen, strict=True) if one]
    for figure, unit in ((LANDMARKS, '%'), (POSE, '°')):
        if figure in errors and not np.isnan(errors[figure][chosen]).all():
            yield (name, figure), Measurement(errors[figure][chosen], groups, unit)


def _subsets(heads: Sequence[Sample]) -> dict[str, BoolArray]:
    """Return which heads make the sets of faces, by truth: (N,) by name."""
    source = np.array([sample.source for sample in heads])
    rotations = np.stack([sample.rotation for sample in heads])
    yaw, pitch, roll = np.abs(decode_label_euler(rotations)).T
    # From behind, a pose is a guess.
    faces = rotations[:, 2, 0] < 0
    return {
        REPLAY: faces & (source == REPLAY),
        LARGE_YAW: faces & (yaw > 60), LARGE_PITCH: faces & (pitch > 25),
        LARGE_ROLL: faces & (roll > 40),
        DARK: faces & (source == DARK), MASKS: faces & (source == MASKS)}


def _read_target(folder: Path) -> list[Sample]:
    samples = read_shards(folder)
    samples = [sample for sample in samples if sample.is_validation] or samples
    if all(sample.points is None and sample.rotation is None for sample in samples):
        raise UserError(f'held-out: {folder} holds no head with points or a rotation')
    for sample in samples:
        check_labels(sample)
    return samples
