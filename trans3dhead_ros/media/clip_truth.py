"""Ground truth of a synthetic clip, kept beside it as ``<clip>.truth.json``."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array

_VERSION = 2
_DIGITS = 6  # a micrometre


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about the N heads and the camera of every one of F frames of a clip."""

    rotation: Array
    """(F, N, 3, 3) head frame → camera optical frame; a head keeps its place in the row."""
    translation: Array
    """(F, N, 3) m, the sellion in the camera optical frame."""
    intrinsics: Array
    """(3, 3) px, pinhole intrinsics of an undistorted camera."""
    size: tuple[int, int]
    """(width, height) px."""
    fps: float
    """frames a second."""


def bundled_clip() -> Path:
    """Where the project's own clip lies: two synthetic people, with their truth beside it."""
    return Path(__file__).resolve().parents[1] / 'clips' / 'two_people.mp4'


def truth_path(clip: str | Path) -> Path:
    """Where the truth of this clip lies."""
    clip = Path(clip)
    return clip.with_name(clip.name + '.truth.json')


def write_truth(clip: str | Path, truth: Truth) -> Path:
    """Write the truth beside its clip and return the path."""
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


def read_truth(clip: str | Path) -> Truth | None:
    """
    Read the truth beside a clip; None where there is none.

    Raises:
        ValueError: the file is there but is not a truth file of this version.

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
        return Truth(
            rotation=np.array(rotation, float).reshape(*shape, 3),
            translation=np.array(translation, float).reshape(shape),
            intrinsics=np.array(data['intrinsics'], float).reshape(3, 3),
            size=(int(width), int(height)),
            fps=float(data['fps']),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f'{path}: not a truth file ({error}); write the clip again') from error
