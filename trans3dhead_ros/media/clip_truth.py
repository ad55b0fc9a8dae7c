"""Ground truth of a synthetic clip, stored next to it as ``<clip>.truth.json``."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array

_VERSION = 2
_DIGITS = 6  # micrometres


@dataclass(frozen=True, eq=False)
class ClipTruth:
    """Poses of the N heads in each of the F frames of a clip, and its camera."""

    rotation: Array
    """(F, N, 3, 3) head frame → camera optical frame; heads have the same order in all frames."""
    translation: Array
    """(F, N, 3) m, the sellion in the camera optical frame."""
    intrinsics: Array
    """(3, 3) px, pinhole intrinsics of an undistorted camera."""
    size: tuple[int, int]
    """(width, height) px."""
    fps: float
    """Frames per second."""


def bundled_clip() -> Path:
    """Return the path of the bundled clip of two synthetic people."""
    return Path(__file__).resolve().parents[1] / 'clips' / 'two_people.mp4'


def truth_path(clip: str | Path) -> Path:
    """Return the path of the ground truth of a clip."""
    clip = Path(clip)
    return clip.with_name(clip.name + '.truth.json')


def write_truth(clip: str | Path, truth: ClipTruth) -> Path:
    """Write the ground truth of a clip and return its path."""
    path = truth_path(clip)
    path.write_text(json.dumps({
        'version': _VERSION,
        'fps': truth.fps,
        'size': list(truth.size),
        'intrinsics': truth.intrinsics.tolist(),
        'frames': [
            {'frame': index, 'heads': [
                {'rotation': np.round(rotation, _DIGITS).tolist(),
                 'translation': np.round(translation, _DIGITS).tolist()}
                for rotation, translation in zip(*heads, strict=True)]}
            for index, heads in enumerate(zip(truth.rotation, truth.translation, strict=True))
        ],
    }) + '\n')
    return path


def read_truth(clip: str | Path) -> ClipTruth | None:
    """
    Read the ground truth of a clip.

    :param clip: path of the clip.
    :return: the ground truth; None for a clip without.
    :raises UserError: for a file that is not ground truth of this version.
    """
    path = truth_path(clip)
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text())
        if data['version'] != _VERSION:
            raise UserError(f'version {data["version"]}, not {_VERSION}')
        width, height = data['size']
        frames = [frame['heads'] for frame in data['frames']]
        shape = (len(frames), len(frames[0]) if frames else 0, 3)
        rotation = [[head['rotation'] for head in heads] for heads in frames]
        translation = [[head['translation'] for head in heads] for heads in frames]
        return ClipTruth(
            rotation=np.array(rotation, float).reshape(*shape, 3),
            translation=np.array(translation, float).reshape(shape),
            intrinsics=np.array(data['intrinsics'], float).reshape(3, 3),
            size=(int(width), int(height)),
            fps=float(data['fps']),
        )
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise UserError(
            f'{path}: not a ground truth file ({error}); render the clip again') from error
