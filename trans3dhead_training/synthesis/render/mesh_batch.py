"""The triangles of several scenes in one set of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trans3dhead_training.synthesis.render.textured_mesh import Mesh


@dataclass(frozen=True, eq=False)
class MeshBatch:
    """
    B scenes of M meshes with V vertices and T triangles in all; one column each.

    Coordinates come first ((3, V), not (V, 3)), so that every step works on long contiguous rows.
    Indices are int32, of which vector registers hold twice as many.
    """

    vertices: torch.Tensor
    """(3, V) float32 m."""
    occlusion: torch.Tensor | None
    """(V,) ambient visibility, or None where no mesh has one."""
    triangles: torch.Tensor
    """(3, T) int32, vertex indices."""
    uv: torch.Tensor
    """(6, T): u0 v0 u1 v1 u2 v2."""
    vertex_scene: torch.Tensor
    """(V,) int32, scene of each vertex."""
    triangle_mesh: torch.Tensor
    """(T,) int32, mesh of each triangle."""
    mesh_scene: torch.Tensor
    """(M,) int32, scene of each mesh."""
    mesh_part: torch.Tensor
    """(M,) int16, index of each mesh in its scene."""
    scene_triangle: torch.Tensor
    """(B,) int32, first triangle of each scene."""
    meshes: tuple[Mesh, ...]
    """The meshes."""
    scenes: int
    """Number of scenes B."""

    def material_values(self, name: str) -> torch.Tensor:
        """Return a material's property (M,), on the device."""
        values = [getattr(mesh.material, name) for mesh in self.meshes]
        return torch.tensor(values, device=self.vertices.device)


def batch_meshes(scenes: Sequence[Sequence[Mesh]], device: torch.device | str) -> MeshBatch:
    """
    Batch the meshes of several scenes.

    :param scenes: the meshes of each; a scene may have none.
    :param device: where the tensors go.
    :return: the batch.
    """
    meshes = tuple(mesh.to(device) for scene in scenes for mesh in scene)
    vertex_counts = [len(mesh.vertices) for mesh in meshes]
    triangle_counts = [len(mesh.triangles) for mesh in meshes]
    mesh_scene = [i for i, scene in enumerate(scenes) for _ in scene]
    scene_triangle, first = [], 0
    for scene in scenes:
        scene_triangle.append(first)
        first += sum(len(mesh.triangles) for mesh in scene)

    def repeat(values: list[int], counts: list[int]) -> torch.Tensor:
        return torch.repeat_interleave(
            torch.tensor(values, dtype=torch.int32, device=device),
            torch.tensor(counts, dtype=torch.int64, device=device), output_size=sum(counts))

    first_vertex, total = [], 0
    for count in vertex_counts:
        first_vertex.append(total)
        total += count
    return MeshBatch(
        vertices=_columns([mesh.vertices for mesh in meshes], (3, 0), torch.float32, device),
        occlusion=_occlusion(meshes, device),
        triangles=_columns(
            [mesh.triangles.int() + first_vertex[i] for i, mesh in enumerate(meshes)], (3, 0),
            torch.int32, device),
        uv=_columns([mesh.uv.flatten(1) for mesh in meshes], (6, 0), torch.float32, device),
        vertex_scene=repeat(mesh_scene, vertex_counts),
        triangle_mesh=repeat(list(range(len(meshes))), triangle_counts),
        mesh_scene=torch.tensor(mesh_scene, dtype=torch.int32, device=device),
        mesh_part=torch.tensor(
            [i for scene in scenes for i in range(len(scene))], dtype=torch.int16, device=device
        ),
        scene_triangle=torch.tensor(scene_triangle, dtype=torch.int32, device=device),
        meshes=meshes,
        scenes=len(scenes),
    )


def vertex_normals(batch: MeshBatch) -> torch.Tensor:
    """
    Return unit normals (3, V): those of the adjacent triangles, weighted by their area.

    The batched twin of `trans3dhead_ros.mesh.vertex_normals`, for GPU and float32.
    """
    a, b, c = (batch.vertices.index_select(1, batch.triangles[i]) for i in range(3))
    face = torch.linalg.cross(b - a, c - a, dim=0)
    corners = batch.triangles.flatten()
    normals = torch.stack(
        [torch.zeros_like(batch.vertices[0]).index_add_(0, corners, face[i].repeat(3))
         for i in range(3)]
    )
    length = (normals[0] * normals[0] + normals[1] * normals[1] + normals[2] * normals[2]).sqrt()
    return normals / length.clamp(min=1e-20)


def _columns(
    rows: list[torch.Tensor], empty: tuple[int, int], kind: torch.dtype, device: torch.device | str
) -> torch.Tensor:
    if not rows:
        return torch.zeros(empty, dtype=kind, device=device)
    return torch.cat([row.T for row in rows], dim=1).contiguous()


def _occlusion(meshes: tuple[Mesh, ...], device: torch.device | str) -> torch.Tensor | None:
    if all(mesh.occlusion is None for mesh in meshes):
        return None
    return torch.cat(
        [torch.ones(len(mesh.vertices), device=device) if mesh.occlusion is None
         else mesh.occlusion for mesh in meshes]
    )
