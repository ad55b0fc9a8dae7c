"""One JSON object a frame, as `track --json` and the demo write it, and its error against truth."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import (
    geodesic_distance_deg,
    quaternion_from_rotation,
    rotation_from_quaternion,
)
from trans3dhead_ros.media.clip_truth import Truth
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.types import Array


def frame_record(
    index: int, stamp: float | None, heads: Sequence[Head], file: str | None = None,
) -> dict[str, Any]:
    """
    Return the record of one source frame, also when nothing was found.

    :param index: number of the frame in its source, from 0.
    :param stamp: seconds; None for a picture on its own.
    :param heads: what was found in it.
    :param file: the picture's path; None where the frame is not a file.
    :return: plain values; `file` is among them where there is one.
    """
    origin = {} if file is None else {'file': file}
    return {'frame': index, 'stamp': stamp, **origin, 'heads': [
        head_record(head.track_id, head.score, head.box, head.euler_deg, head.translation,
                    quaternion_from_rotation(head.rotation), head.landmarks)
        for head in heads]}


def head_record(
    track_id: int | None, score: float, box: ArrayLike, euler_deg: ArrayLike, position: ArrayLike,
    quaternion: ArrayLike, landmarks: ArrayLike,
) -> dict[str, Any]:
    """
    Return the record of one head.

    :param track_id: identity over time; None where there was no tracking.
    :param box: (4,) x0 y0 x1 y1 px.
    :param euler_deg: (3,) yaw, pitch, roll, the convention of `geometry`.
    :param position: (3,) m, the sellion in the camera optical frame.
    :param quaternion: (4,) x y z w, head frame → camera optical frame.
    :param landmarks: (68, 3) px; z smaller is nearer.
    """
    # Digits beyond a thousandth of a pixel or a hundredth of a millimetre only make files large.
    return {
        'id': track_id,
        'score': round(float(score), 4),
        'box': _rounded(box, 3),
        'euler_deg': _rounded(euler_deg, 3),
        'position': _rounded(position, 5),
        'quaternion': _rounded(quaternion, 7),
        'landmarks': _rounded(landmarks, 3),
    }


def _rounded(values: ArrayLike, digits: int) -> list[Any]:
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()


def write_records(path: str | Path, records: Iterable[dict[str, Any]]) -> None:
    """Write one object a line; each line is complete as soon as its frame is done."""
    with Path(path).open('w') as file:
        for record in records:
            file.write(record_line(record))
            file.flush()


def record_line(record: dict[str, Any]) -> str:
    """Return the line of a record; `ValueError` for a number that is not finite."""
    return json.dumps(record, allow_nan=False) + '\n'


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """
    Read the records of a file.

    :raises ValueError: the file is missing or a line is not a record; the message says which.
    """
    records = []
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise UserError(f'records: {path} cannot be read ({error.strerror})') from error
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            record = json.loads(line)
            record['frame'], record['stamp'], record['heads']
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f'records: {path} line {number} is not the record of a frame') from error
        records.append(record)
    return records


@dataclass(frozen=True, eq=False)
class PoseError:
    """How far the heads of a clip are from its truth; heads that were not found do not count."""

    rotation_deg: Array
    """(N,) degrees, the geodesic distance of every true head that was found."""
    position_m: Array
    """(N,) m, the distance of the sellion."""
    missed: int
    """How many heads of the truth, over all frames, were not found."""

    def __str__(self) -> str:
        """Return one line for a summary."""
        count = len(self.rotation_deg) + self.missed
        if not len(self.rotation_deg):
            return f'none of {count} true heads found'
        return (f'mean {self.rotation_deg.mean():.2f}°, '
                f'median {np.median(self.rotation_deg):.2f}°, '
                f'p95 {np.percentile(self.rotation_deg, 95):.2f}°; '
                f'position {1000 * self.position_m.mean():.0f} mm; '
                f'{len(self.rotation_deg)} of {count} true heads found')


def pose_error(records: Iterable[dict[str, Any]], truth: Truth) -> PoseError:
    """
    Compare the heads of every frame with the truth of the same frame number.

    Each true head is compared with the answer nearest in position, no answer with two: together
    the distances are the least. Answers beyond the number of true heads do not count.
    """
    by_frame = {record['frame']: record['heads'] for record in records}
    rotation, position = [], []
    for index, (true_rotation, true_position) in enumerate(
            zip(truth.rotation, truth.translation, strict=True)):
        heads = by_frame.get(index) or []
        places = np.array([head['position'] for head in heads], float).reshape(-1, 3)
        distance = np.linalg.norm(true_position[:, None] - places, axis=-1)
        for true, answer in zip(*linear_sum_assignment(distance), strict=True):
            answered = rotation_from_quaternion(np.array(heads[answer]['quaternion']))
            rotation.append(geodesic_distance_deg(answered, true_rotation[true]))
            position.append(distance[true, answer])
    return PoseError(np.array(rotation, float), np.array(position, float),
                     missed=truth.rotation.shape[0] * truth.rotation.shape[1] - len(rotation))
