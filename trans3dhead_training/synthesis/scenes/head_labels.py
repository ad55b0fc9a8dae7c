"""
The labels of a synthetic head, computed from its exact geometry.

Everything is px of the picture (pixel centres at integers) or the camera optical frame, as
`geometry` lays down; depths are px, smaller nearer, 0 at the sellion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.geometry import viewing_ray_rotation
from trans3dhead_ros.head_model import HeadModel, outermost_candidates
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT
from trans3dhead_ros.types import Array, BoolArray, Float32Array, IndexArray
from trans3dhead_training.core.alignment import fit_weak_perspective

VISIBLE_TOLERANCE = 0.008
"""m by which the head's own surface may lie before a landmark that still counts as seen: lashes,
the curve of the skin within a pixel. What is worn or held has no such allowance."""

_MIDDLE = JAW_COUNT // 2


@dataclass(frozen=True, eq=False)
class SyntheticHead:
    """Truth of one head in one picture."""

    box: Array
    """(4,) x0 y0 x1 y1 px, tight around the 68 points of the 3D definition."""
    rotation_camera: Array
    """(3, 3) head → camera optical frame."""
    translation_camera: Array
    """(3,) m, the sellion in the camera optical frame."""
    rotation: Array
    """(3, 3) the apparent rotation in a crop about the box: the ray through its centre is divided
    out of `rotation_camera`."""
    translation: Array
    """(2,) px and the log of px per metre: `u = exp(log_scale) (rotation V)[:2] + translation`, the
    best for the face's vertices V of the head model with this `shape` and `expression`."""
    log_scale: float
    landmarks: Array
    """(68, 3) px, the 3D definition: x, y, depth."""
    contour: Array
    """(17, 2) px, the jaw points on the visible contour."""
    visible: BoolArray
    """(68,) whether a point is in the picture and nothing hides it."""
    shape: Array
    """(50,) and (53,) coefficients of our head model; a person's finer modes are not among them."""
    expression: Array
    vertices_px: Array
    """(V, 3) px, the true vertices: x, y, depth. They hold what `shape` cannot."""


@dataclass(frozen=True, eq=False)
class ContourCurves:
    """
    Level curves of the skin over which each jaw point slides, as points on the mesh's edges.

    `visible_contour` chooses among vertices at the jaw point's height, from it towards the middle
    of the face; these are the places where the mesh's edges cross that very height, so the same
    curve, finer and free of steps between vertices.
    """

    ends: IndexArray
    """(17, K, 2) vertices of the edges; the first one of each curve, and what fills it up to K, is
    the jaw point itself, twice."""
    share: Array
    """(17, K) share of the second end."""

    @classmethod
    def of(cls, model: HeadModel) -> ContourCurves:
        """Cut the model's mean; on other heads the curves move with the mesh."""
        vertices = model.mean.detach().cpu().numpy().astype(np.float64)
        landmarks = model.landmark_indices.cpu().numpy()
        triangles = model.triangles.cpu().numpy()
        edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
        edges = np.unique(np.sort(edges, axis=1), axis=0)
        candidates = model.contour_indices.cpu().numpy()
        ends, share = [], []
        for row, jaw in enumerate(landmarks[:JAW_COUNT]):
            own = (np.array([[jaw, jaw]]), np.zeros(1))
            if row == _MIDDLE:
                found = (np.zeros((0, 2), np.int64), np.zeros(0))
            else:
                found = _level_crossings(vertices, edges, vertices[jaw],
                                         vertices[candidates[row, -1]])
            ends.append(np.concatenate([own[0], found[0]]))
            share.append(np.concatenate([own[1], found[1]]))
        longest = max(map(len, ends))
        return cls(np.stack([np.concatenate([e, np.repeat(e[:1], longest - len(e), axis=0)])
                             for e in ends]),
                   np.stack([np.pad(s, (0, longest - len(s))) for s in share]))

    def select(self, vertices: Array, pixels: Array, rotation: Array) -> Array:
        """
        Return the jaw points (17, 2) px on the visible contour.

        :param vertices: (V, 3) m, camera frame.
        :param pixels: (V, 2) their projections.
        :param rotation: (3, 3) apparent rotation, head → camera optical frame.
        """
        # Interpolated in space: straight lines stay straight under perspective, ratios do not.
        weight = self.share / vertices[self.ends[..., 1], 2]
        other = (1 - self.share) / vertices[self.ends[..., 0], 2]
        weight = (weight / (weight + other))[..., None]
        curves = (1 - weight) * pixels[self.ends[..., 0]] + weight * pixels[self.ends[..., 1]]
        selected = outermost_candidates(torch.from_numpy(curves)[None],
                                        torch.from_numpy(rotation)[None])[0].numpy()
        return curves[np.arange(JAW_COUNT), selected]


def _level_crossings(
    vertices: Array, edges: IndexArray, jaw: Array, inner: Array,
) -> tuple[IndexArray, Array]:
    """Where edges cross the height of a jaw point, from it as far inwards as the candidates go."""
    side = np.sign(jaw[1])
    first, second = vertices[edges[:, 0]], vertices[edges[:, 1]]
    crosses = (first[:, 2] - jaw[2]) * (second[:, 2] - jaw[2]) < 0
    edges, first, second = edges[crosses], first[crosses], second[crosses]
    share = (jaw[2] - first[:, 2]) / (second[:, 2] - first[:, 2])
    crossing = first + share[:, None] * (second - first)
    out = side * crossing[:, 1]
    # The neck and the inside of the ear lie behind, the middle of the face beyond the candidates.
    kept = ((out > max(side * inner[1], 0.0)) & (out < side * jaw[1] + 0.002)
            & (crossing[:, 0] > jaw[0] - 0.002))
    return edges[kept], share[kept]


@dataclass(frozen=True, eq=False)
class HeadLabeller:
    """Turns exact geometry into labels; one for all pictures."""

    model: HeadModel
    curves: ContourCurves
    face: BoolArray
    """(V,) bool, the vertices that placement fits. Near to the camera the back of a head looks
    smaller than its face, and no single scale fits both; fits to photographs see the face."""

    @classmethod
    def of(cls, model: HeadModel) -> HeadLabeller:
        """
        Prepare the level curves of a head model.

        :param model: on the CPU, with the identity modes and expressions that labels are to have.
        """
        mean = model.mean.detach().cpu().numpy()
        ear = mean[model.landmark_indices.cpu().numpy()[0], 0]
        return cls(model, ContourCurves.of(model), mean[:, 0] > ear)

    def label(
        self, vertices: Array, rotation: Array, translation: Array, intrinsics: Array,
        shape: Array, expression: Array, depth: Float32Array | None = None,
        cover: BoolArray | None = None,
    ) -> SyntheticHead:
        """
        Return the truth of one head.

        :param vertices: (V, 3) m, head frame: the person's true vertices at the model's sampling.
        :param rotation: (3, 3), translation: (3,) m: head → camera optical frame; all of the head
            lies before the camera.
        :param intrinsics: (3, 3) px.
        :param shape: (I,) of our model.
        :param expression: (E,) of our model.
        :param depth: (H, W) m, what the picture shows at each pixel centre, inf where nothing; None
            leaves every point visible.
        :param cover: (H, W) where that is no part of a head: hair, cloth, glasses, things.
        :raises ValueError: for a head that is not wholly before the camera.
        """
        camera = vertices @ rotation.T + translation
        if camera[:, 2].min() <= 0.0:
            raise UserError('translation: the head is not wholly before the camera')
        pixels = project_points(camera, intrinsics)
        indices = self.model.landmark_indices.numpy()
        points = pixels[indices]
        box = np.concatenate([points.min(0), points.max(0)])
        apparent = apparent_rotation(rotation, box, intrinsics)
        # Rotation fixed, least squares over the face.
        scale, placed = fit_weak_perspective(
            self.model_vertices(shape, expression)[self.face] @ apparent[:2].T, pixels[self.face])
        log_scale = float(np.log(scale))
        local_depth = np.exp(log_scale) * (vertices @ apparent.T)[:, 2]
        visible = np.ones(COUNT, bool)
        if depth is not None:
            visible = visible_points(points, camera[indices, 2], depth, cover)
        return SyntheticHead(
            box=box, rotation_camera=rotation, translation_camera=translation, rotation=apparent,
            translation=placed, log_scale=log_scale,
            landmarks=np.column_stack([points, local_depth[indices]]),
            contour=self.curves.select(camera, pixels, apparent), visible=visible,
            shape=shape, expression=expression,
            vertices_px=np.column_stack([pixels, local_depth]))

    def model_vertices(self, shape: Array, expression: Array) -> Array:
        """Return the model's vertices (V, 3) m, head frame, of one head's coefficients."""
        with torch.no_grad():
            head = self.model(*(torch.from_numpy(np.asarray(value, np.float32))[None]
                                for value in (shape, expression)))
        return head[0].numpy().astype(np.float64)


def project_points(points: Array, intrinsics: Array) -> Array:
    """Return the pixels (..., 2) of points (..., 3) m before an undistorted camera."""
    return points[..., :2] / points[..., 2:] * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]


def apparent_rotation(rotation: Array, box: Array, intrinsics: Array) -> Array:
    """
    Return how a head looks turned in a crop about its box, without the viewing ray.

    :param rotation: (3, 3) head → camera optical frame.
    :param box: (4,) px.
    :param intrinsics: (3, 3) px.
    """
    centre = (box[:2] + box[2:]) / 2
    ray = np.append((centre - intrinsics[:2, 2]) / intrinsics[[0, 1], [0, 1]], 1.0)
    return viewing_ray_rotation(ray).T @ rotation


def visible_points(
    points: Array, z: Array, depth: Float32Array, cover: BoolArray | None = None,
) -> BoolArray:
    """
    Tell which points nothing hides, from the picture's depth.

    A point counts as seen when any of the nine pixels around it shows nothing nearer: outlines fall
    between pixels, and clear glass leaves only some samples.

    :param points: (P, 2) px.
    :param z: (P,) m.
    :param depth: (H, W) m, inf where nothing is.
    :param cover: (H, W) where the picture shows no part of a head.
    :return: (P,) bool; False outside the picture.
    """
    height, width = depth.shape
    reach = depth if cover is None else np.where(cover, depth - VISIBLE_TOLERANCE, depth)
    column, row = np.round(points).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    farthest = np.full(len(points), -np.inf)
    for right in (-1, 0, 1):
        for down in (-1, 0, 1):
            near = reach[np.clip(row + down, 0, height - 1), np.clip(column + right, 0, width - 1)]
            farthest = np.maximum(farthest, near)
    return inside & (farthest > z - VISIBLE_TOLERANCE)
