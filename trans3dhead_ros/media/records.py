"""Records of the heads in a frame, one JSON object per line, and their error to ground truth."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import (
    geodesic_distance_deg,
    rotation_from_quaternion,
)
from trans3dhead_ros.media.clip_truth import ClipTruth
from trans3dhead_ros.perception.head import Head
from trans3dhead_ros.types import Array


def frame_record(
    index: int, stamp: float | None, heads: Sequence[Head], file: str | None = None,
    page: int | None = None,
) -> dict[str, Any]:
    """
    Return the record of one source frame, also when nothing was found.

    :param index: number of the frame in its source, from 0.
    :param stamp: s; None for a still picture.
    :param heads: of the frame.
    :param file: path of the picture; None where the frame is not a file.
    :param page: number of the frame in a picture file of several, from 0; None for others.
    :return: JSON values, with the keys `file` and `page` only where there is one.
    """
    origin = {} if file is None else {'file': file}
    if page is not None:
        origin['page'] = page
    return {'frame': index, 'stamp': stamp, **origin, 'heads': [
        head_record(head.track_id, head.score, head.box, head.euler_deg, head.translation,
                    head.quaternion, head.landmarks, head.face_visible)
        for head in heads]}


def head_record(
    track_id: int | None, score: float, box: ArrayLike, euler_deg: ArrayLike, position: ArrayLike,
    quaternion: ArrayLike, landmarks: ArrayLike, face_visible: bool,
) -> dict[str, Any]:
    """
    Return the record of one head.

    :param track_id: identity over time; None without tracking.
    :param score: probability 0…1.
    :param box: (4,) x0 y0 x1 y1 px.
    :param euler_deg: (3,) yaw, pitch, roll, the convention of `geometry`.
    :param position: (3,) m, the sellion in the camera optical frame.
    :param quaternion: (4,) x y z w, head frame → camera optical frame.
    :param landmarks: (68, 3) px; smaller z is nearer.
    :param face_visible: False for a head from behind, whose landmarks are a guess.
    :return: JSON values.
    """
    # Rounded to a thousandth of a pixel and a hundredth of a millimetre, to keep files small.
    return {
        'id': track_id,
        'score': round(float(score), 4),
        'box': _rounded(box, 3),
        'euler_deg': _rounded(euler_deg, 3),
        'position': _rounded(position, 5),
        'quaternion': _rounded(quaternion, 7),
        'landmarks': _rounded(landmarks, 3),
        'face_visible': face_visible,
    }


def _rounded(values: ArrayLike, digits: int) -> list[Any]:
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()


def write_records(path: str | Path, records: Iterable[dict[str, Any]]) -> None:
    """Write one object per line, each as soon as its frame is processed."""
    with Path(path).open('w') as file:
        for record in records:
            file.write(record_line(record))
            file.flush()


def record_line(record: dict[str, Any]) -> str:
    """Return a record as a line of JSON; raises ValueError for numbers that are not finite."""
    return json.dumps(record, allow_nan=False) + '\n'


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """
    Read the records of a file.

    :param path: of the file.
    :return: the records, in order.
    :raises UserError: for a missing file, or a line that is not a record.
    """
    records = []
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise UserError(f'records: {path} cannot be read ({error.strerror})') from error
    except UnicodeDecodeError as error:
        raise UserError(f'records: {path} is not text ({error})') from error
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            record = json.loads(line)
            record['frame'], record['stamp'], record['heads']
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise UserError(
                f'records: {path} line {number} is not the record of a frame') from error
        records.append(record)
    return records


@dataclass(frozen=True, eq=False)
class PoseError:
    """Pose errors of the heads of a clip; those that were not found are counted apart."""

    rotation_deg: Array
    """(N,) degrees, geodesic error of the rotation of each true head that was found."""
    position_m: Array
    """(N,) m, error of the position of its sellion."""
    missed: int
    """Number of true heads, over all frames, that were not found."""

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


def pose_error(records: Iterable[dict[str, Any]], truth: ClipTruth) -> PoseError:
    """
    Compare the heads of every frame with the ground truth of the frame.

    In each frame heads are assigned to true heads one to one, with the least sum of distances.
    Further heads are ignored.

    :param records: as returned by `frame_record`.
    :param truth: of the same clip.
    :return: the errors.
    """
    from scipy.optimize import linear_sum_assignment  # slow to load, for the few sources with truth

    by_frame = {record['frame']: record['heads'] for record in records}
    rotation, position = [], []
    for index, (true_rotation, true_position) in enumerate(
            zip(truth.rotation, truth.translation, strict=True)):
        heads = by_frame.get(index) or []
        positions = np.array([head['position'] for head in heads], float).reshape(-1, 3)
        distance = np.linalg.norm(true_position[:, None] - positions, axis=-1)
        for true, found in zip(*linear_sum_assignment(distance), strict=True):
            estimate = rotation_from_quaternion(np.array(heads[found]['quaternion']))
            rotation.append(geodesic_distance_deg(estimate, true_rotation[true]))
            position.append(distance[true, found])
    return PoseError(np.array(rotation, float), np.array(position, float),
                     missed=truth.rotation.shape[0] * truth.rotation.shape[1] - len(rotation))
