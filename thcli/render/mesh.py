"""The textured 3D mesh of the most frontal frame, moved to any pose and projected into the image (§4.1).

Poses and meshes are numpy arrays, as in ``thcli.records``; what is drawn is torch, on the device of its tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from thcli.records import Float
from thcli.render.rasterize import Rasterizer, interpolate, rasterize
from thcli.rotations import apply_pose, remove_pose

OCCLUSION_TOLERANCE = 0.03
"""How far behind the depth buffer a point still counts as seen, as a share of the mesh's larger side in the image."""
# Centre of a triangle and three points on the way to its corners, as barycentric coordinates.
_PROBES = ((1 / 3, 1 / 3, 1 / 3), (2 / 3, 1 / 6, 1 / 6), (1 / 6, 2 / 3, 1 / 6), (1 / 6, 1 / 6, 2 / 3))
_PROBES_NEEDED = 2


def most_frontal(pose: Float) -> int:
    """t_M, the frame with the smallest angle of rotation: the one that shows most of the face; pose [T, 6]."""
    return int(np.argmin(np.linalg.norm(pose[:, :3], axis=1)))


def move_mesh(mesh: Float, pose_of_mesh: Float, pose: Float) -> Float:
    """Eq. 1: V_t = R_t⁻¹ (R_tM V_tM + T_tM - T_t), the mesh of frame t_M under another head pose.

    mesh: [V, 3], frame points in canonical face units (scale x pixels, see ``thcli/faces/pose.py``)
    pose_of_mesh: [6], pose of frame t_M
    pose: [6] or [T, 6]; returns [V, 3] or [T, V, 3] in canonical face units
    """
    return apply_pose(remove_pose(mesh, pose_of_mesh), pose)


@dataclass(frozen=True)
class TexturedMesh:
    """A photo wrapped around the mesh that was tracked in it.

    image: [3, H, W] float32, the frame y_tM
    uv: [V, 2] float32, position of every vertex in the image, pixels
    faces: [F, 3] int64
    visible: [F] bool, triangles that the image shows: not hidden behind another part of the face
    """

    image: Tensor
    uv: Tensor
    faces: Tensor
    visible: Tensor


@dataclass(frozen=True)
class Projection:
    """The projected image ỹ_t for a batch of poses.

    image: [B, 3, H, W], values of the texture; 0 outside the mask
    mask: [B, 1, H, W] bool, pixels whose colour the texture knows
    """

    image: Tensor
    mask: Tensor


def texture_mesh(image: Tensor, mesh: Tensor, faces: Tensor, rasterizer: Rasterizer = rasterize) -> TexturedMesh:
    """Take the texture of a mesh [V, 3], pixels, from the frame [3, H, W] in which it was tracked; faces [F, 3]."""
    visible = visible_faces(mesh, faces, image.shape[1], image.shape[2], rasterizer)
    return TexturedMesh(image, mesh[:, :2], faces.long(), visible)


def visible_faces(mesh: Tensor, faces: Tensor, height: int, width: int, rasterizer: Rasterizer = rasterize) -> Tensor:
    """[F] bool: triangles of a mesh [V, 3], pixels, of which at least half of four probes lie at the mesh's surface.

    Probes outside the image are not seen. By depth alone, so the winding of the triangles does not matter.
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
    """ỹ_t: the textured mesh drawn at positions mesh [B, V, 3], pixels of an image of height x width.

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
