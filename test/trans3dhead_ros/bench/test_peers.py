"""The peers of `trans3dhead bench` are what they stand for, and its ratios are right."""

import math

import numpy as np
import pytest

from trans3dhead_ros.bench.mobilenet import mobilenet
from trans3dhead_ros.bench.peers import DENSE, FULL, HALF, dense_reconstruction
from trans3dhead_ros.bench.ratios import (
    FIVE_HEADS,
    FIVE_POSES,
    NETWORK,
    ONE_HEAD,
    ONE_POSE,
    ratios,
    spread_boxes,
)
from trans3dhead_ros.inference.backends import is_installed
from trans3dhead_ros.inference.open_engine import open_graph
from trans3dhead_ros.model_files.onnx_graph import parse_onnx


@pytest.mark.parametrize(('width', 'weights', 'multiply_adds'), [
    (1.0, 3.27e6, 183.5e6), (0.5, 0.85e6, 49.5e6)])  # as its authors have counted
def test_a_mobilenet_has_the_size_of_that_of_3ddfa_v2(width, weights, multiply_adds):
    onnx = pytest.importorskip('onnx')
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(mobilenet(width)))
    onnx.checker.check_model(model, full_check=True)
    constants = {item.name: math.prod(item.dims) for item in model.graph.initializer}
    kernels = {item.name: math.prod(item.dims[1:]) for item in model.graph.initializer}
    outputs = {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
               for value in (*model.graph.value_info, *model.graph.output)}
    counted = sum(math.prod(outputs[node.output[0]]) * kernels[node.input[1]]
                  for node in model.graph.node if node.op_type in ('Conv', 'Gemm'))
    # They count batch normalisation, which is folded here: two weights a channel, of which the bias
    # is left, and four operations an element.
    folded = [node for node in model.graph.node if node.op_type == 'Conv']
    normalized = sum(math.prod(outputs[node.output[0]]) for node in folded)
    scales = sum(constants[node.input[2]] for node in folded)
    assert sum(constants.values()) + scales == pytest.approx(weights, rel=0.002)
    assert counted + 4 * normalized == pytest.approx(multiply_adds, rel=0.002)
    assert len(folded) == 27
    assert parse_onnx(mobilenet(width)).constants == sum(constants.values())


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino', 'opencv'])
def test_every_engine_that_reads_graphs_runs_it(backend):
    if not is_installed(backend):
        pytest.skip(f'{backend} is not installed')
    graph = parse_onnx(mobilenet(0.5))
    assert (graph.inputs, graph.outputs) == (('crop',), ('parameters',))
    assert graph.input_shape == (1, 3, 120, 120)
    crop = np.random.default_rng(0).random(graph.input_shape, np.float32)
    found = open_graph(graph, backend, 'cpu', 1).run(crop)['parameters']
    assert found.shape == (1, 62) and np.isfinite(found).all()
    # Activations have kept their size: none has died out or become denormal.
    assert 1e-3 < np.abs(found).mean() < 1e3


def test_the_reconstruction_is_dense_and_in_single_precision():
    vertices = dense_reconstruction()()
    assert vertices.shape == (38365, 3) and vertices.dtype == np.float32


def test_ratios_are_those_of_medians():
    times = {ONE_HEAD: [3.0, 4.0, 90.0], NETWORK: [2.0], FULL: [3.0, 3.0, 50.0], DENSE: [1.0],
             HALF: [1.0], FIVE_HEADS: [10.0], ONE_POSE: [0.3], FIVE_POSES: [0.6]}
    assert ratios({name: np.array(values) for name, values in times.items()}) == {
        'ratio_to_peer': 1.0, 'network_to_mobilenet': 0.667, 'network_to_half_mobilenet': 2.0,
        'five_heads_to_one': 2.5, 'pose_to_mobilenet': 0.1, 'five_poses_to_mobilenet': 0.2}


def test_without_peers_only_our_own_ratio_is_known():
    found = ratios({ONE_HEAD: np.array([4.0]), FIVE_HEADS: np.array([10.0])})
    assert found['five_heads_to_one'] == 2.5 and found['ratio_to_peer'] is None


def test_spread_boxes_lie_around_the_head_and_differ():
    box = np.array([100.0, 50.0, 140.0, 110.0])
    boxes = spread_boxes(box, 5)
    assert boxes.shape == (5, 4) and len(np.unique(boxes, axis=0)) == 5
    assert np.abs(boxes - box).max() <= 0.05 * 60.0
    assert np.allclose(boxes[:, 2:] - boxes[:, :2], box[2:] - box[:2])
