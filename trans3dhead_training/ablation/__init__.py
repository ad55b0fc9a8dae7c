"""Ablations: parts of the method left out or replaced one at a time, at equal budget."""
