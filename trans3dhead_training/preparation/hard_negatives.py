"""
`trans3dhead prepare negatives`: crops without a head at which face detectors fire.

Random windows are too easy: a network that rejects all of them still takes a book shelf for a
head, because what reaches it in use is what a detector proposed. So let the pipeline's detectors
look, as permissively as they can, at places without a head: views of panoramas, and the
surroundings of labelled faces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.perception.crop import crop_square, crop_window
from trans3dhead_ros.perception.detector import CascadeDetector, iou
from trans3dhead_training.core.background_crops import MAXIMUM_OVERLAP, read_backgrounds
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.data.labels import FaceRecord, read_labels

PHOTOGRAPH = -1
"""Group of a crop that is no view of a panorama."""

_VIEW_SIZE = (480, 320)
_MOST_PER_VIEW = 8
_SWEEPS = 4  # the upright ones at normal size; the others find the same again


def rectilinear_view(
    panorama: np.ndarray, turn: np.ndarray, field_of_view_deg: float, size: tuple[int, int],
) -> np.ndarray:
    """
    Return what a pinhole camera sees in an equirectangular panorama.

    :param panorama: (H, W, 3). :param turn: (3, 3) camera optical frame -> panorama.
    :param field_of_view_deg: horizontal. :param size: (width, height) px.
    """
    width, height = size
    focal = 0.5 * width / np.tan(0.5 * np.deg2rad(field_of_view_deg))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rays = np.stack([x - 0.5 * (width - 1), y - 0.5 * (height - 1), np.full_like(x, focal)], -1)
    rays = (rays / np.linalg.norm(rays, axis=-1, keepdims=True)) @ turn.T.astype(np.float32)
    rows, columns = panorama.shape[:2]
    across = (np.arctan2(rays[..., 0], rays[..., 2]) / (2 * np.pi) + 0.5) * columns - 0.5
    down = (np.arcsin(np.clip(rays[..., 1], -1, 1)) / np.pi + 0.5) * rows - 0.5
    return cv2.remap(panorama, across.astype(np.float32), down.astype(np.float32),
                     cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def random_views(
    panorama: np.ndarray, count: int, generator: np.random.Generator,
) -> Iterator[np.ndarray]:
    """Yield views (320, 480, 3) in all directions, mostly level, with changing light."""
    for _ in range(count):
        turn = Rotation.from_euler('yxz', [
            generator.uniform(-np.pi, np.pi), *generator.normal(0, 0.35, 2)]).as_matrix()
        view = rectilinear_view(panorama, turn, generator.uniform(30, 95), _VIEW_SIZE)
        levels = np.arange(256) * generator.uniform(0.5, 1.4) + generator.normal(0, 25)
        yield cv2.LUT(view, np.clip(levels, 0, 255).astype(np.uint8))


def fired_boxes(
    image: np.ndarray, detector: CascadeDetector, generator: np.random.Generator,
) -> np.ndarray:
    """Return the landmark boxes (N, 4) that one sweep of the detector proposes, at most eight."""
    boxes, _ = detector.detect(image, int(generator.integers(_SWEEPS)))
    return boxes[generator.permutation(len(boxes))[:_MOST_PER_VIEW]]


def mine(
    panoramas: Sequence[np.ndarray], views: int, records: Sequence[FaceRecord], size: int,
    crop_scale: float, seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Return crops (N, size, size, 3) uint8 BGR without heads, and their groups (N,).

    The group is the panorama's number, or `PHOTOGRAPH`: crops of one group look alike, so a
    validation holds whole groups out.

    :param views: of each panorama. :param records: photographs of faces; boxes that overlap the
        face are left out, and photographs without labels in which no face is found.
    """
    generator = np.random.default_rng(seed)
    detector, strict = CascadeDetector(min_neighbours=0), CascadeDetector(min_neighbours=6)
    crops: list[np.ndarray] = []
    groups: list[int] = []

    def keep(image: np.ndarray, boxes: np.ndarray, group: int) -> None:
        for box in boxes:
            centre, side = crop_window(box, crop_scale)
            for spread in (0.0, 0.1):  # as proposed, and as a tracker would try again
                moved = centre + spread * side * generator.normal(size=2)
                zoomed = side * np.exp(spread * generator.normal())
                crops.append(crop_square(image, moved, zoomed, size))
                groups.append(group)

    with tqdm(total=views * len(panoramas) + len(records), desc='negatives', disable=None) as bar:
        for number, panorama in enumerate(panoramas):
            for view in random_views(panorama, views, generator):
                keep(view, fired_boxes(view, detector, generator), number)
                bar.update()
        for record in records:
            image = cv2.imread(str(record.path), cv2.IMREAD_COLOR)
            if image is None:
                raise UserError(f'data: the picture {record.path} is missing or cannot be read')
            faces = (strict.detect(image)[0] if record.points is None else
                     np.array([[*record.points.min(0), *record.points.max(0)]]))
            if len(faces):
                boxes = fired_boxes(image, detector, generator)
                apart = iou(boxes, faces).max(axis=1, initial=0.0) < MAXIMUM_OVERLAP
                keep(image, boxes[apart], PHOTOGRAPH)
            bar.update()
    return np.stack(crops), np.array(groups)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead prepare negatives`."""
    parser = ArgumentParser(prog='trans3dhead prepare negatives', description=__doc__)
    parser.add_argument('--data', type=Path, help='folder with faces/ and appearance/hdri/ '
                        '(default: data folder)')
    parser.add_argument('--views', type=int, default=300, help='of each panorama')
    parser.add_argument('--photographs', type=int, default=2000)
    parser.add_argument('--size', type=int, default=128, help='side of the crops, px')
    parser.add_argument('--crop-scale', type=float, default=1.5)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--output', type=Path, default=Path('runs/negatives.npz'))
    arguments = parser.parse_args(argv)
    root = arguments.data or data_root()
    panoramas = read_backgrounds(root / 'appearance' / 'hdri')
    if not panoramas:
        raise UserError(f'data: no panorama in {root / "appearance" / "hdri"}')
    records = [record for record in read_labels(root / 'faces') if not record.is_validation]
    chosen = np.random.default_rng(arguments.seed).permutation(len(records))
    crops, groups = mine(
        panoramas, arguments.views, [records[i] for i in chosen[:arguments.photographs]],
        arguments.size, arguments.crop_scale, arguments.seed)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(arguments.output, crops=crops, groups=groups)
    print(f'{arguments.output}: {len(crops)} crops, {int((groups == PHOTOGRAPH).sum())} of them '
          'from photographs')
    return 0
