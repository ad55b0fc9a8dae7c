"""What other methods compute for one head, timed in the same engine, alternating with ours."""

from __future__ import annotations

import numpy as np

from trans3dhead_ros.bench.mobilenet import INPUT_SIZE, mobilenet
from trans3dhead_ros.bench.timing import Action
from trans3dhead_ros.inference.engine import Engine
from trans3dhead_ros.inference.open_engine import open_graph
from trans3dhead_ros.model_files.onnx_graph import parse_onnx

FULL, HALF, DENSE = 'MobileNet-v1 x1', 'MobileNet-v1 x0.5', 'dense reconstruction'
"""Names of the peers; the first and the last together do what 3DDFA_V2 does for one head."""

VERTEX_COUNT, COEFFICIENT_COUNT = 38365, 50
"""Of the dense face of 3DDFA_V2, which comes from 40 coefficients of shape and 10 of expression."""


def peer_actions(engine: Engine, threads: int) -> dict[str, Action]:
    """
    Return the peers.

    :param engine: theirs is of the same kind, on the same device.
    :param threads: of the CPU.
    :return: actions by name; none for an engine that reads no graphs.
    """
    if engine.backend == 'torch':
        return {}
    return {**{name: _mobilenet(engine, width, threads)
               for name, width in ((FULL, 1.0), (HALF, 0.5))}, DENSE: dense_reconstruction()}


def dense_reconstruction() -> Action:
    """Return the product of a basis with coefficients, in single precision, plus the mean."""
    generator = np.random.default_rng(0)
    mean = generator.standard_normal(3 * VERTEX_COUNT, np.float32)
    basis = generator.standard_normal((3 * VERTEX_COUNT, COEFFICIENT_COUNT), np.float32)
    coefficients = generator.standard_normal(COEFFICIENT_COUNT, np.float32)
    return lambda: (mean + basis @ coefficients).reshape(VERTEX_COUNT, 3)


def _mobilenet(engine: Engine, width: float, threads: int) -> Action:
    peer = open_graph(parse_onnx(mobilenet(width)), engine.backend, engine.device, threads)
    crop = np.random.default_rng(0).random((1, 3, INPUT_SIZE, INPUT_SIZE), np.float32)
    return lambda: peer.run(crop)
