"""The kinds of NumPy arrays that signatures name."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""Numbers in double precision."""

Float32Array = NDArray[np.float32]
"""Numbers in single precision, for what is large or goes to a GPU."""

IndexArray = NDArray[np.int64]
"""Indices, such as the vertices of triangles (T, 3)."""

BoolArray = NDArray[np.bool_]
"""True or false for each element."""

Image = NDArray[np.uint8]
"""A colour image, (H, W, 3), in the order blue, green, red."""

Mask = NDArray[np.uint8]
"""An image of one channel, (H, W); 0 is outside, 255 inside."""
