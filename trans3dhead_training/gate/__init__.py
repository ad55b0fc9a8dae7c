"""Judges a candidate against the model in use, on sets that no training draws from."""
