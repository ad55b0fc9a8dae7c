"""What a predictor answers, and how to make one by its name."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_training.data.sample import Placement

if TYPE_CHECKING:
    from trans3dhead_ros.head_model import HeadModel

Array = NDArray[np.float64]

PREDICTORS = ('ours', '3ddfa_v2', 'mediapipe')


@dataclass(frozen=True, eq=False)
class Alignment:
    """The answer for one box; what a predictor does not know is None."""

    #: (68, 2) px, iBUG order: points fixed on the head, hidden ones too.
    landmarks: Array
    #: (68, 2) px with the jaw on the visible contour.
    contour: Array | None = None
    #: (3, 3) head frame → camera optical frame, as it appears in the crop (weak perspective).
    rotation: Array | None = None
    #: How probably the box holds a head, 0…1.
    score: float | None = None
    #: (68,) px, the expected absolute error of a coordinate of `landmarks`, Laplace distributed.
    landmark_scale: Array | None = None
    #: Coefficients (I,), (E,) of the predictor's `head_model`, and where that head appears.
    shape: Array | None = None
    expression: Array | None = None
    placement: Placement | None = None


Look = tuple[NDArray[np.uint8], Array]
"""A picture (H, W, 3) BGR and boxes (N, 4) x0 y0 x1 y1 px in it, about the 68 landmarks."""


class Predictor(ABC):
    """Anything that aligns the head in a box."""

    name: str
    #: What its coefficients are of; None where it gives no mesh.
    head_model: 'HeadModel | None' = None

    @abstractmethod
    def predict(self, image: NDArray[np.uint8], boxes: Array) -> list[Alignment]:
        """
        Align the head of every box.

        :param image: (H, W, 3) BGR.
        :param boxes: (N, 4) x0 y0 x1 y1 px, about the 68 landmarks.
        """

    def predict_each(self, looks: Sequence[Look]) -> list[list[Alignment]]:
        """Align the heads of several pictures; where it can, a predictor takes them at once."""
        return [self.predict(image, boxes) for image, boxes in looks]


def make_predictor(
    name: str, *, model: str | Path | None = None, device: str = 'auto',
    baselines: str | Path | None = None,
) -> Predictor:
    """
    Make a predictor.

    :param name: one of `PREDICTORS`.
    :param model: checkpoint of 'ours'; None is the bundled one.
    :param device: where 'ours' runs.
    :param baselines: folder with `3ddfa_v2/` and `mediapipe/`, for the peers.
    :raises ValueError: for another name, or where weights are missing or are something else.
    """
    def ours() -> Predictor:
        from trans3dhead_training.predictors.ours import AlignerPredictor
        return AlignerPredictor(model, device)

    def three_ddfa() -> Predictor:
        from trans3dhead_training.predictors.three_ddfa import ThreeDdfaPredictor
        return ThreeDdfaPredictor(_folder(baselines) / '3ddfa_v2')

    def mediapipe() -> Predictor:
        from trans3dhead_training.predictors.mediapipe import MediaPipePredictor
        return MediaPipePredictor(_folder(baselines) / 'mediapipe')

    makers: dict[str, Callable[[], Predictor]] = dict(
        zip(PREDICTORS, (ours, three_ddfa, mediapipe), strict=True))
    if name not in makers:
        raise UserError(f'predictor: {name!r} is unknown; use one of {", ".join(PREDICTORS)}')
    return makers[name]()


def _folder(baselines: str | Path | None) -> Path:
    if baselines is None or not Path(baselines).is_dir():
        raise UserError(f'baselines: no folder {baselines}; give the one with 3ddfa_v2/ and '
                         'mediapipe/')
    return Path(baselines)
