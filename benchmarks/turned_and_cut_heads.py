r"""
Heads that are turned in the image, and faces that a border cuts, against the upright, whole ones.

    python benchmarks/turned_and_cut_heads.py --data FOLDER [--count 40] [--face 110]

FOLDER holds `labels.csv` and photographs of faces, of which the held-out ones are taken. The answer
to the photograph as it is, in a picture of 480 x 480 px whose borders are repeated, is the truth
for the picture turned about its middle, and for the picture cut at each border. An answer counts as
given where its score is at least 0.5 and its face is visible. Prints, for each turn and each cut,
how many heads are found, how many are answered, the errors of the rotation of those in degrees, and
how many of them are off by more than 15 degrees.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from trans3dhead_ros import Head, HeadPipeline
from trans3dhead_ros.geometry import geodesic_distance_deg, turned_in_image
from trans3dhead_ros.media.sources import read_picture
from trans3dhead_ros.perception.head import LOCATED_SCORE
from trans3dhead_ros.types import Array, Image
from trans3dhead_training.data.labels import read_labels

SIDE = 480
ROLLS = range(30, 360, 30)
CUTS = (0.1, 0.2, 0.3, 0.4)
BORDERS = ('left', 'right', 'top', 'bottom')
SURE, WRONG_DEG = 0.9, 15.0
Answer = Callable[[Image, Array], 'Head | None']


def scene(image: Image, points: Array, face: float) -> tuple[Image, Array]:
    """Return a square picture with the face, `face` px high, in its middle, and its points."""
    low, high = points.min(0), points.max(0)
    scale = face / (high - low).max()
    shift = 0.5 * (SIDE - 1) - scale * 0.5 * (low + high)
    if scale < 0.5:
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        matrix = np.float64([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
    else:
        small, matrix = image, np.float64([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
    return warped(small, matrix), points * scale + shift


def warped(image: Image, matrix: Array) -> Image:
    """Return a square picture with repeated borders."""
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)


def nearest(heads: Sequence[Head], box: Array) -> Head | None:
    """Return the best-scored head about a landmark box, None where there is none."""
    centre, side = 0.5 * (box[:2] + box[2:]), (box[2:] - box[:2]).max()
    near = [head for head in heads
            if np.linalg.norm(0.5 * (head.box[:2] + head.box[2:]) - centre) < 0.6 * side]
    return max(near, key=lambda head: head.score, default=None)


def turned(image: Image, truth: Head, degrees: float, answer: Answer) -> tuple[Head | None, float]:
    """Return the answer to a picture that is turned counter-clockwise, and its error, degrees."""
    matrix = cv2.getRotationMatrix2D((0.5 * (SIDE - 1),) * 2, degrees, 1.0)
    points = truth.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    head = answer(warped(image, matrix), np.concatenate([points.min(0), points.max(0)]))
    expected = turned_in_image(truth.rotation, degrees)
    return head, np.nan if head is None else geodesic_distance_deg(head.rotation, expected)


def cut(image: Image, truth: Head, border: str, share: float, answer: Answer,
        ) -> tuple[Head | None, float]:
    """Return the answer to a picture of which a share of the face is cut off, and its error."""
    (x0, y0, x1, y1), (left, top) = truth.box, (0, 0)
    if border == 'left':
        left = round(x0 + share * (x1 - x0))
        image = image[:, left:]
    elif border == 'right':
        image = image[:, :round(x1 - share * (x1 - x0))]
    elif border == 'top':
        top = round(y0 + share * (y1 - y0))
        image = image[top:]
    else:
        image = image[:round(y1 - share * (y1 - y0))]
    head = answer(np.ascontiguousarray(image), truth.box - [left, top, left, top])
    return head, np.nan if head is None else geodesic_distance_deg(head.rotation, truth.rotation)


def summary(name: str, results: Sequence[tuple[Head | None, float]]) -> str:
    """Return a line of the table."""
    found = [(head, error) for head, error in results if head is not None]
    given = np.array([error for head, error in found
                      if head.score >= LOCATED_SCORE and head.face_visible] or [np.nan])
    share = np.isfinite(given).sum() / len(results)
    return (f'{name:<12} found {len(found) / len(results):4.0%}  answered {share:4.0%}  '
            f'error {np.median(given):5.1f} median {np.nanmean(given):5.1f} mean '
            f'{np.quantile(given, 0.9):5.1f} p90 {given.max():6.1f} most  '
            f'wrong {(given > WRONG_DEG).sum():3d}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--count', type=int, default=40, help='photographs (default: 40)')
    parser.add_argument('--face', type=float, default=110.0,
                        help='longer side of a face, px (default: 110)')
    parser.add_argument('--align', action='store_true',
                        help='give the true box instead of detecting heads')
    options = parser.parse_args()

    pipeline = HeadPipeline.load(device='cpu', threads=1)
    records = [record for record in read_labels(options.data)
               if record.is_validation and record.points is not None]
    chosen = [records[i] for i in np.linspace(0, len(records) - 1, options.count).astype(int)]

    def answer(image: Image, box: Array) -> Head | None:
        if options.align:
            return pipeline.align(image, box[None])[0]
        return nearest(pipeline.detect(image), box)

    results: dict[str, list[tuple[Head | None, float]]] = {}
    for record in chosen:
        image, points = scene(read_picture(record.path), record.points, options.face)
        truth = answer(image, np.concatenate([points.min(0), points.max(0)]))
        if truth is None or truth.score < SURE:
            continue
        for roll in ROLLS:
            results.setdefault(f'turn {roll}', []).append(turned(image, truth, roll, answer))
        for border in BORDERS:
            for share in CUTS:
                results.setdefault(f'{border} {share:.0%}', []).append(
                    cut(image, truth, border, share, answer))
    print(f'{len(next(iter(results.values())))} of {len(chosen)} photographs answered as they are')
    for name, answers in results.items():
        print(summary(name, answers))


if __name__ == '__main__':
    main()
