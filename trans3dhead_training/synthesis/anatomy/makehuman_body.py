"""The MakeHuman base mesh, registered so that its head lies on the ICT-FaceKit head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trans3dhead_ros.errors import UserError
from trans3dhead_ros.types import Array, BoolArray, IndexArray
from trans3dhead_training.core.alignment import fit_similarity
from trans3dhead_training.core.surface_points import SurfacePoints, closest_points
from trans3dhead_training.fitting.head_basis import to_head_frame
from trans3dhead_training.synthesis.anatomy.asset_files import ObjMesh, read_obj
from trans3dhead_training.synthesis.anatomy.face_kit import SELLION_LANDMARK, FaceKit
from trans3dhead_training.synthesis.anatomy.mesh_registration import (
    feature_point_weights,
    register_nonrigid,
)

ATLAS_SIZE, CROP_ORIGIN, CROP_SIZE = 2048, (1392, 288), (656, 1472)
"""The skins are crops of an atlas: px of the atlas, of the crop's corner, of the crop."""
LOWEST_DM = 3.2
"""The mesh is cut at this height of the base mesh, which is half the chest."""


@dataclass(frozen=True, eq=False)
class MakeHumanBody:
    """The upper body as MakeHuman made it, and registered to the mean parametric head."""

    base: Array
    """(N, 3) dm, all base vertices: x left, y up, z out of the face."""
    moved: Array
    """(N, 3) m, head frame, after the similarity transform that aligns the two heads."""
    bent: Array
    """(N, 3) m, head frame, after non-rigid registration too; helper vertices as in `moved`."""
    triangles: IndexArray
    """(T, 3) of the upper body."""
    uv: Array
    """(T, 3, 2) in the cropped skin textures, 0..1."""
    has_skin: BoolArray
    """(T,) triangles of the head whose UV lie in the crop."""
    rotation: Array
    """(3, 3) of the similarity from base dm to source cm about the sellion."""
    shift: Array
    """(3,) cm, its translation."""
    scale: float
    """Its scale, cm per dm."""

    def to_head_frame_rigid(self, points: Array) -> Array:
        """Transform base points (P, 3) dm to the head frame, m, by the similarity alone."""
        return to_head_frame(points @ self.rotation.T * self.scale + self.shift)

    def closest_surface_points(self, points: Array) -> SurfacePoints:
        """Return the closest points on the body before non-rigid registration to (P, 3) m."""
        return closest_points(points, self.moved, self.triangles)


def load_makehuman_body(path: Path, face_kit: FaceKit) -> MakeHumanBody:
    """
    Read base.obj and register its head to the parametric head.

    :param path: the .obj file of the MakeHuman base mesh.
    :param face_kit: the parametric head.
    :return: the body in its original and its registered shape.
    :raises UserError: the file is missing or damaged, or is not the MakeHuman base mesh.
    """
    mesh: ObjMesh = read_obj(path)
    if 'body' not in mesh.groups:
        raise UserError(f'mesh: {path} has no group "body": not the MakeHuman base mesh')
    body = mesh.group == mesh.groups.index('body')
    height = mesh.vertices[mesh.triangles][:, :, 1]
    chosen = body & (height.max(1) > LOWEST_DM)
    triangles, height = mesh.triangles[chosen], height[chosen]
    uv = (mesh.uv[chosen] * ATLAS_SIZE - CROP_ORIGIN) / CROP_SIZE
    in_crop = ((uv >= 0) & (uv <= 1)).all((1, 2))
    has_skin = in_crop & (height.min(1) > 6.0)
    crown = ~in_crop & (height.min(1) > 7.9)
    neck = ~in_crop & (height.max(1) < 6.36) & (height.min(1) > 5.75)

    skin = face_kit.parts['skin']
    source = face_kit.source_cm[:len(skin.mean)].astype(float)
    in_source, in_base = feature_point_weights(
        source, skin.triangles, mesh.vertices, triangles[has_skin])
    aligned = fit_similarity(in_base @ mesh.vertices, in_source @ source)
    sellion = face_kit.source_cm[face_kit.landmarks[SELLION_LANDMARK]]
    shift = aligned.translation - sellion
    moved = to_head_frame(mesh.vertices @ aligned.rotation.T * aligned.scale + shift)

    used, compact = np.unique(triangles, return_inverse=True)
    outer = np.isin(used, triangles[has_skin | crown | neck])
    mean = skin.mean.astype(float)
    bent = moved.copy()
    bent[used] = register_nonrigid(moved[used], compact.reshape(-1, 3), outer, mean, skin.triangles,
                                   in_base[:, used], in_source @ mean)
    return MakeHumanBody(mesh.vertices, moved, bent, triangles, np.clip(uv, 0, 1), has_skin,
                         aligned.rotation, shift, aligned.scale)
