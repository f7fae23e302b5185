"""Rasterizer that computes ``Fragments`` with pytorch3d, an optional dependency (``pytorch3d >= 0.5``).

pytorch3d's screen space has x to the LEFT, y UP, the shorter side of the image spanning -1..1, and z AWAY from the
camera, where geometry at z < 0 is not drawn. Two things differ from ``rasterize``: it works in float32, and a pixel
centre exactly on an edge belongs to no triangle.
"""

from __future__ import annotations

import torch
from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
from pytorch3d.structures import Meshes
from torch import Tensor

from thcli.render.rasterize import Fragments, select_drawn


def rasterize_pytorch3d(
    vertices: Tensor, faces: Tensor, height: int, width: int, *, cull_back_faces: bool = False
) -> Fragments:
    """Rasterize as ``thcli.render.rasterize.rasterize`` documents, with pytorch3d in float32."""
    batch, n_faces = len(vertices), len(faces)
    triangles = vertices[:, faces.long()].float().reshape(-1, 3, 3)
    # Triangles that must not be drawn become points, which pytorch3d leaves out.
    triangles = torch.where(select_drawn(triangles, cull_back_faces)[:, None, None], triangles, 0.0)
    nearest = triangles.detach()[..., 2].max() + 1
    x, y, z = triangles.unbind(-1)
    unit = 2 / min(height, width)
    screen = torch.stack([(width / 2 - x) * unit, (height / 2 - y) * unit, nearest - z], dim=-1)
    corners = torch.arange(3 * n_faces, device=vertices.device).view(1, n_faces, 3).expand(batch, -1, -1)
    face, distance, barycentric, _ = rasterize_meshes(
        Meshes(verts=screen.view(batch, 3 * n_faces, 3), faces=corners),
        image_size=(height, width),
        blur_radius=0.0,
        faces_per_pixel=1,
        perspective_correct=False,
    )
    seen = face[..., 0] >= 0
    offset = n_faces * torch.arange(batch, device=face.device)[:, None, None]
    return Fragments(
        face=torch.where(seen, face[..., 0] - offset, -1),
        barycentric=torch.where(seen[..., None], barycentric[..., 0, :], 0.0),
        depth=torch.where(seen, nearest - distance[..., 0], 0.0),
    )
