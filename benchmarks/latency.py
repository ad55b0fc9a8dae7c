"""
Measure the network next to a MobileNet-v1, and the stages of the pipeline.

    python benchmarks/latency.py [--model FILE] [--device auto] [--threads 1] [--rounds 200]

Both networks process one crop at a time, taking turns in one process, so that other load affects
both; the ratio of the medians is the figure to compare. MobileNet is the usual baseline of this
task: version 1, width 1, 120 x 120 input, 62 outputs, 3.27 M weights.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
import torch
from torch import nn

from trans3dhead_ros import Camera, HeadPipeline
from trans3dhead_ros.cli.bench_stages import align_actions, network_actions, take_turns
from trans3dhead_ros.network.cost import multiply_adds, weight_count
from trans3dhead_ros.perception.aligner import HeadAligner
from trans3dhead_ros.perception.detector import CascadeDetector

BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5,
          (1024, 2), (1024, 1))


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int, stride: int, groups: int = 1,
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups,
                  bias=False),
        nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class MobileNet(nn.Module):
    """Howard et al., 2017: depthwise separable convolutions, width 1."""

    def __init__(self, outputs: int = 62) -> None:
        super().__init__()
        layers = [conv_bn_relu(3, 32, 3, 2)]
        channels = 32
        for width, stride in BLOCKS:
            layers += [conv_bn_relu(channels, channels, 3, stride, groups=channels),
                       conv_bn_relu(channels, width, 1, 1)]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(channels, outputs)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.output(self.layers(crops).mean((2, 3)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', help='checkpoint (default: the bundled one)')
    parser.add_argument('--device', default='auto')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=200)
    options = parser.parse_args()
    cv2.setNumThreads(options.threads)

    aligner = HeadAligner.load(options.model, options.device, 'torch', options.threads)
    device, network = aligner.device, aligner.engine.network
    size = network.config.input_size
    crops = torch.rand(1, 3, size, size, device=device)
    baseline, small = MobileNet().eval().to(device), torch.rand(1, 3, 120, 120, device=device)
    rows = [('network', network, crops), ('MobileNet-v1 x1', baseline, small)]
    with torch.inference_mode():
        turns = take_turns({'network': lambda: network(crops).landmarks.cpu(),
                            'baseline': lambda: baseline(small).cpu()}, options.rounds)
    times = [float(np.median(taken)) for taken in turns.values()]
    print(f'{device}, {options.threads} thread(s), median of {options.rounds}, one crop')
    for (name, module, example), taken in zip(rows, times, strict=True):
        print(f'  {name:16s} {example.shape[-1]:4d} px  {weight_count(module) / 1e6:5.2f} M weights'
              f'  {multiply_adds(module, example) / 1e6:6.1f} M MAC  {taken:6.2f} ms')
    print(f'  ratio            {times[0] / times[1]:.2f}')
    measure_stages(aligner, options.rounds)


def measure_stages(aligner: HeadAligner, rounds: int) -> None:
    """Print the time of each stage of `align`, for a head in a distorted 640 x 480 image."""
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    box = np.array([[250.0, 150.0, 370.0, 280.0]])
    camera = Camera([[600.0, 0, 319.5], [0, 600.0, 239.5], [0, 0, 1]], (-0.2, 0.05, 0, 0),
                    (640, 480))
    pipeline = HeadPipeline(aligner, CascadeDetector())
    actions = network_actions(aligner, [1]) | align_actions(pipeline, image, box, camera)
    times = take_turns(actions, rounds)
    taken = {name: float(np.median(values)) for name, values in times.items()}
    print('pipeline, one head in 640 x 480')
    for name, time_ms in taken.items():
        print(f'  {name:24s} {time_ms:6.2f} ms')
    overhead = taken['align, camera'] - taken['network, 1 crop']
    print(f'  {"align without network":24s} {overhead:6.2f} ms')
    search = take_turns({'full': lambda: pipeline.detector.detect(image),
                         'pass': lambda: pipeline.detector.detect(image, 0)}, 5)
    full, single = (float(np.median(values)) for values in search.values())
    print(f'  cascade, full search     {full:6.0f} ms, one pass {single:.0f} ms')


if __name__ == '__main__':
    main()
