"""OpenCV's own runtime, `cv2.dnn`: where there is OpenCV 4.10 or newer, nothing else is needed."""

from __future__ import annotations

import cv2
import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.backends import REMEDIES
from trans3dhead_ros.inference.engine import Engine
from trans3dhead_ros.model_files.onnx_graph import OnnxGraph
from trans3dhead_ros.types import Float32Array

_MAX_NETS = 8
_EXAMPLE_SIDE = 64
"""For the first import, where the file takes images of any size, px."""


class OpenCVEngine(Engine):
    """
    Networks of OpenCV, one for each shape of the input: its importer of ONNX fixes shapes.

    :param graph: the file.
    :raises ValueError: when OpenCV cannot import the graph.
    """

    backend = 'opencv'
    version = cv2.__version__
    device = 'cpu'

    def __init__(self, graph: OnnxGraph) -> None:
        self._graph = graph
        self._nets: dict[tuple[int, ...], cv2.dnn.Net] = {}
        batch, *sizes = graph.input_shape
        self._net((batch or 1, *(size or _EXAMPLE_SIDE for size in sizes)))

    def run(self, batch: Float32Array) -> dict[str, Float32Array]:
        """Run inference on a batch, see `Engine.run`."""
        net = self._net(batch.shape)
        net.setInput(np.ascontiguousarray(batch))
        answers = net.forward(list(self._graph.outputs))
        return dict(zip(self._graph.outputs, map(np.asarray, answers), strict=True))

    def _net(self, shape: tuple[int, ...]) -> cv2.dnn.Net:
        net = self._nets.pop(shape, None)
        if net is None:
            data = np.frombuffer(self._graph.with_input_shape(shape), np.uint8)
            try:
                net = cv2.dnn.readNetFromONNX(data)
            except cv2.error as error:
                reason = ' '.join(error.err.split())[:200] if error.err else 'unknown'
                raise UserError(
                    f'OpenCV {cv2.__version__} cannot import the graph; use another backend, for '
                    f'example {REMEDIES["onnxruntime"]} ({reason})') from None
        self._nets[shape] = net  # the most recent last
        if len(self._nets) > _MAX_NETS:
            del self._nets[next(iter(self._nets))]
        return net
