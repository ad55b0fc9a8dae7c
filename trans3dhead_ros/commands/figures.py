"""`trans3dhead prepare figures`: the picture of the head model for the documentation."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.camera import Camera

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead prepare figures`; `ValueError` for a user's mistake."""
    parser = ArgumentParser(prog='trans3dhead prepare figures',
                            description=__doc__.split(': ', 1)[1])
    parser.add_argument('folder', nargs='?', type=Path, default=Path('docs'),
                        help='where head_model.png goes (default: %(default)s)')
    parser.add_argument('--model', type=Path,
                        help='checkpoint whose head is rendered (default: the bundled one)')
    options = parser.parse_args(argv)
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / 'head_model.png'
    if not cv2.imwrite(str(path), head_sheet(options.model)):
        raise ValueError(f'folder: {path} cannot be written')
    print(path)
    return 0


def head_sheet(model: Path | None) -> NDArray[np.uint8]:
    """Return the head from several sides, with expressions, and as several people."""
    from trans3dhead_ros.geometry import rotation_from_euler
    from trans3dhead_ros.perception.render import HeadRenderer, load_head
    renderer = HeadRenderer.of(load_head(model))
    camera = Camera.from_fov(_TILE, _FOV_DEG)
    background = np.empty((_TILE[1], _TILE[0], 3), np.uint8)
    background[:] = np.linspace(235, 205, _TILE[1])[:, None, None]
    # Turned about the middle of the head, which lies behind and below the sellion.
    middle = np.array([-0.085, 0.0, -0.025])
    rows = []
    for row in _TILES:
        tiles = []
        for euler_deg, expression, shape in row:
            rotation = rotation_from_euler(np.array(euler_deg, float))
            translation = np.array([0.0, 0.0, _DISTANCE]) - rotation @ middle
            tiles.append(renderer.render(background, camera, rotation, translation, expression,
                                         shape))
        rows.append(np.hstack(tiles))
    return np.vstack(rows)
