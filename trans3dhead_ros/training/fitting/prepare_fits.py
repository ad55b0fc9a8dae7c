"""`trans3dhead prepare fits`: fit the head model to every labelled face and its mirror image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from trans3dhead_ros.arguments import ArgumentParser
from trans3dhead_ros.landmarks import MIRROR_68
from trans3dhead_ros.training.data.labels import HELD_OUT_SOURCES, FaceRecord, read_labels
from trans3dhead_ros.training.data_root import data_root
from trans3dhead_ros.training.fitting.fit import Fit, FitConfig, fit_landmarks, measure_offsets
from trans3dhead_ros.training.prepare_head_model import load_head_model

OFFSET_FACES = 600


def fit_records(records: Sequence[FaceRecord], model_path: Path) -> dict[str, np.ndarray]:
    """
    Fit labelled records and their mirror images.

    :return: arrays (N, 2, ...) of `Fit`'s fields, [:, 0] the face, [:, 1] its mirror image, and
        `files` (N,), and `offsets` (51, 3) of `measure_offsets`, which validation faces do not
        touch.
    """
    model = load_head_model(model_path)
    config = FitConfig()
    points = np.stack([record.points for record in records])
    mirror = points[:, MIRROR_68] * [-1.0, 1.0]
    both = torch.from_numpy(np.stack([points, mirror], 1)).float().flatten(0, 1)
    by_hand = np.array([record.source in HELD_OUT_SOURCES and not record.is_validation
                        for record in records])
    offsets = measure_offsets(model, torch.from_numpy(points[by_hand][:OFFSET_FACES]), config)
    parts = [fit_landmarks(model, part, config, offsets)
             for part in tqdm(both.split(config.batch), desc='fit', disable=None)]
    result = {'files': np.array([record.file for record in records]),
              'offsets': offsets.numpy()}
    for field in fields(Fit):
        values = torch.cat([getattr(part, field.name) for part in parts])
        result[field.name] = values.unflatten(0, (-1, 2)).numpy()
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run `trans3dhead prepare fits`."""
    parser = ArgumentParser(prog='trans3dhead prepare fits', description=__doc__)
    parser.add_argument('--data', type=Path, help='folder with labels.csv (default: data folder)')
    parser.add_argument('--head-model', type=Path, default=Path('runs/head_model.npz'))
    parser.add_argument('--output', type=Path, default=Path('runs/fits.npz'))
    arguments = parser.parse_args(argv)
    folder = arguments.data or data_root() / 'faces'
    records = [record for record in read_labels(folder) if record.points is not None]
    fits = fit_records(records, arguments.head_model)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(arguments.output, **fits)
    error = 100 * fits['inner_error'][:, 0]
    print(f'{arguments.output}: {len(records)} faces, inner-51 residual median '
          f'{np.median(error):.2f} %, 95th percentile {np.percentile(error, 95):.2f} % of the box')
    return 0
