"""`python -m tools.figures`: the pictures of the head model, the frames and synthetic people."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.camera import Camera
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Image

if TYPE_CHECKING:
    from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer
    from trans3dhead_training.synthesis.scenes.head_labels import SyntheticHead


_TILE = (300, 340)
_FOV_DEG = 24.0
_DISTANCE = 0.80

# Yaw, pitch, roll in degrees, expression, identity: one row each.
_TILES = (
    (((0, 0, 0), {}, {}), ((45, 0, 0), {}, {}), ((90, 0, 0), {}, {}), ((150, 0, 0), {}, {})),
    (((-20, 5, 0), {'jawOpen': 0.7, 'browInnerUp_L': 0.8, 'browInnerUp_R': 0.8}, {}),
     ((15, 0, -8), {'mouthSmile_L': 1.0, 'mouthSmile_R': 1.0, 'cheekSquint_L': 0.6,
                    'cheekSquint_R': 0.6}, {}),
     ((20, -8, 6), {'eyeBlink_L': 1.0, 'mouthPucker': 0.8}, {}),
     ((-25, 0, 0), {'browDown_L': 1.0, 'browDown_R': 1.0, 'noseSneer_L': 0.8, 'noseSneer_R': 0.8,
                    'mouthFrown_L': 0.7, 'mouthFrown_R': 0.7}, {})),
    (((25, 0, 0), {}, {0: 2.2}), ((25, 0, 0), {}, {0: -2.2}), ((25, 0, 0), {}, {1: 2.2, 3: 1.5}),
     ((25, 0, 0), {}, {2: 2.2, 4: -2.0})),
)
_YAWS = (-150, -90, -60, -30, 0, 30, 60, 90, 150)
_PEOPLE_ROWS = 3
_PEOPLE_TILE = 160
_SEEN, _HIDDEN, _CONTOUR = (80, 230, 80), (60, 60, 235), (240, 220, 60)


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the pictures and return the exit code."""
    parser = ArgumentParser(prog='python -m tools.figures',
                            description=__doc__.split(': ', 1)[1])
    parser.add_argument('folder', nargs='?', type=Path, default=Path('docs'),
                        help='output folder (default: %(default)s)')
    parser.add_argument('--model', type=Path,
                        help='checkpoint whose head is rendered (default: the bundled one)')
    parser.add_argument('--data', type=Path,
                        help='folder of the data, for the people (default: TRANS3DHEAD_DATA)')
    parser.add_argument('--people', type=Path, default=Path('runs/people'),
                        help='cache of the registered assets (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0,
                        help='seed of the people (default: %(default)s)')
    options = parser.parse_args(argv)
    options.folder.mkdir(parents=True, exist_ok=True)
    from tools.frames_figure import draw_frames
    from trans3dhead_ros.network.checkpoint import load_head_model
    from trans3dhead_training.synthesis.preview.head_renderer import HeadRenderer
    renderer = HeadRenderer.from_model(load_head_model(options.model))
    _write(options.folder / 'head_model.png', head_sheet(renderer))
    draw_frames(renderer, options.folder / 'frames.png')
    print(options.folder / 'frames.png')
    from trans3dhead_training.core.data_root import data_root
    _write(options.folder / 'synthetic_people.jpg', people_sheet(
        options.data or data_root(), options.people, options.model, options.seed))
    return 0


def _write(path: Path, picture: Image) -> None:
    if not cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 82]):
        raise UserError(f'folder: {path} cannot be written')
    print(path)


def head_sheet(renderer: 'HeadRenderer') -> Image:
    """Return a sheet of the head from several sides, with expressions and other identities."""
    from trans3dhead_ros.geometry import rotation_from_euler
    from trans3dhead_training.core.contact_sheet import contact_sheet
    camera = Camera.from_fov(_TILE, _FOV_DEG)
    background = np.empty((_TILE[1], _TILE[0], 3), np.uint8)
    background[:] = np.linspace(235, 205, _TILE[1])[:, None, None]
    # The centre of the head, about which it is rotated, lies behind and below the sellion.
    middle = np.array([-0.085, 0.0, -0.025])
    rows = []
    for row in _TILES:
        tiles = []
        for euler_deg, expression, shape in row:
            rotation = rotation_from_euler(np.array(euler_deg, float))
            translation = np.array([0.0, 0.0, _DISTANCE]) - rotation @ middle
            tiles.append(renderer.render(background, camera, rotation, translation, expression,
                                         shape))
        rows.append(tiles)
    return contact_sheet(rows)


def people_sheet(data: Path, cache: Path, model: Path | None, seed: int) -> Image:
    """
    Return synthetic people at every yaw, each row followed by the same pictures with their labels.

    :param data: folder of the data.
    :param cache: folder of the registered assets.
    :param model: checkpoint whose head model the labels are for, or None for the bundled one.
    :param seed: of the people.
    :return: (H, W, 3) BGR.
    :raises UserError: data are missing or damaged.
    """
    from trans3dhead_ros.geometry import rotation_from_euler
    from trans3dhead_ros.network.checkpoint import load_head_model
    from trans3dhead_training.core.contact_sheet import contact_sheet
    from trans3dhead_training.synthesis.scenes.pose_sampling import FixedPose
    from trans3dhead_training.synthesis.scenes.scene_generator import SceneAssets, render_crops
    assets = SceneAssets.load(data, cache, load_head_model(model).cpu(), portraits=False)
    rows = []
    for row in range(_PEOPLE_ROWS):
        plain, labelled = [], []
        for column, yaw in enumerate(_YAWS):
            generator = np.random.default_rng((seed, row, column))
            pose = rotation_from_euler(np.array([yaw, *generator.uniform(-15, 15, 2)]))
            held = replace(assets, config=replace(assets.config, poses=FixedPose(pose)))
            (image, truth), = render_crops(held, generator, 1)
            plain.append(cv2.resize(image, (_PEOPLE_TILE, _PEOPLE_TILE),
                                    interpolation=cv2.INTER_AREA))
            labelled.append(cv2.resize(_labelled(image, truth), (_PEOPLE_TILE, _PEOPLE_TILE),
                                       interpolation=cv2.INTER_AREA))
        rows += [plain, labelled]
    return contact_sheet(rows)


def _labelled(image: Image, truth: 'SyntheticHead') -> Image:
    """Draw the 68 points, green if visible and red if hidden, and the jaw on the contour."""
    picture = image.copy()
    for x, y in truth.contour:
        _dot(picture, x, y, _CONTOUR)
    for (x, y, _), visible in zip(truth.landmarks, truth.visible, strict=True):
        _dot(picture, x, y, _SEEN if visible else _HIDDEN)
    return picture


def _dot(picture: Image, x: float, y: float, colour: tuple[int, int, int]) -> None:
    cv2.circle(picture, (round(x * 16), round(y * 16)), 26, colour, -1, cv2.LINE_AA, 4)


if __name__ == '__main__':
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f'figures: error: {error}')
