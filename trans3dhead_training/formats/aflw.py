"""
Readers of AFLW2000-3D and 300W-LP (Zhu et al., CVPR 2016): a `.mat` beside every `.jpg`.

* `Pose_Para`: pitch, yaw, roll in radians, the convention that `geometry` decodes; the rotation is
  that of weak perspective, so it is the apparent one. Translation and scale follow; they refer to
  the origin of the head model of these datasets and are not read.
* `pt3d_68` (AFLW2000-3D): x, y px and z of the 68 points fixed on the head. Their z grows towards
  the camera and has its zero elsewhere: the depth here is its negative, 0 at the sellion.
* `landmarks/<folder>/<name>_pts.mat` (300W-LP): `pts_3d` and `pts_2d`, the points fixed on the head
  and those with the jaw on the visible contour.
* `pt2d` is not read: in 300W-LP all turned copies have that of the photograph they were made from,
  in AFLW2000-3D it has 21 points of another definition.
* `Shape_Para` and `Exp_Para` are coefficients of another head model and are not read. `roi` is the
  position of the face in a picture that the datasets do not contain; it is not read either.

Pixel coordinates are used unchanged, as in all results published for these datasets, although the
tools that wrote them count pixels from 1.
"""

import re
from pathlib import Path

import numpy as np
from tqdm import tqdm

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_ros.landmarks import COUNT, JAW, SELLION
from trans3dhead_ros.types import Array
from trans3dhead_training.data.labels import check_face, is_held_out
from trans3dhead_training.data.sample import Sample, in_split
from trans3dhead_training.formats.mat_file import read_mat

PARTS = ('AFW', 'HELEN', 'IBUG', 'LFPW')
"""Folders of 300W-LP."""


def read_aflw(folder: Path, split: str = 'all') -> list[Sample]:
    """
    Read a flat folder of .jpg + .mat; all of it is validation.

    :param folder: of AFLW2000-3D.
    :param split: one of `SPLITS`.
    :return: the samples.
    :raises UserError: no such folder, a label without its picture, or a .mat with other content.
    """
    if not folder.is_dir():
        raise UserError(f'data: no folder {folder}')
    if not in_split(split, True):
        return []
    return [_read(label, folder.name, f'{folder.name}/{label.stem}', True)
            for label in _progress(_labels(folder))]


def read_300w_lp(folder: Path, split: str = 'all') -> list[Sample]:
    """
    Read the folders AFW, HELEN, IBUG and LFPW, with their landmarks in the folder `landmarks`.

    The mirrored copies `<part>_Flip` have no landmarks of their own and are left out; training
    mirrors pictures itself.

    A tenth of the photographs is held out, by the same hash of the same names as in `labels.csv`:
    a photograph that is held out there is held out here with all its turned copies. (Only the
    reader of `labels.csv` looks for near-duplicates of lfpw; they may be on different sides here.)

    :param folder: of 300W-LP.
    :param split: one of `SPLITS`.
    :return: the samples.
    :raises UserError: no such folders, a label without its picture or landmarks, or a .mat with
        other content.
    """
    parts = [name for name in PARTS if (folder / name).is_dir()]
    if not parts:
        raise UserError(f'data: {folder} has none of the folders {", ".join(PARTS)} of 300W-LP; '
                        'use aflw:PATH for a flat folder of .jpg + .mat')
    found = []
    for part in parts:
        for label in _labels(folder / part):
            group = photograph(part, label.stem)
            if in_split(split, is_held_out(group)):
                found.append((label, f'300wlp-{part.lower()}', group))
    return [_read(label, source, group, is_held_out(group),
                  folder / 'landmarks' / label.parent.name / f'{label.stem}_pts.mat')
            for label, source, group in _progress(found)]


def photograph(part: str, stem: str) -> str:
    """
    Return the name that the photograph of a picture of 300W-LP has in `labels.csv`.

    `HELEN_100040721_2_7` (face 2, turned by step 7) → `helen/train_100040721`;
    `LFPW_image_train_0001_0` → `lfpw/train_image_0001`.

    :param part: one of `PARTS`.
    :param stem: file name without suffix.
    :return: `<source>/<photo>`.
    """
    photo = stem.removeprefix(f'{part}_').rsplit('_', 1)[0]
    if part == 'LFPW':
        image = re.fullmatch(r'image_(train|test)_(\d+)', photo)
        return f'lfpw/{image[1]}_image_{image[2]}' if image else f'lfpw/{photo}'
    return f'{part.lower()}/train_{photo.rsplit("_", 1)[0]}'


def _labels(folder: Path) -> list[Path]:
    # Without what macOS keeps beside a file.
    return [path for path in sorted(folder.glob('*.mat')) if not path.name.startswith('._')]


def _read(label: Path, source: str, group: str, is_validation: bool,
          landmarks: Path | None = None) -> Sample:
    picture = label.with_suffix('.jpg')
    if landmarks is not None and not landmarks.is_file():
        raise UserError(f'data: {label} has no landmarks {landmarks}; the folder landmarks/ of '
                        '300W-LP belongs beside AFW, HELEN …')
    if not picture.is_file():
        raise UserError(f'data: {label} has no picture {picture.name} beside it')
    content, contour = _load(label, ('Pose_Para', 'pt3d_68')), None
    pose = content.get('Pose_Para', np.zeros(0)).ravel()
    if len(pose) < 3 or not np.isfinite(pose[:3]).all():
        raise UserError(f'data: {label} has no readable Pose_Para of three finite angles')
    pitch, yaw, roll = np.rad2deg(pose[:3])
    if landmarks is None:
        points = _points(content, 'pt3d_68', label)
    else:
        both = _load(landmarks, ('pts_3d', 'pts_2d'))
        points = _points(both, 'pts_3d', landmarks)
        contour = _points(both, 'pts_2d', landmarks)[JAW, :2]
    depth = points[SELLION, 2] - points[:, 2] if points.shape[1] == 3 else None
    return Sample(picture=picture, source=source, group=group, is_validation=is_validation,
                  points=points[:, :2], points_are_3d=True, depth=depth, contour=contour,
                  rotation=rotation_from_euler(np.array([yaw, pitch, roll])))


def _load(path: Path, keys: tuple[str, ...]) -> dict[str, Array]:
    try:
        return read_mat(path.read_bytes(), keys)
    except (OSError, UserError) as error:
        raise UserError(f'data: {path} has no readable {" and ".join(keys[::-1])}: it is damaged '
                        f'or not a .mat file ({error})') from None


def _points(content: dict[str, Array], key: str, path: Path) -> Array:
    """Return (68, 2 or 3), from points in rows or in columns."""
    points = content.get(key, np.zeros(0))
    if points.ndim == 2 and len(points) in (2, 3):
        points = points.T
    if points.shape not in ((COUNT, 2), (COUNT, 3)) or not np.isfinite(points).all():
        raise UserError(f'data: {path} has no readable {key} of {COUNT} finite points')
    check_face(points, f'{path} {key}')
    return points


def _progress(items: list) -> tqdm:
    return tqdm(items, desc='labels', unit='face', leave=False, disable=None)
