"""OpenVINO on a CPU."""

from __future__ import annotations

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.engine import Engine
from trans3dhead_ros.model_files.onnx_graph import OnnxGraph
from trans3dhead_ros.types import Float32Array


class OpenVINOEngine(Engine):
    """
    A compiled model of OpenVINO.

    :param graph: the file.
    :param threads: of the CPU.
    :param precision: 'f32', or 'bf16' for a processor that computes in it;
        `benchmarks/engine_accuracy.py` measures what the latter changes.
    :raises ValueError: when OpenVINO cannot load the graph.
    """

    backend = 'openvino'
    device = 'cpu'

    def __init__(self, graph: OnnxGraph, threads: int, precision: str = 'f32') -> None:
        import openvino

        self.version = openvino.__version__
        core = openvino.Core()
        try:
            model = core.read_model(graph.data, b'')
        except RuntimeError as error:
            raise UserError('OpenVINO cannot load the graph '
                            f'({" ".join(str(error).split())[:200]})') from None
        self._compiled = core.compile_model(model, 'CPU', {
            'INFERENCE_NUM_THREADS': threads, 'NUM_STREAMS': 1,
            'INFERENCE_PRECISION_HINT': precision, 'PERFORMANCE_HINT': 'LATENCY'})
        self._request = self._compiled.create_infer_request()
        self._outputs = [(name, self._compiled.output(name)) for name in graph.outputs]

    def run(self, batch: Float32Array) -> dict[str, Float32Array]:
        """Run inference on a batch, see `Engine.run`."""
        self._request.infer([np.ascontiguousarray(batch)], share_inputs=True)
        return {name: self._request.get_tensor(port).data.copy() for name, port in self._outputs}
