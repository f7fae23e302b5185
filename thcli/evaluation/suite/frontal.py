"""The paper's projected image ỹ_t as a row of the suite: the textured mesh of the most frontal reference (§4.1)."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from thcli.evaluation.suite.ablation import Render
from thcli.records import CROP_SIZE, Float, Image, Person, Target
from thcli.render.geometric import RenderModels, to_uint8
from thcli.render.mesh import most_frontal, move_mesh, project_texture, texture_mesh
from thcli.render.rasterizers import Rasterizer
from thcli.rotations import to_canonical_units, to_pixels

CHUNK = 8
"""Frames that are projected at a time."""


def render_frontal(rasterizer: Rasterizer) -> Render:
    """Return what renders a target by moving the mesh of the most frontal reference by Eq. 1, with its texture.

    The mesh keeps the expression of its frame: in the paper only the head pose moves it, and the network, which sees
    the landmarks, changes the expression. What the mesh does not cover is shown as it is in the reference.
    """

    def render(models: RenderModels, person: Person, target: Target) -> Iterator[Image]:
        track, device = person.track, models.device
        frame = person.reference_indices[most_frontal(track.pose[person.reference_indices])]
        shown = int((person.reference_indices == frame).argmax())
        image = torch.from_numpy(person.reference_images[shown]).permute(2, 0, 1).float().div(255).to(device)
        faces = torch.from_numpy(models.face_model.faces).long().to(device)
        texture = texture_mesh(image, torch.from_numpy(track.mesh[frame]).to(device), faces, rasterizer)
        mesh = to_canonical_units(track.mesh[frame], track.scale, track.size)
        for first in range(0, len(target.pose), CHUNK):
            posed = move_mesh(mesh, track.pose[frame], target.pose[first : first + CHUNK])
            placed: Float = to_pixels(posed, track.scale, track.size).astype("float32")
            projected = project_texture(texture, torch.from_numpy(placed).to(device), CROP_SIZE, CROP_SIZE, rasterizer)
            yield from to_uint8(torch.where(projected.mask, projected.image, image))

    return render
