"""Rendering of a video's frames in chunks: matched, warped, composed, improved by Θ, and pasted back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import EllipsisType

import numpy as np
import torch
from torch import Tensor

from thcli.cropping import crop_frames
from thcli.face_model import LANDMARKS_68
from thcli.images import blur, ramp, resized
from thcli.records import CROP_SIZE, Float, Image, Person, ReferenceWeights, Target
from thcli.render.generator import FrameGenerator
from thcli.render.geometric import DEFAULT_STEPS, GeometricRenderer, RenderModels, RenderSteps, to_uint8
from thcli.render.landmark_maps import draw_features, draw_for
from thcli.render.matcher import costs
from thcli.render.memory import DEFAULT_BATCH, OneFrame, frames_at_a_time, in_parts
from thcli.render.paste import Paster, head_mask, soft_border
from thgen_models.blocks import reduced
from thgen_models.generator import Frames

FINE = 1.0
"""Standard deviation, px of the crop at 256², of the blur that separates fine detail, which the photograph keeps."""
SAME, OTHER = 0.05, 0.12
"""Changes up to which Θ and y_geo count as showing the same, and from which as showing something else, 0..1."""
NEAR = 2.0
"""Standard deviation, px of the crop at 256², of the blur in which changes are compared."""
LOST, LOST_OF_FEATURES = 0.10, 0.17
"""Shares of the photograph's fine detail that are lost to warping and smooth changes, and that are added again: in the
picture as a whole, and in mouth and eyes, which are warped most."""


class TargetRenderer:
    """Renders the frames of a target part by part; each part is rendered alike in whatever process.

    target: the target, or what returns it, which is called once all that depends on the person alone is ready
    theta: Θ, which improves the images of the geometric renderer; without it these images are the frames
    batch_size: most frames of a part; fewer are where they are large, or the device's memory runs out
    """

    def __init__(
        self,
        models: RenderModels,
        person: Person,
        target: Target | Callable[[], Target],
        *,
        theta: FrameGenerator | None = None,
        steps: RenderSteps = DEFAULT_STEPS,
        batch_size: int = DEFAULT_BATCH,
    ) -> None:
        self.geometric = GeometricRenderer(models, person, steps)
        self.paster = Paster(person.reference_frames, person.canvas) if person.paste_back else None
        self.neural = None if theta is None else NeuralRenderer(models, theta, person, self.geometric)
        self.target = target() if callable(target) else target
        known = costs(person, self.target)
        self.weights = steps.match(known)
        if self.neural is not None:
            self.blended = known.blend()
        self.step = self.most = frames_at_a_time(self.geometric.pixels, batch_size)
        self.one = OneFrame(math.isqrt(self.geometric.pixels), len(person.reference_images), models.device)

    @property
    def parts(self) -> list[slice]:
        """Parts of the video, in order."""
        frames = len(self.target.pose)
        return [slice(first, min(first + self.step, frames)) for first in range(0, frames, self.step)]

    def frames(self) -> Iterator[Image]:
        """Yield all frames [H, W, 3] uint8 one after the other, in memory that does not grow with their number.

        Raises DeviceError as ``render`` does.
        """
        for part in self.parts:
            yield from self.render(part)

    def render(self, part: slice) -> Image:
        """Render the frames [n, H, W, 3] uint8 of a part.

        Raises DeviceError where not even one frame fits into the device's memory.
        """
        chunks = list(in_parts(part, self.most, self._attempt, self.one))
        if len(chunks) > 1:  # memory ran out, now or before
            self.most = max(len(images) for _, images in chunks)
        frames = np.concatenate([images for _, images in chunks])
        return frames if self.paster is None else self.paster.paste(frames, self.weights.base[part])

    def _attempt(self, chunk: slice) -> Image:
        some, mesh = self.weights.select(chunk), self.target.meshes(chunk)
        if self.neural is None:
            return to_uint8(self.geometric.render(torch.from_numpy(mesh), some))
        return to_uint8(self.neural.render(mesh, some, self.blended.select(chunk)))


class NeuralRenderer:
    """Θ over the geometric renderer's images of one person (§4.2); the person's embedding is computed once.

    Θ takes and returns an image of the crop at its own size, whatever that of the canvas. Its change to that image is
    added to the larger one, which keeps the finer detail of y_geo. Warped images at full size, weighted by Θ, kept
    only half of that detail, because ỹ_t is a blend; it is drawn coarsely: on val no figure is worse for it.
    """

    def __init__(
        self, models: RenderModels, theta: FrameGenerator, person: Person, geometric: GeometricRenderer
    ) -> None:
        self.theta, self.geometric = theta, geometric
        self.small = geometric
        if person.canvas != person.box:
            images = crop_frames(person.reference_frames, person.box)
            opacity = _opacity_in_crop(person)
            cropped = replace(
                person, reference_images=images, reference_opacity=opacity, small_frames=None, canvas=person.box
            )
            self.small = GeometricRenderer(models, cropped, geometric.steps)
            if geometric.warper.secondary is not None:
                self.small.warper.secondary = geometric.warper.secondary.part(person.canvas, person.box)
        references = self.small.references.each(lambda part: resized(part, theta.size))
        self.images = references.images * 2 - 1
        self.references = replace(references.each(lambda part: reduced(part, theta.reduction)), fine=False)
        self.maps = self._maps(person.track.landmarks[person.reference_indices])
        self.embedding = theta.embed(self.references.images * 2 - 1, self.maps)
        self.border = soft_border(person.box, person.canvas).to(self.images.device)
        self.crop = _crop_in_canvas(person)

    @torch.inference_mode()
    def render(self, mesh: Float, weights: ReferenceWeights, blended_weights: ReferenceWeights) -> Tensor:
        """Render images [B, 3, S, S] float32 in 0..1 of meshes [B, V, 3] px of the crop.

        weights, blended_weights: weights of the references in y_geo and in ỹ_t
        """
        target, blended = torch.from_numpy(mesh), (self.references, blended_weights)
        if self.small is self.geometric:
            canvas, projected = self.geometric.render_each(target, [(self.geometric.references, weights), blended])
        else:
            canvas, (projected,) = self.geometric.render(target, weights), self.small.render_each(target, [blended])
        crop = resized(canvas[self.crop], CROP_SIZE)
        geometric = resized(crop, self.theta.size)
        matched = torch.from_numpy(weights.base.argmax(axis=1)).to(canvas.device)
        frames = Frames(
            geometric=geometric * 2 - 1,
            projected=projected * 2 - 1,
            matched=self.images[matched],
            matched_map=self.maps[matched],
            target_map=self._maps(mesh[:, LANDMARKS_68]),
        )
        image = (self.theta.render(frames, self.embedding) + 1) / 2
        features = draw_features(target[:, LANDMARKS_68], CROP_SIZE, CROP_SIZE).to(canvas.device)
        change = keep_detail(resized(image - geometric, CROP_SIZE), crop, features)
        return crop + change if crop.shape == canvas.shape else self._add(canvas, change, target, weights)

    def _add(self, canvas: Tensor, change: Tensor, mesh: Tensor, weights: ReferenceWeights) -> Tensor:
        """Add a change [B, 3, 256, 256] of the crop to images of the canvas, which is larger than 256² or the crop."""
        crop = canvas[self.crop]
        change = resized(change, crop.shape[-1])
        if crop.shape != canvas.shape:
            mask = resized(head_mask(self.geometric.head_weight(mesh, weights)), canvas.shape[-1])
            change = mask[self.crop] * self.border * change
        crop += change
        return canvas.clamp(0, 1)

    def _maps(self, landmarks: Float) -> Tensor:
        """Draw the landmark maps that Θ takes, of landmarks [B, 68, 3] px of the crop."""
        return draw_for(self.theta, torch.from_numpy(np.ascontiguousarray(landmarks))).to(self.images.device)


def keep_detail(change: Tensor, geometric: Tensor, features: Tensor, scale: float | None = None) -> Tensor:
    """Remove the fine detail from a change [B, 3, H, W] to images y_geo [B, 3, H, W], where the two show the same.

    Θ blends photographs, and where these are not aligned to the pixel, hair, teeth and lashes come out soft, while
    those of the nearest photograph are sharp. Hence the part of the change that is finer than about two pixels of 256
    is left out, and y_geo's own detail is raised by what warping has cost it. On val, with eight references, an earlier
    Θ alone had 0.42 of the real variance of the mouth's Laplacian; with this step Θ has 0.94. Where Θ moves an outline,
    as that of the hair against the background, y_geo's edge would stay behind as a line, so there Θ's image is left as
    it is, but for mouth and eyes, which Θ may light anew.

    features: [B, 1, H, W] in 0..1, 1 in mouth and eyes, from ``landmark_maps.draw_features``
    scale: pixels that count as one of the crop at 256²; None where these are the whole crop, whose size tells
    """
    scale = scale or change.shape[-1] / CROP_SIZE
    both = torch.cat([change, geometric], 1)
    fine, photograph = (both - blur(both, FINE * scale)).chunk(2, 1)
    differs = blur(change.abs().amax(1, keepdim=True), NEAR * scale)
    same = 1 - ramp(differs, SAME, OTHER)
    lost = LOST + (LOST_OF_FEATURES - LOST) * features
    return change + torch.maximum(same, features) * (lost * photograph - fine)


def _opacity_in_crop(person: Person) -> Image | None:
    """Return the person's opacity in crops of the references, [K, 256, 256] uint8; None where it is not known."""
    if person.reference_opacity is None:
        return None
    opacity = torch.from_numpy(person.reference_opacity)[:, None].float()
    if person.canvas != person.box:
        opacity = resized(opacity, person.canvas.side)[_crop_in_canvas(person)]
    return resized(opacity, CROP_SIZE)[:, 0].round().byte().numpy()


def _crop_in_canvas(person: Person) -> tuple[EllipsisType, slice, slice]:
    """Return the index that cuts the crop out of images of the canvas."""
    if person.canvas == person.box:
        return ..., slice(None), slice(None)
    top, left = person.box.y0 - person.canvas.y0, person.box.x0 - person.canvas.x0
    return ..., slice(top, top + person.box.side), slice(left, left + person.box.side)
