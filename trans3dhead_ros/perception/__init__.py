"""From an image to heads: detect, crop, align, metric pose, track, smooth."""
