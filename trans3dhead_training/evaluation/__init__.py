"""Errors of predictors on labelled faces, on altered images without labels, and on clips."""
