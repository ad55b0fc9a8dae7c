"""What each part of the data is worth: validation errors of networks trained with and without it.

    trans3dhead train --config config/train_paper.yaml data=DATA output=RUN minutes=0 steps=N \
        threads=1 sampling.use_fits=… sampling.shares.turned=… sampling.shares.synthetic=…
    python benchmarks/data_parts.py --data DATA RUN/last.safetensors …

Every checkpoint is measured on the held-out heads of every part of DATA, none of which was trained
on. Points in percent of sqrt(w h) of the landmark box, angles in degrees.
"""

import argparse
from pathlib import Path

import torch

from trans3dhead_ros.network.checkpoint import load_checkpoint
from trans3dhead_training.data.head_dataset import HeadDataset
from trans3dhead_training.data.manifest import Manifest
from trans3dhead_training.engine.validation import validate

COLUMNS = ('inner51_percent', 'nme68_percent', 'rotation_deg', 'nme68_0-30', 'nme68_30-60',
           'nme68_60-90', 'rotation_0-30', 'rotation_30-60', 'rotation_60-90')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, default=Path('runs/data'))
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('checkpoints', nargs='+', type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device('cpu')
    parts = [part for part in Manifest.load(arguments.data).parts if part.validation]
    for part in parts:
        print(f'\n{part.name}, {part.validation} held out')
        print(f'{"":40s}' + ''.join(f'{name.replace("_percent", ""):>16s}' for name in COLUMNS))
        for path in arguments.checkpoints:
            network, _ = load_checkpoint(path, device)
            heads = HeadDataset.read(arguments.data, network.head_model, (part.name,), True,
                                     network.config.input_size, network.config.crop_scale)
            figures = validate(network, heads, device, by_yaw=True)
            name = '/'.join(path.parts[-2:])
            print(f'{name:40s}' + ''.join(
                f'{figures[key]:16.2f}' if key in figures else f'{"":>16s}' for key in COLUMNS))


if __name__ == '__main__':
    main()
