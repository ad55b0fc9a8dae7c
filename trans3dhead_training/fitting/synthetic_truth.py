"""
Heads of known pose that the fit did not make: what `benchmarks/fit_accuracy.py` measures it on.

No inverse crime: the full source mesh with all its identity modes and expressions (the fit has half
of the modes), a smooth displacement that lies in no basis, true perspective cameras, noise, and a
jaw that is read off the silhouette of the mesh, triangle by triangle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import euler_from_rotation, rotation_from_euler, viewing_ray_rotation
from trans3dhead_ros.landmarks import JAW_COUNT, SELLION
from trans3dhead_training.fitting.head_basis import SKIN_VERTICES, to_head_frame

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TruthConfig:
    """
    How the heads are drawn.

    :ivar noise: standard deviation of each coordinate of a point, of sqrt(w h) of its box.
    :ivar sliding: standard deviation of where on the contour a jaw point is put, of the same.
    :ivar displacement_m: root mean square of the smooth displacement, each axis.
    :ivar fov_deg: of the picture's side. :ivar fill: longer side of the landmark box over it.
    :ivar off_centre: standard deviation of the head's place in the picture, of the side.
    :ivar nearest_m: no camera comes closer to the head.
    :ivar pitch_deg, roll_deg: standard deviations of the head in the camera frame.
    """

    noise: float = 0.01
    sliding: float = 0.01
    displacement_m: float = 0.0005
    fov_deg: tuple[float, float] = (25.0, 100.0)
    fill: tuple[float, float] = (0.1, 0.4)
    off_centre: float = 0.12
    nearest_m: float = 0.35
    largest_yaw_deg: float = 90.0
    pitch_deg: float = 12.0
    roll_deg: float = 12.0


@dataclass(frozen=True, eq=False)
class TrueHeads:
    """
    N heads as labellers would mark them, and their truth.

    :ivar points: (N, 68, 2) px, jaw on the visible contour. :ivar rotation: (N, 3, 3) apparent, of
        the ray through the middle of the landmark box, which is the middle of a crop.
    :ivar inverse_distance: (N,) 1/m, of the sellion along that ray.
    :ivar head: (N, 68, 3) m, head frame, the 3D definition.
    :ivar focal_px: (N,), of a camera whose principal point is (0, 0).
    """

    points: Array
    rotation: Array
    inverse_distance: Array
    head: Array
    focal_px: Array

    @property
    def yaw_deg(self) -> Array:
        """(N,) apparent yaw."""
        return euler_from_rotation(self.rotation)[:, 0]


class TruthSource:
    """
    The full source head.

    :param path: ict_facekit.npz.
    :raises ValueError: where there is no such file.
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

    def _face_edges(self, triangles: Array) -> NDArray[np.int64]:
        """Return (E, 2): edges of the face before and above the jaw line, without the nose."""
        jaw = self.mean[self.landmarks[:JAW_COUNT]]
        # About the head's vertical the jaw line is a function of height on each side.
        angle = np.arctan2(np.abs(self.mean[:, 1]), self.mean[:, 0] + 0.08)
        bound = np.arctan2(np.abs(jaw[:, 1]), jaw[:, 0] + 0.08)
        right, left = np.argsort(jaw[:9, 2]), np.argsort(jaw[8:, 2])
        height = self.mean[:, 2]
        limit = np.where(self.mean[:, 1] < 0,
                         np.interp(height, jaw[:9][right, 2], bound[:9][right]),
                         np.interp(height, jaw[8:][left, 2], bound[8:][left]))
        inside = (angle <= limit + 1e-6) & (height >= jaw[:, 2].min() - 1e-6)
        inside[self.landmarks[:JAW_COUNT]] = True
        # A contour runs over the far cheek and behind the nose, not over its tip.
        nose = self.mean[self.landmarks[27:36]]
        inside &= ~((np.abs(self.mean[:, 1]) < np.abs(nose[:, 1]).max() + 0.004)
                    & (height > nose[:, 2].min() - 0.004) & (height < nose[:, 2].max()))
        kept = triangles[inside[triangles].all(1)]
        edges = np.sort(np.concatenate([kept[:, [0, 1]], kept[:, [1, 2]], kept[:, [2, 0]]]), axis=1)
        return np.unique(edges, axis=0)

    def draw_head(self, generator: np.random.Generator, config: TruthConfig) -> Array:
        """Return (skin vertices, 3) m with the sellion of the identity at the origin."""
        head = self.mean + np.tensordot(generator.normal(size=len(self.identity)), self.identity, 1)
        head += config.displacement_m * smooth_displacement(self.mean, generator)
        head -= head[self.landmarks[SELLION]]
        # A third neutral, the rest several expressions at once.
        strength = np.zeros(len(self.expression))
        if generator.random() > 1 / 3:
            active = generator.random(len(strength)) < generator.uniform(0.05, 0.3)
            strength = active * generator.beta(1.0, 2.0, len(strength))
        return head + np.tensordot(strength, self.expression, 1)

    def draw(
        self, count: int, generator: np.random.Generator, config: TruthConfig = TruthConfig(),
    ) -> TrueHeads:
        """Draw heads, their apparent yaw about evenly spread."""
        rows = [self._draw_one(generator, config) for _ in range(count)]
        return TrueHeads(*(np.stack(column) for column in zip(*rows, strict=True)))

    def _draw_one(
        self, generator: np.random.Generator, config: TruthConfig,
    ) -> tuple[Array, Array, Array, Array, Array]:
        vertices = self.draw_head(generator, config)
        rotation = rotation_from_euler(np.array([
            generator.uniform(-config.largest_yaw_deg, config.largest_yaw_deg),
            generator.normal(0.0, config.pitch_deg), generator.normal(0.0, config.roll_deg)]))
        fov = generator.uniform(*config.fov_deg)
        focal = 0.5 / np.tan(np.deg2rad(fov) / 2)  # the picture's side is 1
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
        """Return (17, 2) px: where the face's outline crosses the height of each jaw point."""
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
    Return (V, 3): a random smooth field, root mean square about 1 on each axis.

    Waves 5-15 cm long in random directions: no basis of heads holds them.
    """
    direction = generator.normal(size=(waves, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    number = 2 * np.pi * direction / generator.uniform(0.05, 0.15, (waves, 1))
    phase = generator.uniform(0, 2 * np.pi, waves)
    amplitude = generator.normal(size=(waves, 3)) * np.sqrt(2 / waves)
    return np.cos(vertices @ number.T + phase) @ amplitude
