"""
Reader of the BIWI Kinect Head Pose Database (Fanelli et al., IJCV 2013): pose, no landmarks.

Folders 01 … 24 hold `frame_<n>_rgb.png`, `frame_<n>_pose.txt` (a 3×3 rotation, a blank line, the
centre of the head in mm) and `rgb.cal` (3×3 intrinsics, distortion, 3×3 rotation, translation in
mm, size of the picture; blank lines between).

**Frames.** Poses are given in the frame of the depth camera, which is an optical frame like ours:
x right, y down, z forward. The rotation M takes the head frame of the dataset to it,
`p_depth = M p + c`, and is the identity for a head that looks into the camera. That head frame
therefore has x to the person's left, y down and z into the head: a point p of our head frame is at
`FACING_CAMERA @ p` in it. `rgb.cal` takes the depth frame to the colour camera,
`p_rgb = E p_depth + e`. Hence

    R_camera = E @ M @ FACING_CAMERA,    centre = E @ c + e,
    rotation = viewing_ray_rotation(centre).T @ R_camera   (what a crop of the picture shows).

With E = 1 and without the last step the angles of `euler_from_rotation` are those that others
evaluate on this dataset (yaw = asin M02, pitch = atan2(M12, M22), roll = −atan2(M01, M00)). The
last step changes them by the angle between the ray and the optical axis. Each person's template
defines its own zero pose: expect constant differences of some degrees, above all in pitch.

**Box.** A square of `FACE_SIZE_M` at the centre of the head and at its depth; less exact than
boxes around landmarks.
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import FACING_CAMERA, nearest_rotation, viewing_ray_rotation
from trans3dhead_ros.types import Array
from trans3dhead_training.data.sample import Sample, in_split

FACE_SIZE_M = 0.15
"""Longer side of the box of the 68 points on a mean head that faces the camera."""

SAME_PERSON = {'15': '03', '18': '05', '21': '02', '22': '07'}
"""Sequences of people who were recorded before, and the earlier sequence."""

_PICTURE, _POSE = '_rgb.png', '_pose.txt'


def read_biwi(folder: Path, split: str = 'all') -> list[Sample]:
    """
    Read every frame of every sequence; all of it is validation, and the group is the person.

    :param folder: that holds the sequences 01, 02 ….
    :param split: one of `SPLITS`.
    :return: the samples.
    :raises UserError: no sequences, a frame without its picture, or a file with other content.
    """
    if not folder.is_dir():
        raise UserError(f'data: no folder {folder}')
    sequences = sorted(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())
    if not sequences:
        raise UserError(f'data: {folder} has no sequences 01, 02 …; give the folder that holds '
                        'them (hpdb)')
    if not in_split(split, True):
        return []
    return [sample for sequence in tqdm(sequences, desc='sequences', leave=False, disable=None)
            for sample in _read_sequence(sequence)]


def _read_sequence(sequence: Path) -> list[Sample]:
    calibration = _numbers(sequence / 'rgb.cal', 27, 'intrinsics, distortion, rotation, '
                           'translation and size')
    intrinsics = calibration[:9].reshape(3, 3)
    extrinsic = nearest_rotation(calibration[13:22].reshape(3, 3))
    offset_m = calibration[22:25] / 1000
    person = SAME_PERSON.get(sequence.name, sequence.name)
    samples = []
    for label in sorted(sequence.glob(f'*{_POSE}')):
        picture = label.with_name(label.name.removesuffix(_POSE) + _PICTURE)
        if not picture.is_file():
            raise UserError(f'data: {label} has no picture {picture.name} beside it')
        pose = _numbers(label, 12, 'a rotation and a position')
        centre = extrinsic @ (pose[9:] / 1000) + offset_m
        if centre[2] <= 0:
            raise UserError(f'data: {label} puts the head behind the camera')
        rotation = extrinsic @ _rotation(pose[:9].reshape(3, 3), label) @ FACING_CAMERA
        pixel = intrinsics[:2] @ centre / centre[2]
        half = FACE_SIZE_M / 2 * intrinsics[[0, 1], [0, 1]] / centre[2]
        samples.append(Sample(
            picture=picture, source='biwi', group=f'biwi/{person}', is_validation=True,
            rotation=viewing_ray_rotation(centre).T @ rotation,
            given_box=np.concatenate([pixel - half, pixel + half])))
    return samples


def _numbers(path: Path, count: int, what: str) -> Array:
    try:
        numbers = np.array(path.read_text(encoding='ascii').split(), float)
    except (OSError, ValueError) as error:
        raise UserError(f'data: {path} cannot be read as numbers ({error})') from error
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise UserError(f'data: {path} holds {len(numbers)} numbers, not the {count} of {what}')
    return numbers


def _rotation(matrix: Array, path: Path) -> Array:
    nearest = nearest_rotation(matrix)
    if np.abs(nearest - matrix).max() > 0.01:
        raise UserError(f'data: {path} holds a matrix that is not a rotation')
    return nearest
