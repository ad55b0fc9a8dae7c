"""`trans3dhead evaluate`: measure our network, or a peer, on labelled faces."""

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.training.data.readers import READERS, read_samples
from trans3dhead_ros.training.data.sample import Sample
from trans3dhead_ros.training.data.split import SPLITS
from trans3dhead_ros.training.data_root import DEFAULT, VARIABLE
from trans3dhead_ros.training.evaluation_report import format_report, report
from trans3dhead_ros.training.evaluation_views import Answer, ask
from trans3dhead_ros.training.predictors import make_predictor
from trans3dhead_ros.training.predictors.interface import PREDICTORS

Array = NDArray[np.float64]

_REFERENCE = '3ddfa_v2'


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    root = Path(os.environ.get(VARIABLE) or DEFAULT)
    parser = ArgumentParser(
        prog='trans3dhead evaluate', description=__doc__.split(': ', 1)[1])
    parser.add_argument('--data', default=f'crops:{root / "faces"}', metavar='FORMAT:PATH',
                        help=f'formats: {", ".join(READERS)} (see docs/evaluation.md); '
                             'default: %(default)s')
    parser.add_argument('--predictor', nargs='+', choices=PREDICTORS, default=['ours'],
                        metavar='NAME', help=f'one or more of {", ".join(PREDICTORS)}')
    parser.add_argument('--model', type=Path, help='checkpoint (default: the bundled one)')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--baselines', type=Path, default=root.parent / 'baselines',
                        help='folder with 3ddfa_v2/ and mediapipe/; default: %(default)s')
    parser.add_argument('--split', choices=SPLITS, default='validation')
    parser.add_argument('--limit', type=int, metavar='N', help='only N faces, evenly spread')
    parser.add_argument('--json', type=Path, help='write the figures here')
    parser.add_argument('--plots', type=Path, metavar='DIR',
                        help='write the cumulative error curve and the worst faces here')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead evaluate`; `ValueError` for a user's mistake."""
    options = _parse(argv)
    samples = read_samples(options.data, options.split)
    if options.limit is not None:
        if options.limit < 1:
            raise ValueError(f'limit: expected at least 1, got {options.limit}')
        steps = np.linspace(0, len(samples) - 1, min(options.limit, len(samples)))
        samples = [samples[int(step)] for step in steps]
    predictors = [make_predictor(name, model=options.model, device=options.device,
                                 baselines=options.baselines) for name in options.predictor]
    answers = {p.name: [ask(p, sample) for sample in _progress(samples, p.name)]
               for p in predictors}
    reference = _reference_yaw(samples, answers, options.baselines)
    results = {}
    for name, given in answers.items():
        results[name] = report(given, None if name == _REFERENCE else reference)
        print(f'{name} on {options.data}, {options.split}: {len(samples)} faces')
        print(format_report(results[name]), end='\n\n')
    if reference is None:
        print(f'sign of yaw not checked: no 3ddfa_v2/ in {options.baselines} (--baselines)')
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(
            {'data': options.data, 'split': options.split, 'results': results}, indent=2) + '\n')
    if options.plots:
        from trans3dhead_ros.training.evaluation_plots import write_plots
        write_plots(options.plots, answers)
    return 0


def _reference_yaw(samples: Sequence[Sample], answers: dict[str, list[Answer]],
                   baselines: Path) -> Array | None:
    """Return the yaw (N,) in degrees by 3DDFA_V2, or None where its weights are not at hand."""
    if _REFERENCE in answers:
        return np.array([answer.yaw for answer in answers[_REFERENCE]])
    if not (baselines / _REFERENCE).is_dir():
        return None
    reference = make_predictor(_REFERENCE, baselines=baselines)
    return np.array([ask(reference, sample, label_free=False).yaw
                     for sample in _progress(samples, 'reference')])


def _progress(samples: Sequence[Sample], name: str) -> Iterable[Sample]:
    return tqdm(samples, desc=name, unit='face', leave=False, disable=None)
