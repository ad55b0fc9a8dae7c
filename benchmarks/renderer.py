"""
Measure the renderer: heads per second at 256 x 256, a whole person of skin, eyes and hair.

    python benchmarks/renderer.py [--data DIR] [--device cpu] [--threads 1 2] [--heads 24]

The person is the ICT head (52,220 triangles, hidden mouth included) where the data folder has it,
else a procedural head of as many; with two eyes and two shells of hair cut out of a texture. Heads
turn over the full circle and fill the picture as a training crop does. Threads are torch's; workers
of a data loader are processes of one thread, so multiply the figure of one thread by them.

Why this renderer and not OpenGL: side by side on two cores under other load, one thread each, this
person drawn with new vertices per picture, a shadow map and the same shading, in milliseconds of
CPU time per head (best of 5 rounds): moderngl 5.13 on Mesa's llvmpipe 46 without antialiasing, 75
with 2 x 2 samples, 120 with MSAA x 4 (hair by alpha test in all three); this renderer 41, 56 with
two samples to a pixel and 157 with 3 x 3 (hair blended). OpenGL would also need EGL and a driver on
every machine that makes data, and on a GPU every picture would leave it to reach torch.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from trans3dhead_ros.network.device import resolve_device
from trans3dhead_training.core.data_root import data_root
from trans3dhead_training.fitting.head_basis import to_head_frame
from trans3dhead_training.synthesis.render.lighting import constant_irradiance
from trans3dhead_training.synthesis.render.mesh_batch import batch_meshes, vertex_normals
from trans3dhead_training.synthesis.render.renderer import Lighting, Scene, render
from trans3dhead_training.synthesis.render.textured_mesh import Material, Mesh

FACING = torch.tensor([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])
DISTANCE_M = 0.8


def noise_texture(
    size: int, colour: tuple[int, int, int], alpha: np.ndarray | None = None
) -> torch.Tensor:
    grain = np.random.default_rng(0).normal(0, 12, (size, size, 1))
    rgba = np.full((size, size, 4), 255.0)
    rgba[..., :3] = np.array(colour) + grain
    if alpha is not None:
        rgba[..., 3] = alpha
    return torch.from_numpy(rgba.clip(0, 255).astype(np.uint8))


def ball(rows: int, columns: int, radii: tuple[float, float, float]) -> tuple[torch.Tensor, ...]:
    """Vertices (V, 3), triangles (T, 3) and uv (T, 3, 2) of an ellipsoid about z."""
    polar = torch.linspace(0, math.pi, rows + 1)[:, None].expand(-1, columns + 1)
    azimuth = torch.linspace(0, 2 * math.pi, columns + 1).expand(rows + 1, -1)
    direction = torch.stack(
        [polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos()], -1)
    i = torch.arange(rows)[:, None] * (columns + 1) + torch.arange(columns)
    below = i + columns + 1
    triangles = torch.cat([
        torch.stack([i, below, below + 1], -1), torch.stack([i, below + 1, i + 1], -1)
    ]).flatten(0, 1)
    uv = torch.stack([azimuth / (2 * math.pi), polar / math.pi], -1).flatten(0, 1)
    return direction.flatten(0, 1) * torch.tensor(radii), triangles, uv[triangles]


def head(source: Path | None) -> Mesh:
    texture = noise_texture(1024, (205, 160, 135))
    skin = Material(specular=0.03, roughness=0.5, wrap=0.3)
    if source is None:
        vertices, triangles, uv = ball(160, 163, (0.09, 0.075, 0.12))
        return Mesh(vertices - torch.tensor([0.09, 0, 0.03]), triangles, uv, texture, skin, 'skin')
    with np.load(source) as ict:
        vertices = to_head_frame(ict['mean'].astype(np.float64))
        vertices -= vertices[ict['landmarks68'][27]]
        uv = ict['uv'][ict['uv_triangles']] * [1, -1] + [0, 1]
        triangles = torch.from_numpy(ict['triangles'].astype(np.int64))
    vertices, uv = (torch.from_numpy(values).float() for values in (vertices, uv))
    return Mesh(vertices, triangles, uv, texture, skin, 'skin')


def eye(left: bool) -> Mesh:
    vertices, triangles, uv = ball(24, 40, (0.012,) * 3)
    centre = torch.tensor([-0.02, 0.032 if left else -0.032, -0.012])
    return Mesh(vertices + centre, triangles, uv, noise_texture(128, (230, 228, 224)),
                Material(specular=0.04, roughness=0.15), 'eye_left' if left else 'eye_right')


def hair(skin: Mesh, shells: int = 2) -> Mesh:
    """The scalp lifted off the head by 6, 12 ... mm, in strands."""
    normals = vertex_normals(batch_meshes([[skin]], 'cpu')).T
    middle = skin.vertices[skin.triangles].mean(1)
    behind = middle[:, 2] > 0.05 + 0.9 * (middle[:, 0] + 0.03)
    scalp = skin.triangles[behind & (middle[:, 2] > -0.06)]
    vertices = torch.cat([skin.vertices + normals * 0.006 * (i + 1) for i in range(shells)])
    triangles = torch.cat([scalp + i * len(skin.vertices) for i in range(shells)])
    used, compact = triangles.unique(return_inverse=True)
    vertices = vertices[used]
    uv = torch.stack([vertices[:, 1] * 4 + 0.5, vertices[:, 2] * 2 + 0.5], -1).clamp(0, 1)
    strands = np.tile(128 + 127 * np.sin(np.arange(512) * 0.6), (512, 1))
    return Mesh(vertices, compact, uv[compact], noise_texture(512, (60, 42, 30), strands),
                Material(specular=0.05, roughness=0.4, two_sided=True, cutout=True), 'hair')


def scenes(meshes: tuple[Mesh, ...], count: int, size: int, shadows: bool) -> list[Scene]:
    focal = 0.85 * size * DISTANCE_M / 0.28
    K = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    towards = torch.tensor([[-0.5, -0.5, -0.7], [0.9, 0.0, -0.4]])
    light = Lighting(
        constant_irradiance((0.3, 0.32, 0.36)), towards / towards.norm(dim=1, keepdim=True),
        torch.tensor([[0.8, 0.75, 0.7], [0.2, 0.2, 0.3]]), shadows)
    result = []
    for yaw in torch.linspace(0, 2 * math.pi, count + 1)[:-1]:
        turn = torch.tensor([[yaw.cos(), -yaw.sin(), 0], [yaw.sin(), yaw.cos(), 0], [0, 0, 1]])
        offset = torch.tensor([0.0, 0.0, DISTANCE_M]) - FACING @ turn @ torch.tensor([-0.08, 0, 0])
        transformed = tuple(mesh.transformed(FACING @ turn, offset) for mesh in meshes)
        result.append(
            Scene(transformed, K, light, torch.full((size, size, 3), 90, dtype=torch.uint8))
        )
    return result


def rates(batch: list[Scene], oversampling: int, device: torch.device, rounds: int) -> np.ndarray:
    """(rounds, 2) heads per second, and per second of this process's CPU time."""
    render(batch[:2], oversampling, device)
    taken = []
    for _ in range(rounds):
        start, worked = time.perf_counter(), time.process_time()
        render(batch, oversampling, device)
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        taken.append((time.perf_counter() - start, time.process_time() - worked))
    return len(batch) / np.array(taken)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, help='data folder (default: TRANS3DHEAD_DATA)')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--heads', type=int, default=24)
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--rounds', type=int, default=5)
    options = parser.parse_args()
    device = resolve_device(options.device)
    try:
        source = (options.data or data_root()) / 'head_model' / 'ict_facekit.npz'
    except ValueError:
        source = None
    skin = head(source if source is not None and source.is_file() else None)
    person = tuple(mesh.to(device) for mesh in (skin, eye(True), eye(False), hair(skin)))
    triangles = sum(len(mesh.triangles) for mesh in person)
    cases = {
        'person, shadows, 2 samples a pixel': (person, 2, True),
        'person, no shadows, 2 samples': (person, 2, False),
        'person, shadows, 1 sample': (person, 1, True),
        'person, shadows, 3 x 3 samples': (person, 3, True),
        'skin only, shadows, 2 samples': (person[:1], 2, True),
    }
    drawn = (render(scenes(person, 8, options.size, True), device=device).part >= 0).float().mean()
    print(f'{device}, {options.size} x {options.size}, {triangles} triangles, a head covers '
          f'{float(drawn):.0%} of its picture; {options.rounds} rounds of {options.heads} heads')
    print(f'{"heads per second":42s}    best  median   per CPU second (best)')
    for threads in options.threads:
        torch.set_num_threads(threads)
        print(f'{threads} thread(s)')
        for name, (meshes, oversampling, shadows) in cases.items():
            batch = scenes(meshes, options.heads, options.size, shadows)
            wall, work = rates(batch, oversampling, device, options.rounds).T
            print(f'  {name:40s} {wall.max():7.1f} {np.median(wall):7.1f}  {work.max():7.1f}')
    unit = 1024**2 if sys.platform == 'darwin' else 1024
    print(f'peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:.0f} MB')


if __name__ == '__main__':
    main()
