"""
MobileNet-v1 as 3DDFA_V2 uses it, with random weights: what the network is compared with.

Howard et al., 2017: depthwise separable convolutions, each followed by batch normalisation and
ReLU; 3DDFA_V2 (Guo et al., 2020) feeds it crops of 120 pixels and takes 62 parameters from it.
Batch normalisation is folded into the convolutions, as torch's exporter leaves a network in
evaluation mode: 177.4 M multiply-adds are left of the 183.5 M that its authors count with it.
Speed does not depend on what the weights are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trans3dhead_ros.bench.onnx_writer import write_model, write_node
from trans3dhead_ros.types import Float32Array

INPUT_SIZE = 120
"""Side of the crop, px."""
OUTPUTS = 62
"""Parameters: pose, identity and expression."""

_STEM_CHANNELS = 32
# Channels and stride of each block.
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5,
           (1024, 2), (1024, 1))


@dataclass(frozen=True)
class _Convolution:
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    groups: int


def mobilenet(width: float = 1.0, seed: int = 0) -> bytes:
    """
    Return an ONNX file that takes one crop (1, 3, 120, 120) and gives (1, 62).

    :param width: factor of all channels.
    :param seed: of the weights.
    :return: the file.
    """
    generator = np.random.default_rng(seed)
    nodes, weights, name = [], {}, 'crop'
    for number, layer in enumerate(_convolutions(width)):
        inputs = layer.in_channels // layer.groups
        weights[f'weight{number}'] = _random(
            generator, layer.out_channels, inputs, layer.kernel, layer.kernel)
        weights[f'bias{number}'] = np.zeros(layer.out_channels, np.float32)
        nodes += [
            write_node('Conv', [name, f'weight{number}', f'bias{number}'], f'conv{number}',
                       dilations=[1, 1], group=layer.groups, kernel_shape=[layer.kernel] * 2,
                       pads=[layer.kernel // 2] * 4, strides=[layer.stride] * 2),
            write_node('Relu', [f'conv{number}'], f'relu{number}')]
        name = f'relu{number}'
    channels = layer.out_channels
    weights['weight'] = _random(generator, OUTPUTS, channels)
    weights['bias'] = np.zeros(OUTPUTS, np.float32)
    nodes += [write_node('GlobalAveragePool', [name], 'pooled'),
              write_node('Flatten', ['pooled'], 'features', axis=1),
              write_node('Gemm', ['features', 'weight', 'bias'], 'parameters', transB=1)]
    return write_model(nodes, weights, {'crop': (1, 3, INPUT_SIZE, INPUT_SIZE)},
                       {'parameters': (1, OUTPUTS)})


def _convolutions(width: float) -> list[_Convolution]:
    channels = int(_STEM_CHANNELS * width)
    layers = [_Convolution(3, channels, 3, 2, 1)]
    for wide, stride in _BLOCKS:
        layers += [_Convolution(channels, channels, 3, stride, channels),
                   _Convolution(channels, int(wide * width), 1, 1, 1)]
        channels = int(wide * width)
    return layers


def _random(generator: np.random.Generator, *shape: int) -> Float32Array:
    """Return weights that keep the size of activations, so that none becomes denormal."""
    scale = np.sqrt(2.0 / np.prod(shape[1:]))
    return (scale * generator.standard_normal(shape)).astype(np.float32)
