"""The frames of a job, in chunks, as they are drawn: matched, warped, composed, by Θ, and pasted back where asked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from thcli.face_model import LANDMARKS_68
from thcli.pipeline.matching import Shares
from thcli.pipeline.person import Person
from thcli.pipeline.sketch import AS_GENERATED, Drawing, Sketcher, blend
from thcli.pipeline.target import Target
from thcli.records import CROP_SIZE, Float, Image
from thcli.render.landmark_maps import draw_landmarks
from thcli.synthesis.generator import FrameGenerator, paint, resized
from thcli.synthesis.paste import Paster, head_mask, soft_border
from thgen_models.generator import Frames

CHUNK = 8
"""Frames drawn at a time, at most."""
CHUNK_PIXELS = CHUNK * 512 * 512
"""Fewer are where they are large, so that memory does not grow with their size times their number."""


def draw_frames(
    person: Person,
    target: Target,
    device: str,
    full: bool,
    drawing: Drawing = AS_GENERATED,
    theta: FrameGenerator | None = None,
) -> Iterator[Image]:
    """Frames [H, W, 3] uint8 one after the other; memory does not grow with their number.

    theta: draws them from the pictures of the geometric path; without it they are those pictures
    """
    sketcher = Sketcher(person, device, drawing)
    paster = Paster(person.frames, person.scene) if full else None
    shares = drawing.match(person, target)
    painter = None if theta is None else _Painter(theta, person, target, sketcher)
    step = min(CHUNK, max(1, CHUNK_PIXELS // sketcher.pixels))
    frames = len(target.pose)
    for first in range(0, frames, step):
        chunk = slice(first, min(first + step, frames))
        some, mesh = shares.part(chunk), target.meshes(chunk)
        picture = sketcher.draw(torch.from_numpy(mesh), some) if painter is None else painter.draw(mesh, some, chunk)
        crops = (picture * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        yield from crops if paster is None else paster.paste(crops, some.base)


class _Painter:
    """Θ over the geometric path's pictures of one person; what it is to know of them is found out here, once."""

    def __init__(self, theta: FrameGenerator, person: Person, target: Target, sketcher: Sketcher) -> None:
        self.theta, self.sketcher, device = theta, sketcher, sketcher.references.device
        self.blended = blend(person, target)
        self.part = None if person.scene == person.box else _part(person)
        self.border = soft_border(person.box, person.scene).to(device)
        self.images = _seen(self._crop(sketcher.references))
        self.maps = self._maps(person.track.landmarks[person.chosen])
        self.embedding = theta.embed(self.images, self.maps)

    @torch.inference_mode()
    def draw(self, mesh: Float, shares: Shares, chunk: slice) -> Tensor:
        """Pictures [B, 3, S, S] float32 in 0..1 for meshes [B, V, 3] px of the crop, from shares of the same frames."""
        pair = (shares, self.blended.part(chunk))
        scene, projected = self.sketcher.draw_each(torch.from_numpy(mesh), pair)
        geometric, projected = self._crop(scene), self._crop(projected)
        matched = torch.from_numpy(shares.base.argmax(axis=1)).to(geometric.device)
        frames = Frames(
            geometric=_seen(geometric),
            projected=_seen(projected),
            matched=self.images[matched],
            matched_map=self.maps[matched],
            target_map=self._maps(mesh[:, LANDMARKS_68]),
        )
        painted = self.theta.draw(frames, self.embedding)
        picture = paint(painted, geometric, projected, self._crop(self.sketcher.references)[matched])
        if self.part is None:
            return picture
        mask = resized(head_mask(self.sketcher.attached(torch.from_numpy(mesh), shares)), scene.shape[-1])
        geometric += self._crop(mask) * self.border * (picture - geometric)
        return scene

    def _crop(self, scenes: Tensor) -> Tensor:
        """The crop's part of pictures of the scene, a view of them."""
        return scenes if self.part is None else scenes[..., self.part[0], self.part[1]]

    def _maps(self, landmarks: Float) -> Tensor:
        """Landmarks [B, 68, 3], px of the crop, as Θ sees them: [B, 1, 256, 256]."""
        drawn = draw_landmarks(torch.from_numpy(np.ascontiguousarray(landmarks)), CROP_SIZE, CROP_SIZE)
        return drawn.to(self.sketcher.references.device)


def _part(person: Person) -> tuple[slice, slice]:
    """Rows and columns of the crop in the scene."""
    top, left = person.box.y0 - person.scene.y0, person.box.x0 - person.scene.x0
    return slice(top, top + person.box.side), slice(left, left + person.box.side)


def _seen(pictures: Tensor) -> Tensor:
    """Pictures [B, 3, S, S] in 0..1 as Θ sees them: [B, 3, 256, 256] in -1..1."""
    return resized(pictures, CROP_SIZE) * 2 - 1
