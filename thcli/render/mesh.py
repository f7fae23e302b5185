"""Textured 3D mesh of the most frontal frame, moved to any pose and projected into the image (§4.1).

Poses and the meshes that ``move_mesh`` moves are NumPy arrays, as in ``thcli.records``. Textures and projections are
torch tensors, on the device of their inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from thcli.records import Float
from thcli.render.rasterize import interpolate, rasterize
from thcli.render.rasterizers import Rasterizer
from thcli.rotations import apply_pose, remove_pose

OCCLUSION_TOLERANCE = 0.03
"""Distance behind the depth buffer up to which a point counts as visible, over the mesh's larger side in the image."""
_PROBES = ((1 / 3, 1 / 3, 1 / 3), (2 / 3, 1 / 6, 1 / 6), (1 / 6, 2 / 3, 1 / 6), (1 / 6, 1 / 6, 2 / 3))
"""Barycentric coordinates of the centre of a triangle and of three points on the way to its corners."""
_PROBES_NEEDED = 2
"""Probes of a triangle that must be visible for the triangle to count as visible."""


def most_frontal(pose: Float) -> int:
    """Return t_M, the frame of poses [T, 6] with the smallest angle of rotation, which shows most of the face."""
    return int(np.argmin(np.linalg.norm(pose[:, :3], axis=1)))


def move_mesh(mesh: Float, pose_of_mesh: Float, pose: Float) -> Float:
    """Move the mesh of frame t_M to another head pose by Eq. 1: V_t = R_t⁻¹ (R_tM V_tM + T_tM - T_t).

    mesh: [V, 3], points of the frame in canonical face units (scale x pixels, see ``thcli/faces/pose.py``)
    pose_of_mesh: [6], pose of frame t_M
    pose: [6] or [T, 6], poses to move the mesh to

    Returns [V, 3] or [T, V, 3] in canonical face units.
    """
    return apply_pose(remove_pose(mesh, pose_of_mesh), pose)


@dataclass(frozen=True)
class TexturedMesh:
    """Frame wrapped around the mesh that was tracked in it.

    image: [3, H, W] float32, the frame y_tM
    uv: [V, 2] float32, position of every vertex in the image, pixels
    faces: [F, 3] int64, vertices of the triangles
    visible: [F] bool, whether the image shows a triangle, which no other part of the face hides
    """

    image: Tensor
    uv: Tensor
    faces: Tensor
    visible: Tensor


@dataclass(frozen=True)
class Projection:
    """Projected images ỹ_t of a batch of poses.

    image: [B, 3, H, W], values of the texture; 0 outside the mask
    mask: [B, 1, H, W] bool, pixels whose colour the texture holds
    """

    image: Tensor
    mask: Tensor


def texture_mesh(image: Tensor, mesh: Tensor, faces: Tensor, rasterizer: Rasterizer = rasterize) -> TexturedMesh:
    """Take the texture of a mesh [V, 3] px with faces [F, 3] from the frame [3, H, W] in which it was tracked."""
    visible = visible_faces(mesh, faces, image.shape[1], image.shape[2], rasterizer)
    return TexturedMesh(image, mesh[:, :2], faces.long(), visible)


def visible_faces(mesh: Tensor, faces: Tensor, height: int, width: int, rasterizer: Rasterizer = rasterize) -> Tensor:
    """Return [F] bool: whether at least two of four probes of a triangle lie at the surface of a mesh [V, 3] px.

    Probes outside the image count as hidden. Depth alone decides, so the winding of the triangles does not matter.
    """
    with torch.no_grad():
        depth = rasterizer(mesh[None], faces, height, width).depth[0]
        probes = torch.einsum("pk,fkc->fpc", mesh.new_tensor(_PROBES), mesh[faces.long()])
        column, row = probes[..., 0].floor().long(), probes[..., 1].floor().long()
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        surface = depth[row.clamp(0, height - 1), column.clamp(0, width - 1)]
        tolerance = OCCLUSION_TOLERANCE * (mesh[:, :2].amax(dim=0) - mesh[:, :2].amin(dim=0)).max()
        return (inside & (probes[..., 2] >= surface - tolerance)).sum(dim=1) >= _PROBES_NEEDED


def project_texture(
    texture: TexturedMesh, mesh: Tensor, height: int, width: int, rasterizer: Rasterizer = rasterize
) -> Projection:
    """Render ỹ_t: the textured mesh at positions [B, V, 3] px of an image of height x width.

    A pixel outside the mask shows no face, or a part of it that the textured frame did not show. Gradients flow to the
    texture's image and uv, and to the mesh.
    """
    fragments = rasterizer(mesh, texture.faces, height, width)
    uv = interpolate(fragments, texture.faces, texture.uv.expand(len(mesh), -1, -1)).permute(0, 2, 3, 1)
    size = uv.new_tensor([texture.image.shape[2], texture.image.shape[1]])
    source = texture.image.expand(len(mesh), -1, -1, -1)
    image = grid_sample(source, uv / size * 2 - 1, padding_mode="border", align_corners=False)
    inside = ((uv >= 0) & (uv <= size)).all(dim=-1)
    mask = (fragments.mask & texture.visible[fragments.face.clamp(min=0)] & inside)[:, None]
    return Projection(torch.where(mask, image, 0.0), mask)
