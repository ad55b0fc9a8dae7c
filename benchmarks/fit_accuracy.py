"""
Accuracy of the fits: `python benchmarks/fit_accuracy.py --data DATA`.

First on simulated heads of known pose that the fit's own model cannot represent: all identity modes
of the source, expressions outside the basis, smooth displacements, perspective cameras of 25-100
degrees, noise of 1 % of the box on each coordinate, jaw on the mesh's silhouette. Then on the faces
labelled by hand: how many fits are accepted, their residuals, and the error at points that are left
out of the fit.
"""

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from trans3dhead_ros.geometry import geodesic_distance_deg
from trans3dhead_ros.landmarks import JAW_COUNT
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.data.labels import HELD_OUT_SOURCES, read_labels
from trans3dhead_training.fitting.fit import (
    Fit,
    fit_landmarks,
    leave_out_errors,
    towards_box,
)
from trans3dhead_training.fitting.fit_quality import rejection_reasons
from trans3dhead_training.fitting.fit_report import format_table, summarize
from trans3dhead_training.fitting.head_basis import load_head_model_npz
from trans3dhead_training.fitting.simulated_faces import (
    FaceSimulator,
    SimulatedFaces,
    SimulationConfig,
)
from trans3dhead_training.fitting.source_conventions import measure_spread

NEAR = 60.0


def print_errors(name: str, runs: list[tuple[SimulatedFaces, Fit]]) -> None:
    """Print the mean over seeds, and the lowest and highest of them."""
    near, beyond, every, distance = [], [], [], []
    for heads, fit in runs:
        error = geodesic_distance_deg(fit.rotation.double().numpy(), heads.rotation)
        far = np.abs(heads.yaw_deg) > NEAR
        near.append(error[~far].mean())
        beyond.append(error[far].mean())
        every.append(error)
        distance.append(np.abs(np.log(fit.inverse_distance.numpy() / heads.inverse_distance)))
    away = np.expm1(np.median(np.concatenate(distance)))
    print(f'  {name:34} {np.mean(near):7.2f} {f"{min(near):.2f}..{max(near):.2f}":>12} '
          f'{np.mean(beyond):7.2f} {np.percentile(np.concatenate(every), 95):7.2f} '
          f'{100 * away:8.0f} %')


def simulated_faces(
    model_path: Path, source: FaceSimulator, count: int, seeds: Sequence[int],
) -> None:
    model = load_head_model_npz(model_path)
    print(f'{count} heads of known pose for each of the seeds {", ".join(map(str, seeds))}: '
          f'rotation error, degrees\n  {"":34} {"<= 60":>7} {"of seeds":>12} {"beyond":>7} '
          f'{"p95":>7} {"distance":>10}')
    usual = SimulationConfig()
    for place, config in (('', usual), (', at the middle', replace(usual, off_centre=1e-3)),
                          (', anywhere', replace(usual, off_centre=1.0)),
                          (', 0.7 % noise', replace(usual, noise=0.007))):
        unknown, known = [], []
        for seed in seeds:
            heads = source.draw(count, np.random.default_rng(seed), config)
            points = torch.from_numpy(heads.points).float()
            unknown.append((heads, fit_landmarks(model, points)))
            camera = torch.eye(3).repeat(count, 1, 1)
            camera[:, 0, 0] = camera[:, 1, 1] = torch.from_numpy(heads.focal_px).float()
            turned, focal = towards_box(points, camera)
            known.append((heads, fit_landmarks(model, turned, focal_px=focal)))
        print_errors(f'camera unknown{place}', unknown)
        print_errors(f'field of view known{place}', known)


def hand_labelled_faces(model_path: Path, folder: Path, rounds: int, seed: int) -> None:
    model = load_head_model_npz(model_path)
    records = [record for record in read_labels(folder)
               if record.points is not None and record.source in HELD_OUT_SOURCES]
    points = torch.from_numpy(np.stack([record.points for record in records])).float()
    validation = np.array([record.is_validation for record in records])
    convention = measure_spread(model, points.numpy()[~validation], None)
    fit = fit_landmarks(model, points, convention=convention)
    why = rejection_reasons(fit, points.numpy())
    statistics = summarize(fit, why, [record.source for record in records])
    print(f'\nFaces labelled by hand\n{format_table(statistics)}')
    kept = torch.from_numpy(why == '')
    every = Fit(*(getattr(fit, field.name)[kept] for field in fields(Fit)))
    print(f'kept fits: expressions {every.expression.min():.2f}..{every.expression.max():.2f}, '
          f'identity rms {every.shape.square().mean().sqrt():.2f} sigma')
    generator = np.random.default_rng(seed)
    parts = [leave_out_errors(model, points[kept], convention, generator)
             for _ in range(rounds)]
    chosen, error = (torch.cat(column) for column in zip(*parts, strict=True))
    held_out = torch.from_numpy(validation)[kept].repeat(rounds)
    for name, rows in (('all faces', torch.ones_like(held_out)), ('validation faces', held_out)):
        inner, away = chosen[rows] >= JAW_COUNT, 100 * error[rows]
        print(f'left-out points, 5 of 68 at a time, {name}: inner 51 {away[inner].mean():.2f} %, '
              f'jaw {away[~inner].mean():.2f} %, all {away.mean():.2f} % of the box')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path,
                        help='folder of the data (default: TRANS3DHEAD_DATA)')
    parser.add_argument('--head-model', type=Path, default=Path('runs/head_model.npz'))
    parser.add_argument('--count', type=int, default=1000, help='heads (default %(default)s)')
    parser.add_argument('--rounds', type=int, default=2,
                        help='sets of five points left out of each face (default %(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--seeds', type=int, default=1,
                        help='sets of heads, from --seed on (default %(default)s)')
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = options.data or data_root()
    source = FaceSimulator(data / 'head_model' / 'ict_facekit.npz')
    simulated_faces(options.head_model, source, options.count,
                    range(options.seed, options.seed + options.seeds))
    hand_labelled_faces(options.head_model, data / 'faces', options.rounds, options.seed)


if __name__ == '__main__':
    main()
