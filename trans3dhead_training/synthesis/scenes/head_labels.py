"""
Labels of a synthetic head, computed from its exact geometry.

Positions are px of the picture (pixel centres at integers) or m in the camera optical frame, as in
`geometry`; depths are px, smaller nearer, 0 at the sellion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from trans3dhead_ros.geometry import viewing_ray_rotation
from trans3dhead_ros.landmarks import COUNT, JAW_COUNT
from trans3dhead_ros.network.head_module import HeadModule, outermost_candidates
from trans3dhead_ros.types import Array, BoolArray, Float32Array, IndexArray
from trans3dhead_training.core.alignment import fit_weak_perspective

VISIBLE_TOLERANCE = 0.008
"""m: a landmark counts as visible where the head's own surface is at most that much nearer, for
lashes and the curvature within a pixel. Occluders have no such tolerance."""

_MIDDLE = JAW_COUNT // 2


@dataclass(frozen=True, eq=False)
class SyntheticHead:
    """The labels of one head in one picture."""

    box: Array
    """(4,) x0 y0 x1 y1 px, tight around the 68 points of the 3D definition."""
    rotation_camera: Array
    """(3, 3) head → camera optical frame."""
    translation_camera: Array
    """(3,) m, the sellion in the camera optical frame."""
    rotation: Array
    """(3, 3) apparent rotation in a crop about the box: `rotation_camera` without the rotation of
    the ray through its centre."""
    translation: Array
    """(2,) px, of the weak perspective `u = exp(log_scale) (rotation V)[:2] + translation` that
    fits best to the face's vertices V of the head model with this `shape` and `expression`."""
    log_scale: float
    """Log of px per metre, of the same weak perspective."""
    landmarks: Array
    """(68, 3) px, the 3D definition: x, y, depth."""
    contour: Array
    """(17, 2) px, the jaw points on the visible contour."""
    visible: BoolArray
    """(68,) whether a point lies in the picture and is not occluded."""
    shape: Array
    """(50,) identity coefficients of the head model, which lacks a person's finer modes."""
    expression: Array
    """(53,) expression coefficients of the head model."""
    vertices_px: Array
    """(V, 3) px, the true vertices, finer modes included: x, y, depth."""


@dataclass(frozen=True, eq=False)
class ContourCurves:
    """
    Level curves of the skin on which each jaw point slides to the visible contour.

    `head_module.visible_contour` chooses among vertices at the height of the jaw point; a curve
    consists of the points where the mesh's edges cross that height, which is finer and has no
    steps.
    """

    ends: IndexArray
    """(17, K, 2) end vertices of the crossed edges; the first entry of each curve, and the padding
    up to K, is the jaw point itself, twice."""
    share: Array
    """(17, K) weight of the second end."""

    @classmethod
    def from_model(cls, model: HeadModule) -> ContourCurves:
        """Compute the curves on the model's mean; on other heads they move with the mesh."""
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
        :param pixels: (V, 2) px, their projections.
        :param rotation: (3, 3) apparent rotation, head → camera optical frame.
        :return: (17, 2) px.
        """
        # Perspective-correct interpolation: ratios in space are not ratios in the picture.
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
    """Return the edges that cross a jaw point's height up to the innermost candidate, and where."""
    side = np.sign(jaw[1])
    first, second = vertices[edges[:, 0]], vertices[edges[:, 1]]
    crosses = (first[:, 2] - jaw[2]) * (second[:, 2] - jaw[2]) < 0
    edges, first, second = edges[crosses], first[crosses], second[crosses]
    share = (jaw[2] - first[:, 2]) / (second[:, 2] - first[:, 2])
    crossing = first + share[:, None] * (second - first)
    out = side * crossing[:, 1]
    # Excludes the neck and the inside of the ear (behind) and the middle of the face (beyond).
    kept = ((out > max(side * inner[1], 0.0)) & (out < side * jaw[1] + 0.002)
            & (crossing[:, 0] > jaw[0] - 0.002))
    return edges[kept], share[kept]


@dataclass(frozen=True, eq=False)
class HeadLabeller:
    """Computes labels from exact geometry; one serves all pictures."""

    model: HeadModule
    """The head model of the labels, on the CPU."""
    curves: ContourCurves
    """The level curves of its jaw points."""
    face: BoolArray
    """(V,) bool, the vertices that the weak perspective is fitted to. Close to the camera no single
    scale fits both face and back of the head; fits to photographs see the face."""

    @classmethod
    def from_model(cls, model: HeadModule) -> HeadLabeller:
        """
        Prepare the level curves of a head model.

        :param model: on the CPU, with the identity modes and expressions of the labels.
        :return: the labeller.
        """
        mean = model.mean.detach().cpu().numpy()
        ear = mean[model.landmark_indices.cpu().numpy()[0], 0]
        return cls(model, ContourCurves.from_model(model), mean[:, 0] > ear)

    def label(
        self, vertices: Array, rotation: Array, translation: Array, intrinsics: Array,
        shape: Array, expression: Array, depth: Float32Array | None = None,
        cover: BoolArray | None = None,
    ) -> SyntheticHead:
        """
        Return the labels of one head.

        :param vertices: (V, 3) m, head frame: the person's true vertices at the model's sampling.
        :param rotation: (3, 3) head → camera optical frame.
        :param translation: (3,) m, head → camera optical frame; the whole head is in front of the
            camera.
        :param intrinsics: (3, 3) px.
        :param shape: (I,) of the head model.
        :param expression: (E,) of the head model.
        :param depth: (H, W) m, depth at each pixel centre, inf in the background; without it every
            point is visible.
        :param cover: (H, W) where the picture shows an occluder: hair, cloth, glasses, objects.
        :return: the labels.
        :raises ValueError: the head is not wholly in front of the camera.
        """
        camera = vertices @ rotation.T + translation
        if camera[:, 2].min() <= 0.0:
            raise ValueError('translation: the head is not wholly in front of the camera')
        pixels = project_points(camera, intrinsics)
        indices = self.model.landmark_indices.numpy()
        points = pixels[indices]
        box = np.concatenate([points.min(0), points.max(0)])
        apparent = apparent_rotation(rotation, box, intrinsics)
        # Rotation fixed, least squares over the face.
        scale, image_translation = fit_weak_perspective(
            self.model_vertices(shape, expression)[self.face] @ apparent[:2].T, pixels[self.face])
        log_scale = float(np.log(scale))
        local_depth = np.exp(log_scale) * (vertices @ apparent.T)[:, 2]
        visible = np.ones(COUNT, bool)
        if depth is not None:
            visible = visible_points(points, camera[indices, 2], depth, cover)
        return SyntheticHead(
            box=box, rotation_camera=rotation, translation_camera=translation, rotation=apparent,
            translation=image_translation, log_scale=log_scale,
            landmarks=np.column_stack([points, local_depth[indices]]),
            contour=self.curves.select(camera, pixels, apparent), visible=visible,
            shape=shape, expression=expression,
            vertices_px=np.column_stack([pixels, local_depth]))

    def model_vertices(self, shape: Array, expression: Array) -> Array:
        """Return the head model's vertices (V, 3) m, head frame, for coefficients (I,) and (E,)."""
        with torch.no_grad():
            head = self.model(*(torch.from_numpy(np.asarray(value, np.float32))[None]
                                for value in (shape, expression)))
        return head[0].numpy().astype(np.float64)


def project_points(points: Array, intrinsics: Array) -> Array:
    """Project points (..., 3) m to the pixels (..., 2) of an undistorted camera."""
    return points[..., :2] / points[..., 2:] * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]


def apparent_rotation(rotation: Array, box: Array, intrinsics: Array) -> Array:
    """
    Return the rotation of a head as it appears in a crop about its box.

    :param rotation: (3, 3) head → camera optical frame.
    :param box: (4,) px.
    :param intrinsics: (3, 3) px.
    :return: (3, 3), without the rotation of the viewing ray.
    """
    centre = (box[:2] + box[2:]) / 2
    ray = np.append((centre - intrinsics[:2, 2]) / intrinsics[[0, 1], [0, 1]], 1.0)
    return viewing_ray_rotation(ray).T @ rotation


def visible_points(
    points: Array, z: Array, depth: Float32Array, cover: BoolArray | None = None,
) -> BoolArray:
    """
    Return which points are visible, by the depth of the picture.

    A point is visible if any of the nine pixels around it shows nothing nearer, because outlines
    fall between pixels and clear glass covers only some samples.

    :param points: (P, 2) px.
    :param z: (P,) m.
    :param depth: (H, W) m, inf in the background.
    :param cover: (H, W) where the picture shows an occluder.
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
