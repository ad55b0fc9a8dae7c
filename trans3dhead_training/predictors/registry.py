"""Makes predictors by name; a predictor's own dependencies are imported when it is made."""

from __future__ import annotations

from pathlib import Path

from trans3dhead_ros.errors import UserError
from trans3dhead_training.predictors.predictor import Predictor

PREDICTORS = ('ours', '3ddfa_v2', 'mediapipe')


def make_predictor(
    name: str, *, model: str | Path | None = None, device: str = 'auto',
    baselines: str | Path | None = None,
) -> Predictor:
    """
    Make a predictor.

    :param name: one of `PREDICTORS`.
    :param model: checkpoint of 'ours'; None is the bundled one.
    :param device: device of 'ours': auto, cpu, cuda or cuda:N.
    :param baselines: folder with `3ddfa_v2/` and `mediapipe/`, for the other two.
    :return: the predictor.
    :raises UserError: the name is unknown, or weights are missing or damaged.
    """
    if name == 'ours':
        from trans3dhead_training.predictors.aligner_predictor import AlignerPredictor
        return AlignerPredictor(model, device)
    if name == '3ddfa_v2':
        from trans3dhead_training.predictors.three_ddfa_predictor import ThreeDdfaPredictor
        return ThreeDdfaPredictor(_checked_folder(baselines) / '3ddfa_v2')
    if name == 'mediapipe':
        from trans3dhead_training.predictors.mediapipe_predictor import MediaPipePredictor
        return MediaPipePredictor(_checked_folder(baselines) / 'mediapipe')
    raise UserError(f'predictor: {name!r} is unknown; use one of {", ".join(PREDICTORS)}')


def _checked_folder(baselines: str | Path | None) -> Path:
    if baselines is None or not Path(baselines).is_dir():
        raise UserError(f'baselines: no folder {baselines}; give the one with 3ddfa_v2/ and '
                        'mediapipe/')
    return Path(baselines)
