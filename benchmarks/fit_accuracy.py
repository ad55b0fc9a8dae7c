"""
How true the fits are: `python benchmarks/fit_accuracy.py --data ../shared/data`.

First on heads of known pose that the fit's own model cannot make: all identity modes of the source,
expressions outside the basis, smooth displacements, perspective cameras of 25-100 degrees, noise of
1 % of the box on each coordinate, jaw on the mesh's silhouette. Then on the faces labelled by hand:
how many are kept, what is left of the labels, and where the fit puts points that it does not see.
"""

import argparse
import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from trans3dhead_ros.geometry import geodesic_distance_deg
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_ros.training.data.labels import HELD_OUT_SOURCES, read_labels
from trans3dhead_ros.training.fitting.fit import (
    Fit,
    fit_landmarks,
    left_out_errors,
    measure_offsets,
    towards_box,
)
from trans3dhead_ros.training.fitting.judge import reasons
from trans3dhead_ros.training.fitting.prepare_fits import OFFSET_FACES
from trans3dhead_ros.training.fitting.report import summary, table
from trans3dhead_ros.training.fitting.truth import TrueHeads, TruthConfig, TruthSource
from trans3dhead_ros.training.prepare_head_model import load_head_model

NEAR = 60.0


def tell(name: str, heads: TrueHeads, fit: Fit) -> None:
    error = geodesic_distance_deg(fit.rotation.double().numpy(), heads.rotation)
    beyond = np.abs(heads.yaw_deg) > NEAR
    distance = np.abs(np.log(fit.inverse_distance.numpy() / heads.inverse_distance))
    print(f'  {name:34} {error[~beyond].mean():7.2f} {error[beyond].mean():7.2f} '
          f'{np.percentile(error, 95):7.2f} {100 * np.median(np.expm1(distance)):8.0f} %')


def true_heads(model_path: Path, source: TruthSource, count: int, seed: int) -> None:
    model = load_head_model(model_path)
    print(f'{count} heads of known pose: rotation error, degrees\n'
          f'  {"":34} {"<= 60":>7} {"beyond":>7} {"p95":>7} {"distance":>10}')
    usual = TruthConfig()
    for place, config in (('', usual), (', at the middle', replace(usual, off_centre=1e-3)),
                          (', anywhere', replace(usual, off_centre=1.0)),
                          (', 0.7 % noise', replace(usual, noise=0.007))):
        heads = source.draw(count, np.random.default_rng(seed), config)
        points = torch.from_numpy(heads.points).float()
        tell(f'camera unknown{place}', heads, fit_landmarks(model, points))
        camera = torch.eye(3).repeat(count, 1, 1)
        camera[:, 0, 0] = camera[:, 1, 1] = torch.from_numpy(heads.focal_px).float()
        turned, focal = towards_box(points, camera)
        tell(f'field of view known{place}', heads, fit_landmarks(model, turned, focal_px=focal))


def manual_sets(model_path: Path, folder: Path, rounds: int, seed: int) -> None:
    model = load_head_model(model_path)
    records = [record for record in read_labels(folder)
               if record.points is not None and record.source in HELD_OUT_SOURCES]
    points = torch.from_numpy(np.stack([record.points for record in records])).float()
    free = torch.tensor([not record.is_validation for record in records])
    offsets = measure_offsets(model, points[free][:OFFSET_FACES])
    fit = fit_landmarks(model, points, offsets=offsets)
    why = reasons(fit, points.numpy())
    print(f'\nFaces labelled by hand\n{table(summary(fit, why, [r.source for r in records]))}')
    kept = torch.from_numpy(why == '')
    every = Fit(*(getattr(fit, field.name)[kept] for field in fields(Fit)))
    print(f'kept fits: expressions {every.expression.min():.2f}..{every.expression.max():.2f}, '
          f'identity rms {every.shape.square().mean().sqrt():.2f} sigma')
    generator = np.random.default_rng(seed)
    parts = [left_out_errors(model, points[kept], offsets, generator) for _ in range(rounds)]
    chosen, error = (torch.cat(column).flatten() for column in zip(*parts, strict=True))
    inner = chosen >= JAW_COUNT
    print(f'left-out points, 5 of 68 at a time: inner 51 {100 * error[inner].mean():.2f} %, jaw '
          f'{100 * error[~inner].mean():.2f} %, all {100 * error.mean():.2f} % of the box')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path,
                        default=Path(os.environ.get('TRANS3DHEAD_DATA', '../shared/data')))
    parser.add_argument('--head-model', type=Path, default=Path('runs/head_model.npz'))
    parser.add_argument('--count', type=int, default=1000, help='heads (default %(default)s)')
    parser.add_argument('--rounds', type=int, default=2,
                        help='sets of five points left out of each face (default %(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = TruthSource(options.data / 'head_model' / 'ict_facekit.npz')
    true_heads(options.head_model, source, options.count, options.seed)
    manual_sets(options.head_model, options.data / 'faces', options.rounds, options.seed)


if __name__ == '__main__':
    main()
