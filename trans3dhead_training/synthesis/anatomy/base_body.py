"""The MakeHuman base body, bent so that its head lies on the parametric head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trans3dhead_ros.errors import UserError
from trans3dhead_training.fitting.head_basis import to_head_frame
from trans3dhead_training.synthesis.anatomy.assets import ObjMesh, read_obj
from trans3dhead_training.synthesis.anatomy.face_kit import SELLION_LANDMARK, FaceKit
from trans3dhead_training.synthesis.anatomy.mesh_surface import SurfacePoints, closest_points
from trans3dhead_training.synthesis.anatomy.registration import bend, feature_weights, similarity

Array = NDArray[np.float64]
Index = NDArray[np.int64]

ATLAS_SIZE, CROP_ORIGIN, CROP_SIZE = 2048, (1392, 288), (656, 1472)
"""The skins are crops of an atlas: px of the atlas, of the crop's corner, of the crop."""
LOWEST_DM = 3.2
"""Below this height of the base body nothing is kept: half the chest."""


@dataclass(frozen=True, eq=False)
class BaseBody:
    """
    The upper body in two shapes: as MakeHuman made it, and on the parametric head's mean.

    :ivar base: (N, 3) all base vertices, dm, x left, y up, z out.
    :ivar moved: (N, 3) m, head frame, moved by the similarity that aligns the two heads.
    :ivar bent: (N, 3) m, head frame, bent besides; helper vertices are merely `moved`.
    :ivar triangles: (T, 3) of the upper body. :ivar uv: (T, 3, 2) of the cropped skins, 0..1.
    :ivar has_skin: (T,) head triangles whose uv lie in the crop.
    :ivar rotation: :ivar shift: :ivar scale: the similarity, base dm -> source cm about the
        sellion.
    """

    base: Array
    moved: Array
    bent: Array
    triangles: Index
    uv: Array
    has_skin: NDArray[np.bool_]
    rotation: Array
    shift: Array
    scale: float

    def from_base(self, points: Array) -> Array:
        """Take (P, 3) base units to m in the head frame by the similarity alone."""
        return to_head_frame(points @ self.rotation.T * self.scale + self.shift)

    def on_surface(self, points: Array) -> SurfacePoints:
        """Return the closest points of the unbent body to (P, 3) points in m."""
        return closest_points(points, self.moved, self.triangles)


def load_base_body(path: Path, kit: FaceKit) -> BaseBody:
    """
    Read base.obj and bend its head onto the parametric head.

    :raises ValueError: when the file is missing or damaged.
    """
    mesh: ObjMesh = read_obj(path)
    if 'body' not in mesh.groups:
        raise UserError(f'mesh: {path} has no group "body"; it is not the MakeHuman base')
    body = mesh.group == mesh.groups.index('body')
    height = mesh.vertices[mesh.triangles][:, :, 1]
    chosen = body & (height.max(1) > LOWEST_DM)
    triangles, height = mesh.triangles[chosen], height[chosen]
    uv = (mesh.uv[chosen] * ATLAS_SIZE - CROP_ORIGIN) / CROP_SIZE
    in_crop = ((uv >= 0) & (uv <= 1)).all((1, 2))
    has_skin = in_crop & (height.min(1) > 6.0)
    crown = ~in_crop & (height.min(1) > 7.9)
    neck = ~in_crop & (height.max(1) < 6.36) & (height.min(1) > 5.75)

    skin = kit.parts['skin']
    source = kit.source_cm[:len(skin.mean)].astype(float)
    in_source, in_base = feature_weights(
        source, skin.triangles, mesh.vertices, triangles[has_skin])
    rotation, shift, scale = similarity(in_base @ mesh.vertices, in_source @ source)
    sellion = kit.source_cm[kit.landmarks[SELLION_LANDMARK]]
    shift = shift - sellion
    moved = to_head_frame(mesh.vertices @ rotation.T * scale + shift)

    used, compact = np.unique(triangles, return_inverse=True)
    outer = np.isin(used, triangles[has_skin | crown | neck])
    mean = skin.mean.astype(float)
    bent = moved.copy()
    bent[used] = bend(moved[used], compact.reshape(-1, 3), outer, mean, skin.triangles,
                      in_base[:, used], in_source @ mean)
    return BaseBody(mesh.vertices, moved, bent, triangles, np.clip(uv, 0, 1), has_skin,
                    rotation, shift, scale)
