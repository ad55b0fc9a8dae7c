"""The stage `evaluate`: the candidate beside the current model, on held-out heads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trans3dhead_ros.atomic_files import write_bytes, write_json
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.model_files.gate_verdict import write_verdict
from trans3dhead_ros.perception.crop import to_crop_units
from trans3dhead_ros.types import Image
from trans3dhead_training.core.contact_sheet import (
    LABEL_COLOUR,
    contact_sheet,
    draw_landmarks,
)
from trans3dhead_training.evaluation.dataset_evaluation import evaluate_dataset, read_dataset
from trans3dhead_training.gate.judge import judge
from trans3dhead_training.gate.verdict_table import format_verdict
from trans3dhead_training.predictors import make_predictor
from trans3dhead_training.reports.evaluation_report import ALL, Report, make_report
from trans3dhead_training.update.collected_heads import CollectedHeads
from trans3dhead_training.update.label_fitting import HeadFits
from trans3dhead_training.update.labelling import LabelledHeads
from trans3dhead_training.update.recording_maker import held_out_heads, usable
from trans3dhead_training.update.update_config import UpdateConfig
from trans3dhead_training.update.update_run import UpdateRun
from trans3dhead_training.update.whole_files import read_json

FIGURES = {'geodesic_deg': 'pose, degrees', 'inner_51_percent': 'inner 51 points, % of the box',
           'nme_68_contour_percent': '68 points, % of the box',
           'labelled_percent': 'labelled points, % of the box'}
_DRAWS = 1000
_TILE_PX, _COLUMNS, _TILES = 160, 8, 64


def evaluate(run: UpdateRun, current: Path, config: UpdateConfig) -> dict[str, Any]:
    """
    Compare the candidate with the current model, judge it, and write the report and the verdict.

    :param run: with a candidate.
    :param current: path of the current model.
    :param config: the settings.
    :return: the report.
    :raises UserError: a shard or a model cannot be read.
    """
    verdict = judge(run.candidate, current, run.held_out)
    write_verdict(run.candidate, verdict.to_json())
    models = {'current': make_predictor('ours', model=current, device='cpu'),
              'candidate': make_predictor('ours', model=run.candidate, device='cpu')}
    figures = {}
    for name, folder in (('held out', run.held_out), ('replay', run.data)):
        samples = read_dataset(f'shards:{folder}', 'validation')
        found = evaluate_dataset(samples, models, label_free=False)
        reports = {model: make_report(results, draws=_DRAWS, seed=config.seed)
                   for model, results in found.results.items()}
        figures[name] = {'heads': len(samples), **_figures(reports)}
    report = {'run': read_json(run.manifest)['run'], 'heads': describe_heads(run, config),
              'figures': figures, 'gate': verdict.to_json()}
    write_sheet(run)
    write_bytes(run.report.with_suffix('.md'), (
        f'{format_report(report)}\n## Gate\n\n```\n{format_verdict(verdict)}\n```\n').encode())
    # Last: with it the stage is complete.
    write_json(run.report, report)
    return report


def describe_heads(run: UpdateRun, config: UpdateConfig) -> dict[str, Any]:
    """Return what became of the collected heads: how many, of how many people, why left out."""
    labels, fits = LabelledHeads.load(run.labels), HeadFits.load(run.fits)
    kept = usable(labels, fits)
    held_out = held_out_heads(labels[kept], config.held_out)
    people = labels.person[kept]
    return {'collected': len(CollectedHeads.load(run.heads)), 'labelled': int(kept.sum()),
            'by hand': int(labels.by_hand[kept].sum()),
            'people': len(set(people.tolist())), 'held out': int(held_out.sum()),
            'people held out': len(set(people[held_out].tolist())),
            'split': 'by person' if len(set(people.tolist())) > 1 else
            'in time, because all heads belong to one person or one track',
            'left out': dict(Counter(str(reason) for reason in fits.reason[~kept]))}


def format_report(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    heads = report['heads']
    lines = [f'# Update {report["run"]}', '',
             f'* heads collected: {heads["collected"]}',
             *(f'* rejected, {reason}: {count}' for reason, count in heads['left out'].items()),
             f'* labelled: {heads["labelled"]}, of which {heads["by hand"]} by hand; people or '
             f'tracks: {heads["people"]}',
             f'* held out: {heads["held out"]}; people or tracks: {heads["people held out"]}; '
             f'split {heads["split"]}', '']
    lines += ['| heads | figure | current | candidate |', '|---|---|---|---|']
    for name, part in report['figures'].items():
        for figure, title in FIGURES.items():
            if figure in part:
                row = part[figure]
                cells = [f'{row[model]["value"]:.2f} ({row[model]["low"]:.2f}–'
                         f'{row[model]["high"]:.2f})' for model in ('current', 'candidate')]
                lines.append(f'| {name}, {part["heads"]} | {title} | {cells[0]} | {cells[1]} |')
    lines += ['', '95 % intervals in parentheses. Held-out heads without hand labels are labelled '
              'with averaged predictions of the current model: their figures show that the '
              'candidate agrees with that average, not that the average is right.']
    return '\n'.join(lines) + '\n'


def write_sheet(run: UpdateRun) -> None:
    """Draw some crops with their labels, evenly spread, as `heads.jpg`."""
    labels, fits = LabelledHeads.load(run.labels), HeadFits.load(run.fits)
    rows = np.unique(np.linspace(0, len(labels) - 1, min(_TILES, len(labels))).astype(int))
    tiles = [_tile(run, labels, fits, int(row)) for row in rows]
    sheet = contact_sheet([tiles[start:start + _COLUMNS]
                           for start in range(0, len(tiles), _COLUMNS)])
    write_bytes(run.path / 'heads.jpg', cv2.imencode('.jpg', sheet)[1].tobytes())


def _tile(run: UpdateRun, labels: LabelledHeads, fits: HeadFits, row: int) -> Image:
    image = cv2.imread(str(run.crops / str(labels.name[row])))
    if image is None:
        raise UserError(f'{run.crops / str(labels.name[row])}: cannot be read')
    size = image.shape[0]
    tile = cv2.resize(image, (_TILE_PX, _TILE_PX), interpolation=cv2.INTER_AREA)
    centre = np.full(2, (size - 1) / 2)
    draw_landmarks(tile, to_crop_units(labels.points[row], centre, size), LABEL_COLOUR)
    text = str(fits.reason[row]) or f'{labels.person[row]}: {100 * labels.spread[row]:.1f} %'
    cv2.putText(tile, text, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 255, 255), 1, cv2.LINE_AA)
    return tile


def _figures(reports: Mapping[str, Report]) -> dict[str, dict[str, dict[str, float]]]:
    estimates = {model: report.estimates[ALL] for model, report in reports.items()}
    result: dict[str, dict[str, dict[str, float]]] = {}
    for figure in FIGURES:
        if all(figure in found for found in estimates.values()):
            result[figure] = {}
            for model, found in estimates.items():
                low, high = found[figure].interval or (found[figure].value,) * 2
                result[figure][model] = {'value': float(found[figure].value), 'low': float(low),
                                         'high': float(high)}
    return result
