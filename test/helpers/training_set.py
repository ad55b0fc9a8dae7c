"""A training of seconds: faces drawn as dots on noise, and the keys of a small network."""

import csv
from pathlib import Path

import cv2
import numpy as np
import torch
from command_line import prepare_data, prepare_fits
from synthetic import small_head_model

from trans3dhead_ros.geometry import rotation_from_euler
from trans3dhead_training.fitting.head_basis import save_head_model_npz

NETWORK = ['network.input_size=32', 'network.widths=[8,8,16,16]', 'network.blocks=[1,1,1]',
           'network.dim=16', 'network.num_heads=2', 'network.ffn_dim=16']


def write_training_set(root: Path) -> Path:
    """Write the faces, their labels.csv, the head model, the fits and the shards."""
    model = small_head_model()
    save_head_model_npz(model, root / 'head_model.npz')
    generator = np.random.default_rng(0)
    faces = root / 'faces'
    (faces / 'helen').mkdir(parents=True)
    rows = []
    for number in range(60):
        rotation = rotation_from_euler(generator.uniform(-25, 25, 3))
        shape = torch.from_numpy(generator.normal(size=(1, 4))).float()
        head = model.landmarks(model(shape, torch.zeros(1, 3)))[0].numpy()
        points = 600 * (head @ rotation.T)[:, :2] + 120 + generator.uniform(-5, 5, 2)
        # Noise of its own, so that no picture counts as a near-duplicate of another.
        image = cv2.resize(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8), (240, 240))
        for x, y in points:
            cv2.circle(image, (round(x), round(y)), 3, (255, 255, 255), -1)
        name = f'helen/photo{number}_1.jpg'
        cv2.imwrite(str(faces / name), image)
        rows.append([name, 'helen', 'train', *points.flatten()])
    header = ['file', 'source', 'split', *(f'{a}{i}' for i in range(68) for a in 'xy')]
    with (faces / 'labels.csv').open('w', newline='') as file:
        csv.writer(file).writerows([header, *rows])
    prepare_fits(['--data', str(faces), '--head-model', str(root / 'head_model.npz'),
                  '--output', str(root / 'fits.npz')])
    # Dots on an egg are not a face: accept the fits that are rejected for their residuals.
    with np.load(root / 'fits.npz') as archive:
        fits = dict(archive)
    fits['accepted'][:] = True
    np.savez(root / 'fits.npz', **fits)
    prepare_data(['--data', str(root), '--fits', str(root / 'fits.npz'), '--output',
                  str(root / 'data'), '--parts', 'photographs', '--workers', '1'])
    return root


def overrides(root: Path, output: Path, steps: int) -> list[str]:
    return [f'data={root / "data"}', f'head_model={root / "head_model.npz"}',
            f'output={output}', 'minutes=0', f'steps={steps}',
            'batch_size=8', 'warmup_steps=2', 'validate_minutes=100', 'threads=1',
            'precision=float32', 'export=false', *NETWORK]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / 'state.pt', weights_only=True)['network']
