r"""
What an engine, or a lower precision, costs in accuracy and gains in speed.

    python benchmarks/engine_accuracy.py --data runs/data [--model FILE] [--parts photographs …]

Every installed engine runs on the held-out heads of the prepared data, in single precision, and
OpenVINO in bfloat16 as well. Errors are also given as differences from ONNX Runtime in percent; the
largest difference of a landmark is in pixels of the crop. Times are of one crop on one thread, in
turns, as ratios to ONNX Runtime. A reduced precision is worth offering where no error changes by
more than 1 %.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from trans3dhead_ros.bench.timing import ELAPSED, PROCESSOR, take_turns
from trans3dhead_ros.errors import UserError
from trans3dhead_ros.inference.backends import BACKENDS, is_installed
from trans3dhead_ros.inference.engine import Engine
from trans3dhead_ros.inference.open_engine import open_engine
from trans3dhead_ros.model_files.model_metadata import crop_settings
from trans3dhead_ros.model_files.model_pair import ModelFiles, open_model
from trans3dhead_ros.network.head_module import HeadModule
from trans3dhead_training.data.head_dataset import HeadDataset
from trans3dhead_training.data.manifest import Manifest
from trans3dhead_training.engine.validation import validate

ERRORS = ('inner51_percent', 'nme68_percent', 'labelled_percent', 'rotation_deg')
REFERENCE = 'onnxruntime'


class EngineNetwork:
    """An engine in the place of a network, and the landmarks that it has given."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.landmarks: list[np.ndarray] = []

    def eval(self) -> None:
        self.landmarks = []

    def __call__(self, crops: torch.Tensor) -> SimpleNamespace:
        found = self.engine.run(np.ascontiguousarray(crops.numpy()))
        self.landmarks.append(found['landmarks'].reshape(len(crops), -1, 2).copy())
        count = len(crops)
        shapes = {'landmarks': (count, -1, 2), 'contour': (count, -1, 2),
                  'rotation': (count, 3, 3), 'score': (count,)}
        return SimpleNamespace(**{name: torch.from_numpy(found[name].reshape(shape))
                                  for name, shape in shapes.items()})


def engines(files: ModelFiles) -> dict[str, Engine]:
    """Return all that run the model on one thread of the CPU."""
    found: dict[str, Engine] = {}
    for name in BACKENDS:
        if not is_installed(name):
            continue
        try:
            found[name] = open_engine(files, name, 'cpu', 1)
        except UserError as error:
            print(f'{name} is left out: {error}')
            continue
        if name == 'openvino':
            from trans3dhead_ros.inference.openvino_engine import OpenVINOEngine
            found['openvino bf16'] = OpenVINOEngine(files.graph, 1, 'bf16')
    if REFERENCE not in found:
        raise SystemExit(f'{REFERENCE} is needed, which the others are compared with')
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', type=Path, help='model (default: the bundled one)')
    parser.add_argument('--data', type=Path, default=Path('runs/data'))
    parser.add_argument('--parts', nargs='+', help='parts (default: all with held-out heads)')
    parser.add_argument('--rounds', type=int, default=100, help='measurements of each time')
    parser.add_argument('--processor-time', action='store_true',
                        help='measure CPU time instead of elapsed time')
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = open_model(options.model)
    size, scale = crop_settings(files.path, files.metadata)
    models = {name: EngineNetwork(engine) for name, engine in engines(files).items()}
    for batch in (1, 5):
        crops = np.random.default_rng(0).random((batch, 3, size, size), np.float32)
        taken = take_turns({name: lambda model=model, crops=crops: model.engine.run(crops)
                            for name, model in models.items()}, options.rounds,
                           clock=PROCESSOR if options.processor_time else ELAPSED)
        for name, times in taken.items():
            low, middle, high = np.percentile(times / taken[REFERENCE], (25, 50, 75))
            print(f'{batch} crop(s), {name:16s} {middle:5.2f} of the time of {REFERENCE} '
                  f'({low:.2f}-{high:.2f})')
    head_model = HeadModule.from_model(files.head_model())
    parts = options.parts or [part.name for part in Manifest.load(options.data).parts
                              if part.validation]
    for part in parts:
        heads = HeadDataset.read(options.data, head_model, (part,), True, size, scale)
        print(f'\n{part}')
        figures = {name: validate(model, heads, torch.device('cpu'))
                   for name, model in models.items()}
        reference = np.concatenate(models[REFERENCE].landmarks)
        for name, model in models.items():
            moved = 0.5 * size * np.abs(np.concatenate(model.landmarks) - reference).max()
            print(f'  {name:16s} landmarks within {moved:.4f} px' + ''.join(
                f'  {key} {figures[name][key]:.3f} '
                f'({100 * (figures[name][key] / figures[REFERENCE][key] - 1):+.2f} %)'
                for key in ERRORS if key in figures[name]))


if __name__ == '__main__':
    main()
