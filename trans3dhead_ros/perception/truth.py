"""Ground truth of a rendered clip, kept beside it as ``<clip>.truth.json``."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_VERSION = 1


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about the head and the camera of every frame of a clip."""

    #: (F, 3, 3) head frame → camera optical frame.
    rotation: Array
    #: (F, 3) m, the sellion in the camera optical frame.
    translation: Array
    #: (3, 3) px, pinhole intrinsics of an undistorted camera.
    intrinsics: Array
    #: (width, height) px.
    size: tuple[int, int]
    #: frames a second.
    fps: float


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
            {'frame': index, 'rotation': rotation.tolist(), 'translation': translation.tolist()}
            for index, (rotation, translation) in enumerate(
                zip(truth.rotation, truth.translation, strict=True))
        ],
    }) + '\n')
    return path


def read_truth(clip: str | Path) -> Truth | None:
    """Read the truth beside a clip; None where there is none.

    Raises:
        ValueError: the file is there but is not a truth file of this version.
    """
    path = truth_path(clip)
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text())
        if data['version'] != _VERSION:
            raise ValueError(f'version {data["version"]}, not {_VERSION}')
        width, height = data['size']
        return Truth(
            rotation=np.array([f['rotation'] for f in data['frames']], float).reshape(-1, 3, 3),
            translation=np.array([f['translation'] for f in data['frames']], float).reshape(-1, 3),
            intrinsics=np.array(data['intrinsics'], float).reshape(3, 3),
            size=(int(width), int(height)),
            fps=float(data['fps']),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path}: not a truth file ({error}); write the clip again') from error
