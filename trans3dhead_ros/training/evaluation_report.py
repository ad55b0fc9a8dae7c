"""The figures of an evaluation, for JSON and for reading."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.geometry import euler_from_rotation, geodesic_distance_deg
from trans3dhead_ros.training import metrics
from trans3dhead_ros.training.evaluation_views import BOX_JITTER, TURN_DEG, Answer

Array = NDArray[np.float64]

SURE_YAW_DEG = 20.0
"""Where 3DDFA_V2 puts a yaw beyond this, its sign is taken as true."""


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
    result: dict[str, Any] = {'faces': len(answers)}
    labelled = [a for a in answers if a.sample.points is not None]
    if labelled:
        result |= _measure_landmarks(labelled)
        if len(labelled) < len(answers):
            result['faces_with_landmarks'] = len(labelled)
    result |= _measure_pose([a for a in answers if a.sample.rotation is not None])
    result |= _measure_label_free(answers)
    scores = [a.plain.score for a in answers if a.plain.score is not None]
    headless = [score for a in answers for score in a.headless_scores]
    if scores and headless:
        result['score'] = {
            'heads': len(scores), 'no_heads': len(headless),
            'area_under_curve': metrics.receiver_operating_area(
                np.array(scores + headless), np.arange(len(scores + headless)) < len(scores))}
    has_rotation = all(a.plain.rotation is not None for a in answers)
    if reference_yaw is not None and has_rotation and (abs(reference_yaw) > SURE_YAW_DEG).any():
        yaw = np.array([a.yaw for a in answers])
        result['yaw_sign'] = {
            'faces': int((np.abs(reference_yaw) > SURE_YAW_DEG).sum()),
            'agree_percent': 100 * metrics.yaw_sign_agreement(yaw, reference_yaw, SURE_YAW_DEG)}
    return result


def _measure_landmarks(answers: Sequence[Answer]) -> dict[str, Any]:
    """Errors of the points, of samples that all have them; by true yaw where all have a pose."""
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
    result: dict[str, Any] = {name: 100 * float(values.mean()) for name, values in errors.items()}
    offset = 100 * metrics.inner_offset(landmarks, true).mean(axis=0)
    result['inner_51_offset_percent'] = {'x': float(offset[0]), 'y': float(offset[1])}
    # Sets labelled in 2D are scored by the inner points, those labelled in 3D by all.
    in_3d = all(a.sample.points_are_3d for a in answers)
    scored = 'nme_68_percent' if in_3d else 'inner_51_interocular_percent'
    result['failures_percent'] = 100 * metrics.failure_rate(errors[scored])
    result['area_under_curve'] = metrics.area_under_curve(errors[scored])
    if all(a.sample.rotation is not None for a in answers):
        yaw = labelled_euler(np.stack([a.sample.rotation for a in answers]))[:, 0]
        result['nme_68_by_yaw_percent'] = {
            name: 100 * value
            for name, value in metrics.mean_by_yaw(errors['nme_68_percent'], yaw).items()}
    return result


def _measure_pose(answers: Sequence[Answer]) -> dict[str, Any]:
    """Errors of the rotation, of samples that all have one and of a predictor that gives one."""
    answers = [a for a in answers if a.plain.rotation is not None]
    if not answers:
        return {}
    true = np.stack([a.sample.rotation for a in answers])
    predicted = np.stack([a.plain.rotation for a in answers])
    result: dict[str, Any] = {}
    error = metrics.pose_absolute_error(euler_from_rotation(predicted), labelled_euler(true))
    if len(error):
        yaw, pitch, roll = (float(value) for value in error.mean(axis=0))
        result['pose_error_deg'] = {
            'faces': len(error), 'yaw': yaw, 'pitch': pitch, 'roll': roll,
            'mean': (yaw + pitch + roll) / 3}
    result['geodesic_deg'] = float(geodesic_distance_deg(predicted, true).mean())
    return result


def labelled_euler(rotation: Array) -> Array:
    """
    Decode true rotations (N, 3, 3) to the angles (N, 3) in degrees that a labeller would write.

    Beyond ±90° of yaw the plain decode folds to an upside-down head; of the two triples of one
    rotation this returns the one with the smaller largest angle, so that a label of 95° stays 95°.
    """
    plain = euler_from_rotation(rotation)
    other = (plain * [-1, 1, 1] + 360) % 360 - 180
    smaller = np.abs(other).max(axis=-1) < np.abs(plain).max(axis=-1)
    return np.where(smaller[:, None], other, plain)


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
    columns = {key: column for key, column in columns.items()
               if any(key in row for row in rows.values())}
    names = [name for name in rows if name != 'all'] + ['all']
    wide = max(len(name) for name in names) + 2
    lines = [' ' * wide + '  '.join(title for title, _ in columns.values())]
    for name in names:
        cells = (form.format(rows[name][key]).rjust(len(title)) if key in rows[name]
                 else '-'.rjust(len(title)) for key, (title, form) in columns.items())
        lines.append(name.ljust(wide) + '  '.join(cells))
    return '\n'.join([*lines, *_format_pose(rows['all'])])


def _format_pose(row: dict[str, Any]) -> Iterable[str]:
    if 'faces_with_landmarks' in row:
        yield f'landmarks are labelled on {row["faces_with_landmarks"]} of the faces'
    if 'inner_51_offset_percent' in row:
        offset = row['inner_51_offset_percent']
        yield (f'mean offset of the inner 51: x {offset["x"]:+.2f}, y {offset["y"]:+.2f} % of the '
               'box')
    if 'nme_68_by_yaw_percent' in row:
        yield '68 points by |yaw|, %: ' + ', '.join(
            f'{name} {value:.2f}' for name, value in row['nme_68_by_yaw_percent'].items())
    if 'pose_error_deg' in row:
        pose = row['pose_error_deg']
        yield (f'pose error: yaw {pose["yaw"]:.2f}°, pitch {pose["pitch"]:.2f}°, '
               f'roll {pose["roll"]:.2f}°, mean {pose["mean"]:.2f}° of {pose["faces"]} faces; '
               f'geodesic {row["geodesic_deg"]:.2f}°')
    elif 'geodesic_deg' in row:
        yield f'pose error: geodesic {row["geodesic_deg"]:.2f}°'
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
    if 'score' in row:
        score = row['score']
        yield (f'head score: AUC {score["area_under_curve"]:.3f}, {score["heads"]} heads against '
               f'{score["no_heads"]} boxes without one')
    if 'yaw_sign' in row:
        sign = row['yaw_sign']
        yield (f'sign of yaw as 3DDFA_V2 on {sign["agree_percent"]:.1f} % of the {sign["faces"]} '
               f'faces that it puts beyond {SURE_YAW_DEG:.0f}°')
