"""The frames of a job, in chunks, as they are drawn: matched, warped, composed, by Θ, and pasted back where asked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from types import EllipsisType

import numpy as np
import torch
from torch import Tensor

from thcli.face_model import LANDMARKS_68
from thcli.faces.crop import crop_frames
from thcli.pipeline.options import DEFAULT_BATCH
from thcli.pipeline.person import Person
from thcli.pipeline.target import Target
from thcli.records import CROP_SIZE, Float, Image
from thcli.render.detail import keep_detail
from thcli.render.generator import FrameGenerator, resized
from thcli.render.geometric import AS_GENERATED, Drawing, Sketcher, as_images
from thcli.render.landmark_maps import draw_features, draw_landmarks
from thcli.render.matching import Shares, costs
from thcli.render.memory import OneFrame, in_parts
from thcli.render.paste import Paster, head_mask, soft_border
from thgen_models.generator import Frames

FULL_PIXELS = 512 * 512
"""Of larger frames fewer are drawn at a time, so that memory does not grow with their size times their number."""


def draw_frames(
    person: Person,
    target: Target,
    device: str,
    full: bool,
    drawing: Drawing = AS_GENERATED,
    theta: FrameGenerator | None = None,
    most: int = DEFAULT_BATCH,
) -> Iterator[Image]:
    """Frames [H, W, 3] uint8 one after the other; memory does not grow with their number.

    Where the device has not enough memory, fewer are drawn at a time; DeviceError where one is too many.

    theta: draws them from the pictures of the geometric path; without it they are those pictures
    most: frames drawn at a time, see ``GenerateOptions.batch_size``
    """
    sketcher = Sketcher(person, device, drawing)
    paster = Paster(person.frames, person.scene) if full else None
    known = costs(person, target)
    shares = drawing.match(known)
    painter = None if theta is None else _Painter(theta, person, known.blend(), sketcher, device)
    step = at_a_time(sketcher.pixels, most)

    def draw(chunk: slice) -> Image:
        some, mesh = shares.part(chunk), target.meshes(chunk)
        picture = sketcher.draw(torch.from_numpy(mesh), some) if painter is None else painter.draw(mesh, some, chunk)
        return as_images(picture)

    one = OneFrame(math.isqrt(sketcher.pixels), len(person.crops), device)
    for chunk, crops in in_parts(len(target.pose), step, draw, one):
        yield from crops if paster is None else paster.paste(crops, shares.part(chunk).base)


def at_a_time(pixels: int, most: int) -> int:
    """How many frames of so many pixels are drawn at a time: ``most``, and fewer where they are large."""
    return min(most, max(1, most * FULL_PIXELS // pixels))


class _Painter:
    """Θ over the geometric path's pictures of one person; what it is to know of them is found out here, once.

    Whatever is drawn, Θ sees and makes a picture of the crop at 256². What it changes there is laid on larger pictures,
    and their finer detail is that of y_geo: shares of warped images at full size left half of it, for ỹ_t is a blend.

    blended: the references for ỹ_t, of all frames
    """

    def __init__(self, theta: FrameGenerator, person: Person, blended: Shares, sketcher: Sketcher, device: str) -> None:
        self.theta, self.sketcher = theta, sketcher
        self.small = sketcher
        if person.scene != person.box or person.crops.shape[1] != CROP_SIZE:
            crops = crop_frames(person.frames, person.box)
            self.small = Sketcher(replace(person, crops=crops, scene=person.box), device, sketcher.drawing)
        self.blended = blended
        self.images = self.small.references * 2 - 1
        self.maps = self._maps(person.track.landmarks[person.chosen])
        self.embedding = theta.embed(self.images, self.maps)
        self.border = soft_border(person.box, person.scene).to(self.images.device)
        self.crop = _place(person)

    @torch.inference_mode()
    def draw(self, mesh: Float, shares: Shares, chunk: slice) -> Tensor:
        """Pictures [B, 3, S, S] float32 in 0..1 for meshes [B, V, 3] px of the crop, from shares of the same frames."""
        target, blended = torch.from_numpy(mesh), self.blended.part(chunk)
        if self.small is self.sketcher:
            scene, projected = self.sketcher.draw_each(target, (shares, blended))
        else:
            scene, projected = self.sketcher.draw(target, shares), self.small.draw(target, blended)
        geometric = resized(scene[self.crop], CROP_SIZE)
        matched = torch.from_numpy(shares.base.argmax(axis=1)).to(scene.device)
        frames = Frames(
            geometric=geometric * 2 - 1,
            projected=projected * 2 - 1,
            matched=self.images[matched],
            matched_map=self.maps[matched],
            target_map=self._maps(mesh[:, LANDMARKS_68]),
        )
        picture = (self.theta.draw(frames, self.embedding) + 1) / 2
        features = draw_features(target[:, LANDMARKS_68], CROP_SIZE, CROP_SIZE).to(scene.device)
        change = keep_detail(picture - geometric, geometric, features)
        return geometric + change if self.small is self.sketcher else self._laid_on(scene, change, target, shares)

    def _laid_on(self, scene: Tensor, change: Tensor, mesh: Tensor, shares: Shares) -> Tensor:
        """The scene, larger than 256² or more than the crop, with a change [B, 3, 256, 256] of the crop in it."""
        crop = scene[self.crop]
        change = resized(change, crop.shape[-1])
        if crop.shape != scene.shape:
            mask = resized(head_mask(self.sketcher.attached(mesh, shares)), scene.shape[-1])
            change = mask[self.crop] * self.border * change
        crop += change
        return scene.clamp(0, 1)

    def _maps(self, landmarks: Float) -> Tensor:
        """Landmarks [B, 68, 3], px of the crop, as Θ sees them: [B, 1, 256, 256]."""
        drawn = draw_landmarks(torch.from_numpy(np.ascontiguousarray(landmarks)), CROP_SIZE, CROP_SIZE)
        return drawn.to(self.sketcher.references.device)


def _place(person: Person) -> tuple[EllipsisType, slice, slice]:
    """Where the crop lies in pictures of the scene."""
    if person.scene == person.box:
        return ..., slice(None), slice(None)
    top, left = person.box.y0 - person.scene.y0, person.box.x0 - person.scene.x0
    return ..., slice(top, top + person.box.side), slice(left, left + person.box.side)
