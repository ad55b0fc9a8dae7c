"""Our head detector and its peers, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.head_detections import DEFAULT_SCORE
from trans3dhead_ros.inference.head_search import HeadSearch
from trans3dhead_ros.perception.detector import YuNetDetector
from trans3dhead_ros.types import Array, Image

HEAD_DETECTORS = ('ours', 'yunet')

LOWEST_SCORE = 0.02
"""Detections of a lower score are not reported: curves end there."""

_YUNET_FILE = Path('yunet') / 'yunet_n_640_640.onnx'


@dataclass(frozen=True, eq=False)
class FoundHeads:
    """N detections in one image; what a detector does not estimate is None."""

    score: Array
    """(N,)."""
    landmark_box: Array
    """(N, 4) px, x0 y0 x1 y1."""
    head_box: Array | None = None
    """(N, 4) px, the whole head."""
    roll_deg: Array | None = None
    """(N,) clockwise in the image."""
    face: Array | None = None
    """(N,) probability that the face is seen."""

    @property
    def centre(self) -> Array:
        """(N, 2) px, of the whole head where it is estimated, else of the landmarks."""
        box = self.landmark_box if self.head_box is None else self.head_box
        return 0.5 * (box[:, :2] + box[:, 2:])


@dataclass(frozen=True, eq=False)
class PeerDetector:
    """A detector in an evaluation."""

    find: Callable[[Image], FoundHeads]
    """Search an image (H, W, 3) BGR at its own size."""
    default_score: float
    """Smallest score of a head, unless it is chosen otherwise."""


def make_head_detector(
    name: str, *, model: Path | None = None, device: str = 'auto', baselines: Path | None = None,
) -> PeerDetector:
    """
    Make a detector.

    :param name: one of `HEAD_DETECTORS`.
    :param model: file of 'ours'; None is the bundled one.
    :param device: of 'ours': auto, cpu, cuda or cuda:N.
    :param baselines: folder with `yunet/`, for 'yunet'.
    :return: the detector.
    :raises UserError: the name is unknown, or a file is missing or damaged.
    """
    if name == 'ours':
        search = HeadSearch.load(model, device, threads=1, longer_side=0, min_score=LOWEST_SCORE)

        def ours(image: Image) -> FoundHeads:
            found = search.detect(image)
            return FoundHeads(found.score, found.landmark_box, found.head_box, found.roll_deg,
                              found.face)

        return PeerDetector(ours, DEFAULT_SCORE)
    if name != 'yunet':
        raise UserError(f'predictor: {name!r} does not detect; use one of '
                        f'{", ".join(HEAD_DETECTORS)}')
    if baselines is None:
        raise UserError('baselines: give the folder with yunet/')
    yunet = YuNetDetector(baselines / _YUNET_FILE, LOWEST_SCORE)

    def find(image: Image) -> FoundHeads:
        found = yunet.detect(image)
        return FoundHeads(found.score, found.landmark_box)

    return PeerDetector(find, DEFAULT_SCORE)
