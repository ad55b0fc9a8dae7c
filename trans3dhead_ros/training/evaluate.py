"""`trans3dhead evaluate`: measure our network, or a peer, on labelled faces."""

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.geometry import (
    euler_from_rotation,
    geodesic_distance_deg,
    rotation_from_euler,
)
from trans3dhead_ros.landmarks import mirror_points
from trans3dhead_ros.perception.crop import landmark_box
from trans3dhead_ros.perception.source import read_picture
from trans3dhead_ros.training import metrics
from trans3dhead_ros.training.data_root import DEFAULT, VARIABLE
from trans3dhead_ros.training.evaluation_sets import SPLITS, Sample, read_samples
from trans3dhead_ros.training.predictors import Alignment, Predictor, make_predictor
from trans3dhead_ros.training.predictors.interface import PREDICTORS

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

TURN_DEG = 25.0
BOX_JITTER = 0.05
"""Share of the box's size by which the label-free test shifts it and scales it."""

SURE_YAW_DEG = 20.0
"""Where 3DDFA_V2 puts a yaw beyond this, its sign is taken as true."""

_REFERENCE = '3ddfa_v2'


@dataclass(frozen=True, eq=False)
class Answer:
    """What a predictor said about one face, plain and under changes that need no labels."""

    sample: Sample
    plain: Alignment
    #: Geodesic degrees against the plain answer, two turns, one mirror image, two other boxes.
    turn_deg: tuple[float, ...] = ()
    mirror_deg: float | None = None
    box_deg: tuple[float, ...] = ()
    #: Change of the inner 51 points under another box, over the size of the true box.
    box_points: tuple[float, ...] = ()

    @property
    def yaw(self) -> float:
        """Yaw in degrees; nan where the predictor gives no rotation."""
        if self.plain.rotation is None:
            return float('nan')
        return float(euler_from_rotation(self.plain.rotation)[0])


def ask(predictor: Predictor, sample: Sample, label_free: bool = True) -> Answer:
    """
    Align one face in its true box and, if asked, under turns, in a mirror and with other boxes.

    :raises ValueError: the picture cannot be read.
    """
    image, points = read_picture(sample.path), sample.points
    plain = _align(predictor, image, points)
    if not label_free:
        return Answer(sample, plain)
    box_points, box_deg = [], []
    for moved in _jittered(points):
        other = _align(predictor, image, moved)
        box_points.append(float(metrics.mean_point_error(
            other.landmarks[17:], plain.landmarks[17:]) / metrics.box_size(points)))
        if other.rotation is not None:
            box_deg.append(float(geodesic_distance_deg(plain.rotation, other.rotation)))
    if plain.rotation is None:
        return Answer(sample, plain, box_points=tuple(box_points))
    turned = (_align(predictor, *turn_picture(image, points, angle)).rotation
              for angle in (TURN_DEG, -TURN_DEG))
    mirrored = _align(predictor, np.ascontiguousarray(image[:, ::-1]),
                      mirror_points(points, image.shape[1])).rotation
    return Answer(
        sample, plain,
        turn_deg=tuple(float(metrics.turn_error_deg(plain.rotation, rotation, angle))
                       for rotation, angle in zip(turned, (TURN_DEG, -TURN_DEG), strict=True)),
        mirror_deg=float(metrics.mirror_error_deg(plain.rotation, mirrored)),
        box_deg=tuple(box_deg), box_points=tuple(box_points))


def _align(predictor: Predictor, image: Image, points: Array) -> Alignment:
    return predictor.predict(image, landmark_box(points)[None])[0]


def _jittered(points: Array) -> list[Array]:
    """Points whose boxes are shifted and scaled by `BOX_JITTER`, one way and the other."""
    box = landmark_box(points)
    centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    return [centre + sign * BOX_JITTER * size + (points - centre) * (1 + sign * BOX_JITTER)
            for sign in (1, -1)]


def turn_picture(image: Image, points: Array, degrees: float) -> tuple[Image, Array]:
    """Turn a picture and its points about the face; cv2's sign, counter-clockwise on the screen."""
    box = landmark_box(points)
    centre = (box[:2] + box[2:]) / 2
    turn = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), degrees, 1.0)
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(image, turn, size), points @ turn[:, :2].T + turn[:, 2]


def report(answers: Sequence[Answer], reference_yaw: Array | None = None) -> dict[str, Any]:
    """
    Return the measures of all answers and of every source.

    :param reference_yaw: (N,) degrees by 3DDFA_V2; None where it was not asked.
    """
    rows = {'all': _measure(answers, reference_yaw)}
    for source in sorted({answer.sample.source for answer in answers}):
        chosen = np.array([answer.sample.source == source for answer in answers])
        part = [answer for answer, take in zip(answers, chosen, strict=True) if take]
        rows[source] = _measure(part, None if reference_yaw is None else reference_yaw[chosen])
    return rows


def _measure(answers: Sequence[Answer], reference_yaw: Array | None) -> dict[str, Any]:
    true = np.stack([a.sample.points for a in answers])
    landmarks = np.stack([a.plain.landmarks for a in answers])
    errors = {
        'nme_68_percent': metrics.nme_68(landmarks, true),
        'inner_51_percent': metrics.nme_inner(landmarks, true),
        'inner_51_interocular_percent': metrics.nme_inner_interocular(landmarks, true),
    }
    if all(a.plain.contour is not None for a in answers):
        contour = np.stack([a.plain.contour for a in answers])
        errors['nme_68_contour_percent'] = metrics.nme_68(contour, true)
    result: dict[str, Any] = {'faces': len(answers)}
    result |= {name: 100 * float(values.mean()) for name, values in errors.items()}
    # Sets labelled in 2D are scored by the inner points, those labelled in 3D by all.
    in_3d = all(a.sample.points_are_3d for a in answers)
    scored = 'nme_68_percent' if in_3d else 'inner_51_interocular_percent'
    result['failures_percent'] = 100 * metrics.failure_rate(errors[scored])
    result['area_under_curve'] = metrics.area_under_curve(errors[scored])
    result |= _measure_pose(answers, errors['nme_68_percent'])
    result |= _measure_label_free(answers)
    has_rotation = all(a.plain.rotation is not None for a in answers)
    if reference_yaw is not None and has_rotation and (abs(reference_yaw) > SURE_YAW_DEG).any():
        yaw = np.array([a.yaw for a in answers])
        result['yaw_sign'] = {
            'faces': int((np.abs(reference_yaw) > SURE_YAW_DEG).sum()),
            'agree_percent': 100 * metrics.yaw_sign_agreement(yaw, reference_yaw, SURE_YAW_DEG)}
    return result


def _measure_pose(answers: Sequence[Answer], nme_68: Array) -> dict[str, Any]:
    """Errors of the pose where labels and predictor have one, and landmarks by true yaw."""
    posed = [a for a in answers if a.sample.euler_deg is not None]
    result: dict[str, Any] = {}
    if len(posed) == len(answers):
        yaw = np.array([a.sample.euler_deg[0] for a in answers])
        result['nme_68_by_yaw_percent'] = {
            name: 100 * value for name, value in metrics.mean_by_yaw(nme_68, yaw).items()}
    posed = [a for a in posed if a.plain.rotation is not None]
    if posed:
        true = np.stack([a.sample.euler_deg for a in posed])
        predicted = np.stack([a.plain.rotation for a in posed])
        error = metrics.pose_absolute_error(euler_from_rotation(predicted), true)
        if len(error):
            yaw, pitch, roll = (float(value) for value in error.mean(axis=0))
            result['pose_error_deg'] = {
                'faces': len(error), 'yaw': yaw, 'pitch': pitch, 'roll': roll,
                'mean': (yaw + pitch + roll) / 3}
        result['geodesic_deg'] = float(
            geodesic_distance_deg(predicted, rotation_from_euler(true)).mean())
    return result


def _measure_label_free(answers: Sequence[Answer]) -> dict[str, Any]:
    gathered = {
        'turn_deg': [value for a in answers for value in a.turn_deg],
        'mirror_deg': [a.mirror_deg for a in answers if a.mirror_deg is not None],
        'box_deg': [value for a in answers for value in a.box_deg],
        'box_inner_51_percent': [100 * value for a in answers for value in a.box_points],
    }
    return {name: {'median': float(np.median(values)), 'p90': float(np.percentile(values, 90))}
            for name, values in gathered.items() if values}


def format_report(rows: dict[str, Any]) -> str:
    """Return the table and the lines that `evaluate` prints."""
    columns = {
        'faces': ('faces', '{:d}'), 'nme_68_percent': ('68 pts %', '{:.2f}'),
        'nme_68_contour_percent': ('68 contour %', '{:.2f}'),
        'inner_51_percent': ('inner 51 %', '{:.2f}'),
        'inner_51_interocular_percent': ('51/inter-ocular %', '{:.2f}'),
        'failures_percent': ('failures %', '{:.1f}'), 'area_under_curve': ('AUC', '{:.3f}'),
    }
    names = [name for name in rows if name != 'all'] + ['all']
    wide = max(len(name) for name in names) + 2
    lines = [' ' * wide + '  '.join(title for title, _ in columns.values())]
    for name in names:
        cells = (form.format(rows[name][key]).rjust(len(title)) if key in rows[name]
                 else '-'.rjust(len(title)) for key, (title, form) in columns.items())
        lines.append(name.ljust(wide) + '  '.join(cells))
    return '\n'.join([*lines, *_format_pose(rows['all'])])


def _format_pose(row: dict[str, Any]) -> Iterable[str]:
    if 'nme_68_by_yaw_percent' in row:
        yield '68 points by |yaw|, %: ' + ', '.join(
            f'{name} {value:.2f}' for name, value in row['nme_68_by_yaw_percent'].items())
    if 'pose_error_deg' in row:
        pose = row['pose_error_deg']
        yield (f'pose error: yaw {pose["yaw"]:.2f}°, pitch {pose["pitch"]:.2f}°, '
               f'roll {pose["roll"]:.2f}°, mean {pose["mean"]:.2f}° of {pose["faces"]} faces; '
               f'geodesic {row["geodesic_deg"]:.2f}°')
    words = {
        'turn_deg': f'picture turned by ±{TURN_DEG:.0f}°: rotation error',
        'mirror_deg': 'picture mirrored: rotation error',
        'box_deg': f'box shifted and scaled by ±{100 * BOX_JITTER:.0f} %: rotation changes',
        'box_inner_51_percent': f'box shifted and scaled by ±{100 * BOX_JITTER:.0f} %: points move',
    }
    for name, text in words.items():
        if name in row:
            unit = '°' if name.endswith('deg') else ' % of the box'
            yield f'{text} median {row[name]["median"]:.2f}{unit}, p90 {row[name]["p90"]:.2f}{unit}'
    if 'yaw_sign' in row:
        sign = row['yaw_sign']
        yield (f'sign of yaw as 3DDFA_V2 on {sign["agree_percent"]:.1f} % of the {sign["faces"]} '
               f'faces that it puts beyond {SURE_YAW_DEG:.0f}°')


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    root = Path(os.environ.get(VARIABLE) or DEFAULT)
    parser = ArgumentParser(
        prog='trans3dhead evaluate', description=__doc__.split(': ', 1)[1])
    parser.add_argument('--data', default=f'crops:{root / "faces"}', metavar='FORMAT:PATH',
                        help='crops:FOLDER (with labels.csv) or aflw:FOLDER (.jpg + .mat); '
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
