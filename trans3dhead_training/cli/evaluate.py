"""Measure our network, or a peer, on labelled faces and on clips."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.media.sources import FrameSource, open_source
from trans3dhead_ros.perception.pipeline import HeadPipeline
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.data.sample import SPLITS
from trans3dhead_training.evaluation.jitter import Jitter, first_box, follow, jitter
from trans3dhead_training.evaluation.measure import Measured, measure, read_faces
from trans3dhead_training.formats.readers import READERS
from trans3dhead_training.predictors import Predictor, make_predictor
from trans3dhead_training.predictors.predictor import PREDICTORS
from trans3dhead_training.reports.evaluation_report import compare, report
from trans3dhead_training.reports.outcome import Outcome, record
from trans3dhead_training.reports.text import (
    format_comparisons,
    format_jitter,
    format_report,
)

OURS, REFERENCE = 'ours', '3ddfa_v2'


def add_arguments(parser: ArgumentParser) -> None:
    """
    Declare the arguments.

    :param parser: of the subcommand.
    """
    parser.add_argument('--data', metavar='FORMAT:PATH',
                        help=f'formats: {", ".join(READERS)} (see docs/evaluation.md); default: '
                             'crops: of the folder faces/ in TRANS3DHEAD_DATA, or nothing with '
                             '--clip')
    parser.add_argument('--clip', nargs='+', default=[], metavar='SOURCE',
                        help='videos, GIFs or folders of frames, to measure jitter over time')
    parser.add_argument('--predictor', nargs='+', choices=PREDICTORS, default=[OURS],
                        metavar='NAME', help=f'one or more of {", ".join(PREDICTORS)}')
    parser.add_argument('--model', type=Path, nargs='+', metavar='FILE',
                        help='checkpoints of ours (default: the bundled one)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--baselines', type=Path, metavar='DIR',
                        help='folder with 3ddfa_v2/ and mediapipe/')
    parser.add_argument('--flame', type=Path, metavar='FILE',
                        help="which vertices of FLAME are what (.npz), for DAD-3DHeads' measures")
    parser.add_argument('--split', choices=SPLITS, default='validation')
    parser.add_argument('--limit', type=int, metavar='N', help='only N faces, evenly spread')
    parser.add_argument('--labels-only', action='store_true',
                        help='leave out what needs no labels, and most of the time')
    parser.add_argument('--draws', type=int, default=1000, metavar='N',
                        help='bootstrap draws for the intervals, 0: none; default: %(default)s')
    parser.add_argument('--seed', type=int, default=0, help='of the bootstrap')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all figures here')
    parser.add_argument('--plots', type=Path, metavar='DIR', help='write the pictures here')
    parser.add_argument('--html', type=Path, metavar='FILE',
                        help='write everything here, as one page')


def run(options: Namespace) -> int:
    """
    Evaluate predictors, print the figures and write the files that are asked for.

    :param options: as `add_arguments` declares them.
    :return: exit code.
    :raises UserError: for a user's mistake.
    """
    if options.data is None and not options.clip:
        options.data = f'crops:{data_root() / "faces"}'
    for name, least in (('limit', 1), ('draws', 0), ('seed', 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f'{name}: expected at least {least}, got {value}')
    outcome = _evaluate(options)
    _print(outcome)
    if options.json:
        _write(options.json, json.dumps(record(outcome), indent=1, allow_nan=False) + '\n')
    if options.plots or options.html:
        # Matplotlib takes its time to load.
        from trans3dhead_training.reports.html import page
        from trans3dhead_training.reports.plots import draw_pictures
        pictures = [] if outcome.measured is None else draw_pictures(
            outcome.measured.answers, outcome.reports, outcome.measured.reference_yaw)
        if options.plots:
            options.plots.mkdir(parents=True, exist_ok=True)
            for picture in pictures:
                (options.plots / f'{picture.name}.png').write_bytes(picture.png)
        if options.html:
            models = ', '.join(map(str, options.model or ['the bundled one']))
            _write(options.html, page(outcome, models, pictures))
    return 0


def _evaluate(options: Namespace) -> Outcome:
    samples = [] if options.data is None else read_faces(options.data, options.split, options.limit)
    sources = {clip: open_source(clip) for clip in options.clip}
    predictors = _predictors(options)
    measured, reports = None, {}
    if samples:
        measured = measure(samples, predictors, _reference(options, predictors),
                           label_free=not options.labels_only, flame=options.flame)
        for name, answers in measured.answers.items():
            reference_yaw = None if name == REFERENCE else measured.reference_yaw
            reports[name] = report(answers, reference_yaw, options.draws, options.seed)
    return Outcome(
        options.data, options.split, options.draws, options.seed, measured, reports,
        compare(reports) if reports else [],
        {clip: _jitter(source, predictors) for clip, source in sources.items()},
        [] if measured is None else _remarks(options.baselines, measured))


def _predictors(options: Namespace) -> dict[str, Predictor]:
    """Return the predictors by the name that they have in the report."""
    result = {}
    for name in dict.fromkeys(options.predictor):
        models = options.model if name == OURS and options.model else [None]
        for model in models:
            label = name if len(models) == 1 else f'{name}:{model.parent.name}/{model.stem}'
            if label in result:
                raise UserError(f'model: {model} and another one are both named {label}')
            result[label] = make_predictor(name, model=model, device=options.device,
                                           baselines=options.baselines)
    return result


def _reference(options: Namespace, predictors: dict[str, Predictor]) -> Predictor | None:
    """3DDFA_V2, or None where its weights are not at hand."""
    if REFERENCE in predictors:
        return predictors[REFERENCE]
    if options.baselines is None or not (options.baselines / REFERENCE).is_dir():
        return None
    return make_predictor(REFERENCE, baselines=options.baselines)


def _jitter(source: FrameSource, predictors: dict[str, Predictor]) -> dict[str, Jitter]:
    with source:
        start, box = first_box(HeadPipeline.load(device='cpu'), source)
        return {name: jitter(follow(predictor, source, start, box))
                for name, predictor in predictors.items()}


def _remarks(baselines: Path | None, measured: Measured) -> list[str]:
    remarks = []
    if measured.reference_yaw is None:
        where = f'in {baselines}' if baselines else 'named'
        remarks.append(f'sign of yaw not checked: no 3ddfa_v2/ {where} (--baselines)')
    if measured.unreadable:
        remarks.append(f'pictures that could not be read and are left out: '
                       f'{len(measured.unreadable)}: ' + ', '.join(measured.unreadable))
    return [*remarks, *measured.remarks]


def _print(outcome: Outcome) -> None:
    for name, found in outcome.reports.items():
        print(f'{name} on {outcome.data}, {outcome.split}: {len(found.errors)} faces')
        print(format_report(found), end='\n\n')
    for remark in outcome.remarks:
        print(remark)
    if outcome.comparisons:
        print('differences on the same faces (negative is better, but for the AUC):')
        print(format_comparisons(outcome.comparisons))
    for clip, found in outcome.jitters.items():
        print(f'\njitter on {clip}, nothing smoothed:')
        print(format_jitter(found))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')
