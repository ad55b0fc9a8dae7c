"""Measure the accuracy of our networks, or of others, on labelled faces, clips or whole heads."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.sources import FrameSource, open_source
from trans3dhead_ros.output_paths import check_outputs
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.data.sample import SPLITS
from trans3dhead_training.evaluation.dataset_evaluation import (
    DatasetEvaluation,
    evaluate_dataset,
    read_dataset,
)
from trans3dhead_training.evaluation.detection_evaluation import (
    DETECTION_SETS,
    SIDE,
    evaluate_detector,
    read_detection_set,
)
from trans3dhead_training.evaluation.jitter import (
    Jitter,
    detect_first_head,
    measure_jitter,
    track_head,
)
from trans3dhead_training.evaluation.motion import (
    MotionErrors,
    measure_motion,
    still_heads,
    track_in_boxes,
)
from trans3dhead_training.formats.readers import READERS
from trans3dhead_training.gate.frozen_sets import CLIPS, EYES, NODS, REPLAY, TURNS, read_frozen
from trans3dhead_training.predictors import PREDICTORS, Predictor, make_predictor
from trans3dhead_training.predictors.aligner_predictor import AlignerPredictor
from trans3dhead_training.predictors.head_detectors import HEAD_DETECTORS, make_head_detector
from trans3dhead_training.reports.detection_table import format_detection
from trans3dhead_training.reports.evaluation_report import compare, make_report
from trans3dhead_training.reports.evaluation_run import EvaluationRun, to_json
from trans3dhead_training.reports.text_report import (
    JITTER_TITLES,
    MOTION_TITLES,
    format_comparisons,
    format_report,
    format_table,
    jitter_rows,
    motion_rows,
)

OURS, REFERENCE = 'ours', '3ddfa_v2'

Made = TypeVar('Made')


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('--data', metavar='FORMAT:PATH',
                        help=f'formats: {", ".join(READERS)} (see docs/evaluation.md); for '
                             f'detectors: {", ".join(DETECTION_SETS)} (see docs/detector.md); '
                             'default: crops: with the folder faces/ in TRANS3DHEAD_DATA, or '
                             'none if --clip is given')
    parser.add_argument('--clip', nargs='*', metavar='SOURCE',
                        help='measure stillness and lag: ours on the rendered clips of the '
                             'package, all predictors on these videos, GIFs or folders of frames')
    parser.add_argument('--predictor', nargs='+', choices=(*PREDICTORS, *HEAD_DETECTORS),
                        default=[OURS], metavar='NAME',
                        help=f'one or more of {", ".join(PREDICTORS)}; for detectors: '
                             f'{", ".join(HEAD_DETECTORS)} (default: {OURS})')
    parser.add_argument('--model', type=Path, nargs='+', metavar='FILE',
                        help='models to evaluate as `ours` (default: the bundled one)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--baselines', type=Path, metavar='DIR',
                        help='folder with 3ddfa_v2/, mediapipe/ and yunet/')
    parser.add_argument('--flame', type=Path, metavar='FILE',
                        help='FLAME vertices of landmarks, face and head (.npz), for the '
                             'metrics of DAD-3DHeads; see docs/evaluation.md')
    parser.add_argument('--split', choices=SPLITS, default='validation',
                        help='part of the data set (default: %(default)s)')
    parser.add_argument('--limit', type=int, metavar='N',
                        help='evaluate only N faces, evenly spread')
    parser.add_argument('--labels-only', action='store_true',
                        help='skip the metrics that need no labels, which take most of the time')
    parser.add_argument('--draws', type=int, default=1000, metavar='N',
                        help='bootstrap draws for the intervals; 0: no intervals (default: '
                             '%(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the bootstrap')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all metrics to this file')
    parser.add_argument('--plots', type=Path, metavar='DIR', help='write plots to this folder')
    parser.add_argument('--html', type=Path, metavar='FILE',
                        help='write metrics and plots as one page')


def run(options: Namespace) -> int:
    """
    Evaluate predictors, print the metrics and write the requested files.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    for name, least in (('limit', 1), ('draws', 0), ('seed', 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f'{name}: expected at least {least}, got {value}')
    if options.data is None and options.clip is None:
        options.data = f'crops:{data_root() / "faces"}'
    if options.clip == [] and OURS not in options.predictor:
        raise UserError('clip: only our networks are measured on the rendered clips; give a '
                        f'SOURCE, or the predictor {OURS}')
    kind, separator, folder = (options.data or '').partition(':')
    if options.data and (not separator or kind not in {*READERS, *DETECTION_SETS}):
        raise UserError(f'data: {options.data!r} is not FORMAT:PATH with FORMAT one of '
                        + ', '.join((*READERS, *DETECTION_SETS)))
    check_outputs({'json': options.json, 'html': options.html},
                  [folder, *(options.clip or []), *map(str, options.model or [])], force=True)
    if kind in DETECTION_SETS:
        return _evaluate_detectors(options, kind, Path(folder))
    result = _evaluate(options)
    _print(result)
    if options.json:
        _write(options.json, json.dumps(to_json(result), indent=1, allow_nan=False) + '\n')
    if options.plots or options.html:
        # Matplotlib is slow to import.
        from trans3dhead_training.reports.evaluation_plots import draw_figures
        from trans3dhead_training.reports.html_report import html_page
        evaluation = result.evaluation
        figures = [] if evaluation is None else draw_figures(
            evaluation.results, result.reports, evaluation.reference_yaw)
        if options.plots:
            options.plots.mkdir(parents=True, exist_ok=True)
            for figure in figures:
                (options.plots / f'{figure.name}.png').write_bytes(figure.png)
        if options.html:
            models = ', '.join(map(str, options.model or ['the bundled one']))
            _write(options.html, html_page(result, models, figures))
    return 0


def _evaluate(options: Namespace) -> EvaluationRun:
    samples = ([] if options.data is None
               else read_dataset(options.data, options.split, options.limit))
    sources = {clip: open_source(clip) for clip in options.clip or []}
    predictors = _predictors(options)
    evaluation, reports = None, {}
    if samples:
        evaluation = evaluate_dataset(
            samples, predictors, _reference(options, predictors),
            label_free=not options.labels_only, flame=options.flame)
        for name, results in evaluation.results.items():
            reference_yaw = None if name == REFERENCE else evaluation.reference_yaw
            reports[name] = make_report(results, reference_yaw, options.draws, options.seed)
    return EvaluationRun(
        options.data, options.split, options.draws, options.seed, evaluation, reports,
        compare(reports) if reports else [],
        {clip: _jitter(source, predictors) for clip, source in sources.items()},
        {} if options.clip is None else _motion(predictors),
        [] if evaluation is None else _remarks(options.baselines, evaluation))


def _evaluate_detectors(options: Namespace, kind: str, folder: Path) -> int:
    for name in ('html', 'clip', 'flame'):
        if getattr(options, name) is not None:
            raise UserError(f'--{name}: not for detectors; leave it out with --data {kind}:')
    validation = None if options.split == 'all' else options.split == 'validation'
    detectors = _made(options, make_head_detector)
    pictures = read_detection_set(kind, folder, validation, options.limit)
    results = {name: evaluate_detector(detector, kind, pictures, not options.labels_only)
               for name, detector in detectors.items()}
    print(f'{options.data}, {options.split}, longer side {SIDE} px')
    print(format_detection(results))
    if options.json:
        _write(options.json, json.dumps({name: result.metrics for name, result in results.items()},
                                        indent=1) + '\n')
    if options.plots:
        from trans3dhead_training.reports.detection_plots import write_detection_plots
        write_detection_plots(options.plots, results, {
            name: detector.default_score for name, detector in detectors.items()})
    return 0


def _predictors(options: Namespace) -> dict[str, Predictor]:
    """Return the predictors by their name in the report."""
    return _made(options, make_predictor)


def _made(options: Namespace, make: Callable[..., Made]) -> dict[str, Made]:
    """Return the requested predictors by their names in the report."""
    result = {}
    for name in dict.fromkeys(options.predictor):
        models = options.model if name == OURS and options.model else [None]
        for model in models:
            label = name if len(models) == 1 else f'{name}:{model.parent.name}/{model.stem}'
            if label in result:
                raise UserError(f'model: {model} and another one are both named {label}')
            result[label] = make(name, model=model, device=options.device,
                                 baselines=options.baselines)
    return result


def _reference(options: Namespace, predictors: dict[str, Predictor]) -> Predictor | None:
    """Return 3DDFA_V2; None where its weights are not available."""
    if REFERENCE in predictors:
        return predictors[REFERENCE]
    if options.baselines is None or not (options.baselines / REFERENCE).is_dir():
        return None
    return make_predictor(REFERENCE, baselines=options.baselines)


def _jitter(source: FrameSource, predictors: dict[str, Predictor]) -> dict[str, Jitter]:
    with source:
        start, box = detect_first_head(HeadPipeline.load(device='cpu'), source)
        jitters = {}
        for name, predictor in predictors.items():
            tracked = track_head(predictor, source, start, box)
            jitters[name] = measure_jitter(tracked)
            if isinstance(predictor, AlignerPredictor):
                frames = (frame for frame in source if frame.index >= start)
                smoothed = track_in_boxes(predictor.aligner, (
                    (frame.image, landmark_box(alignment.landmarks), frame.stamp)
                    for frame, alignment in zip(frames, tracked, strict=False)))
                jitters[name] = replace(jitters[name], smoothed=measure_jitter(smoothed))
        return jitters


def _motion(predictors: dict[str, Predictor]) -> dict[str, MotionErrors]:
    """Return what the rendered clips say of our networks."""
    sets = {name: read_frozen(name) for name in (REPLAY, *CLIPS)}
    return {name: measure_motion(predictor.aligner, still_heads(sets[REPLAY]), sets[TURNS],
                                 sets[NODS], sets[EYES])
            for name, predictor in predictors.items() if isinstance(predictor, AlignerPredictor)}


def _remarks(baselines: Path | None, evaluation: DatasetEvaluation) -> list[str]:
    remarks = []
    if evaluation.reference_yaw is None:
        where = f'in {baselines}' if baselines else 'named'
        remarks.append(f'sign of yaw not checked: no 3ddfa_v2/ {where} (--baselines)')
    if evaluation.unreadable:
        remarks.append(f'images that could not be read and are skipped: '
                       f'{len(evaluation.unreadable)}: ' + ', '.join(evaluation.unreadable))
    return [*remarks, *evaluation.remarks]


def _print(result: EvaluationRun) -> None:
    for name, report in result.reports.items():
        print(f'{name} on {result.data}, {result.split}: {len(report.errors)} faces')
        print(format_report(report), end='\n\n')
    for remark in result.remarks:
        print(remark)
    if result.comparisons:
        print('differences on the same faces (negative is better, except for AUC):')
        print(format_comparisons(result.comparisons))
    for clip, jitters in result.jitters.items():
        print(f'\njitter on {clip}:')
        print(format_table(JITTER_TITLES, jitter_rows(jitters)))
    if result.motion:
        print('\nstillness and lag on rendered heads:')
        print(format_table(MOTION_TITLES, motion_rows(result.motion)))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')
