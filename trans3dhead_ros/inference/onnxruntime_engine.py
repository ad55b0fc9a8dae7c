"""ONNX Runtime, on a CPU or on CUDA."""

from __future__ import annotations

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference import cuda
from trans3dhead_ros.inference.engine import Engine
from trans3dhead_ros.model_files.onnx_graph import OnnxGraph
from trans3dhead_ros.types import Float32Array


class OnnxRuntimeEngine(Engine):
    """
    A session of ONNX Runtime.

    :param graph: the file.
    :param device: 'cpu' or 'cuda:N'.
    :param threads: of the CPU.
    :raises ValueError: when the runtime cannot load the graph, or cannot use the device.
    """

    backend = 'onnxruntime'

    def __init__(self, graph: OnnxGraph, device: str, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that wait actively would take the cores of a busy robot.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        options.log_severity_level = 3
        providers: list = ['CPUExecutionProvider']
        if device != 'cpu':
            providers.insert(0, cuda.onnxruntime_provider(device))
        self.device, self.version = device, onnxruntime.__version__
        try:
            self._session = onnxruntime.InferenceSession(graph.data, options, providers=providers)
        except Exception as error:  # its errors have no public base class
            raise UserError('ONNX Runtime cannot load the graph '
                            f'({" ".join(str(error).split())[:200]})') from None
        if device != 'cpu' and not cuda.provider_in_use(self._session):
            raise UserError(f'device: ONNX Runtime cannot use {device}; its CUDA libraries are '
                            "missing; use 'auto' or 'cpu', or backend torch")
        self._input, self._outputs = graph.inputs[0], list(graph.outputs)

    def run(self, batch: Float32Array) -> dict[str, Float32Array]:
        """Run inference on a batch, see `Engine.run`."""
        return dict(zip(self._outputs, self._session.run(self._outputs, {self._input: batch}),
                        strict=True))
