"""
Simulated landmarks of heads with known pose, on which `benchmarks/fit_accuracy.py` tests the fit.

They avoid the inverse crime: the full source mesh with all its identity modes and expressions (the
fit has half of the modes), a smooth displacement that lies in no basis, perspective cameras, noise,
and a jaw taken from the silhouette of the mesh's edges instead of the fit's contour candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import euler_from_rotation, rotation_from_euler, viewing_ray_rotation
from trans3dhead_ros.landmarks import JAW_COUNT, SELLION
from trans3dhead_ros.types import Array, IndexArray
from trans3dhead_training.fitting.head_basis import SKIN_VERTICES, to_head_frame


@dataclass(frozen=True)
class SimulationConfig:
    """Distribution of the simulated faces."""

    noise: float = 0.01
    """Standard deviation of each coordinate of a point, over sqrt(w h) of its box."""
    sliding: float = 0.01
    """Standard deviation of the position of a jaw point along the contour, over the same."""
    displacement_m: float = 0.0005
    """Root mean square of the smooth displacement along each axis."""
    fov_deg: tuple[float, float] = (25.0, 100.0)
    """Range of the field of view of the picture's side."""
    fill: tuple[float, float] = (0.1, 0.4)
    """Range of the longer side of the landmark box over the picture's side."""
    off_centre: float = 0.12
    """Standard deviation of the position of the head in the picture, over its side."""
    nearest_m: float = 0.35
    """Smallest distance of the camera."""
    largest_yaw_deg: float = 90.0
    """Yaw is evenly distributed up to this."""
    pitch_deg: float = 12.0
    """Standard deviation of pitch."""
    roll_deg: float = 12.0
    """Standard deviation of roll."""


@dataclass(frozen=True, eq=False)
class SimulatedFaces:
    """Simulated labels of N heads, and their true parameters."""

    points: Array
    """(N, 68, 2) px, jaw on the visible contour."""
    rotation: Array
    """(N, 3, 3) apparent: relative to the ray through the centre of the landmark box."""
    inverse_distance: Array
    """(N,) 1/m, of the sellion along that ray."""
    head: Array
    """(N, 68, 3) m, head frame, the 3D definition."""
    focal_px: Array
    """(N,) of a camera whose principal point is (0, 0)."""

    @property
    def yaw_deg(self) -> Array:
        """Apparent yaw (N,) in degrees."""
        return euler_from_rotation(self.rotation)[:, 0]


class FaceSimulator:
    """
    Draws faces from the full source head.

    Example::

        faces = FaceSimulator(Path('ict_facekit.npz')).draw(100, np.random.default_rng(0))

    :param path: ict_facekit.npz.
    :raises UserError: the file is missing.
    """

    def __init__(self, path: Path) -> None:
        if not Path(path).is_file():
            raise UserError(f'head model source: no file {path}; set TRANS3DHEAD_DATA')
        with np.load(path, allow_pickle=False) as data:
            self.landmarks = data['landmarks68'].astype(np.int64)
            triangles = data['triangles'].astype(np.int64)
            parts = [to_head_frame(data[name][..., :SKIN_VERTICES, :].astype(float))
                     for name in ('mean', 'identity', 'expression')]
        self.mean, self.identity, self.expression = parts
        self.mean -= self.mean[self.landmarks[SELLION]]
        self.edges = self._face_edges(triangles[(triangles < SKIN_VERTICES).all(1)])

    def _face_edges(self, triangles: Array) -> IndexArray:
        """Return the edges (E, 2) of the face before and above the jaw line, without the nose."""
        jaw = self.mean[self.landmarks[:JAW_COUNT]]
        # In polar angle about the vertical, the jaw line is a function of height on each side.
        angle = np.arctan2(np.abs(self.mean[:, 1]), self.mean[:, 0] + 0.08)
        bound = np.arctan2(np.abs(jaw[:, 1]), jaw[:, 0] + 0.08)
        right, left = np.argsort(jaw[:9, 2]), np.argsort(jaw[8:, 2])
        height = self.mean[:, 2]
        limit = np.where(self.mean[:, 1] < 0,
                         np.interp(height, jaw[:9][right, 2], bound[:9][right]),
                         np.interp(height, jaw[8:][left, 2], bound[8:][left]))
        inside = (angle <= limit + 1e-6) & (height >= jaw[:, 2].min() - 1e-6)
        inside[self.landmarks[:JAW_COUNT]] = True
        # The contour runs over the far cheek and behind the nose, not over its tip.
        nose = self.mean[self.landmarks[27:36]]
        inside &= ~((np.abs(self.mean[:, 1]) < np.abs(nose[:, 1]).max() + 0.004)
                    & (height > nose[:, 2].min() - 0.004) & (height < nose[:, 2].max()))
        kept = triangles[inside[triangles].all(1)]
        edges = np.sort(np.concatenate([kept[:, [0, 1]], kept[:, [1, 2]], kept[:, [2, 0]]]), axis=1)
        return np.unique(edges, axis=0)

    def draw_head(self, generator: np.random.Generator, config: SimulationConfig) -> Array:
        """Return (skin vertices, 3) m with the sellion of the identity at the origin."""
        head = self.mean + np.tensordot(generator.normal(size=len(self.identity)), self.identity, 1)
        head += config.displacement_m * smooth_displacement(self.mean, generator)
        head -= head[self.landmarks[SELLION]]
        # A third of the faces are neutral, the others combine several expressions.
        strength = np.zeros(len(self.expression))
        if generator.random() > 1 / 3:
            active = generator.random(len(strength)) < generator.uniform(0.05, 0.3)
            strength = active * generator.beta(1.0, 2.0, len(strength))
        return head + np.tensordot(strength, self.expression, 1)

    def draw(
        self, count: int, generator: np.random.Generator,
        config: SimulationConfig = SimulationConfig(),
    ) -> SimulatedFaces:
        """Draw heads whose yaw is evenly distributed."""
        rows = [self._draw_one(generator, config) for _ in range(count)]
        return SimulatedFaces(*(np.stack(column) for column in zip(*rows, strict=True)))

    def _draw_one(
        self, generator: np.random.Generator, config: SimulationConfig,
    ) -> tuple[Array, Array, Array, Array, Array]:
        vertices = self.draw_head(generator, config)
        rotation = rotation_from_euler(np.array([
            generator.uniform(-config.largest_yaw_deg, config.largest_yaw_deg),
            generator.normal(0.0, config.pitch_deg), generator.normal(0.0, config.roll_deg)]))
        fov = generator.uniform(*config.fov_deg)
        focal = 0.5 / np.tan(np.deg2rad(fov) / 2)  # over the picture's side
        turned = vertices @ rotation.T
        extent = np.ptp(turned[self.landmarks, :2], axis=0).max()
        distance = max(focal * extent / generator.uniform(*config.fill), config.nearest_m)
        # Where the landmark box stays within the picture.
        room = max(0.0, 0.5 - 0.6 * focal * extent / distance)
        place = np.clip(generator.normal(0.0, config.off_centre, 2), -room, room)
        ray = np.append(place / focal, 1.0)
        in_camera = viewing_ray_rotation(ray) @ rotation
        camera = vertices @ in_camera.T + distance * ray / np.linalg.norm(ray)
        image = 1000.0 * focal * camera[:, :2] / camera[:, 2:]
        points = image[self.landmarks].copy()
        box = np.sqrt(np.ptp(points, axis=0).prod())
        up = in_camera[:2, 2]
        slide = config.sliding * box * generator.normal(size=JAW_COUNT)
        points[:JAW_COUNT] = self._silhouette(image, up, slide)
        box = np.sqrt(np.ptp(points, axis=0).prod())
        middle = (points.min(0) + points.max(0)) / 2
        towards = viewing_ray_rotation(np.append(middle / (1000.0 * focal), 1.0))
        depth = (towards.T @ ray)[2] * distance / np.linalg.norm(ray)
        points += config.noise * box * generator.normal(size=points.shape)
        return (points, towards.T @ in_camera, np.array(1 / depth), vertices[self.landmarks],
                np.array(1000.0 * focal))

    def _silhouette(self, image: Array, up: Array, slide: Array) -> Array:
        """Return where the face's outline crosses the height of each jaw point, (17, 2) px."""
        up = up / np.linalg.norm(up)
        across = np.array([-up[1], up[0]])  # to the image's right where up points up
        height, side = image @ up, image @ across
        points = image[self.landmarks[:JAW_COUNT]].copy()
        low, high = self.edges.T
        for row in range(JAW_COUNT):
            if row == JAW_COUNT // 2:
                continue
            level = float(points[row] @ up) + slide[row]
            cut = (height[low] - level) * (height[high] - level) < 0
            if not cut.any():
                continue
            first, second = low[cut], high[cut]
            share = (level - height[first]) / (height[second] - height[first])
            reach = side[first] + share * (side[second] - side[first])
            outermost = reach.min() if row < JAW_COUNT // 2 else reach.max()
            points[row] = level * up + outermost * across
        return points


def smooth_displacement(vertices: Array, generator: np.random.Generator, waves: int = 24) -> Array:
    """
    Return a random smooth field (V, 3), with a root mean square of about 1 along each axis.

    It sums waves 5-15 cm long in random directions, which no basis of heads contains.
    """
    direction = generator.normal(size=(waves, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    number = 2 * np.pi * direction / generator.uniform(0.05, 0.15, (waves, 1))
    phase = generator.uniform(0, 2 * np.pi, waves)
    amplitude = generator.normal(size=(waves, 3)) * np.sqrt(2 / waves)
    return np.cos(vertices @ number.T + phase) @ amplitude
