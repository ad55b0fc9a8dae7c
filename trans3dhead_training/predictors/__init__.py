"""One interface to our pipeline and to peers, so that one command measures all of them."""

from trans3dhead_training.predictors.predictor import Alignment, Predictor, make_predictor

__all__ = ['Alignment', 'Predictor', 'make_predictor']
