"""Fits of the head model to labelled faces, checked by other networks (the teachers)."""
