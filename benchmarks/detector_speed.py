"""
Measure the head detector beside a YuNet file, both in ONNX Runtime.

    python benchmarks/detector_speed.py YUNET.onnx [--model FILE] [--size 640 480] [--rounds 60]

The YuNet file must take any size. Both run on the same image with one thread, taking turns in one
process, so that whatever else the machine does hits both alike. The ratio to YuNet in the same turn
is the figure to compare: its median, and the quartiles between which half of the turns lie. Of
either only the network is measured, without the suppression of duplicates.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import onnxruntime

from trans3dhead_ros.model_files.detector_files import open_detector
from trans3dhead_ros.model_files.detector_metadata import bundled_detector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('yunet', type=Path)
    parser.add_argument('--model', type=Path, default=bundled_detector())
    parser.add_argument('--size', type=int, nargs=2, default=(640, 480),
                        metavar=('WIDTH', 'HEIGHT'))
    parser.add_argument('--rounds', type=int, default=60)
    options = parser.parse_args()
    width, height = options.size
    image = np.random.default_rng(0).random((1, 3, height, width), np.float32)
    sessions = [session(data) for data in (
        options.yunet.read_bytes(), open_detector(options.model).graph.data)]
    seconds = np.array([[process_seconds(each, image) for each in sessions]
                        for _ in range(options.rounds + 3)])[3:]
    low, middle, high = np.percentile(seconds[:, 1] / seconds[:, 0], (25, 50, 75))
    print(f'{width} x {height}, 1 thread, {options.rounds} turns: YuNet '
          f'{1e3 * np.median(seconds[:, 0]):.1f} ms, ours {1e3 * np.median(seconds[:, 1]):.1f} ms '
          f'of processor time; {middle:.2f} of YuNet ({low:.2f}-{high:.2f})')


def session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=['CPUExecutionProvider'])


def process_seconds(each: onnxruntime.InferenceSession, image: np.ndarray) -> float:
    started = time.process_time()
    each.run(None, {each.get_inputs()[0].name: image})
    return time.process_time() - started


if __name__ == '__main__':
    main()
