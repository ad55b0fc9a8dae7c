"""One interface to our network and to other people's, so that one command evaluates all of them."""

from trans3dhead_training.predictors.predictor import Alignment, ImageBoxes, Predictor
from trans3dhead_training.predictors.registry import PREDICTORS, make_predictor

__all__ = ['PREDICTORS', 'Alignment', 'ImageBoxes', 'Predictor', 'make_predictor']
