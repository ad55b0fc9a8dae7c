"""Glasses, masks, hats and handheld objects that cover a face."""
