"""The frames of a job, in chunks, as they are drawn: matched, warped, composed, and pasted back where asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thcli.pipeline.person import Person
from thcli.pipeline.target import Target
from thcli.records import Float, Image
from thcli.render.attachment import learn_attachment, prior_attachment
from thcli.render.matcher import (
    BASE,
    EYES,
    MOUTH,
    Matching,
    choose,
    cross_fade,
    eye_cost,
    mouth_cost,
    pose_cost,
    turn_cost,
)
from thcli.render.picture import PictureRenderer
from thcli.synthesis.compose import Part, compose
from thcli.synthesis.paste import Paster

CHUNK = 8
"""Frames drawn at a time, at most."""
CHUNK_PIXELS = CHUNK * 512 * 512
"""Fewer are where they are large, so that memory does not grow with their size times their number."""
COST_CHUNK = 500


def match(person: Person, target: Target) -> tuple[Float, Float, Float]:
    """Weights [T, K] of the references for the picture as a whole, the mouth and the eyes (§4.1)."""
    pose, faces = person.track.pose[person.chosen], person.faces[person.chosen]
    costs: tuple[list[Float], list[Float], list[Float]] = ([], [], [])
    for first in range(0, len(target.pose), COST_CHUNK):
        chunk = slice(first, first + COST_CHUNK)
        wanted, wanted_pose = target.faces(chunk), target.pose[chunk]
        costs[0].append(pose_cost(wanted_pose, pose))
        costs[1].append(mouth_cost(wanted, faces) + turn_cost(wanted_pose, pose, MOUTH))
        costs[2].append(eye_cost(wanted, faces) + turn_cost(wanted_pose, pose, EYES))
    base, mouth, eyes = (
        _weights(np.concatenate(cost), matching) for cost, matching in zip(costs, (BASE, MOUTH, EYES), strict=True)
    )
    return base, mouth, eyes


def _weights(cost: Float, matching: Matching) -> Float:
    return cross_fade(choose(cost, matching.change), cost.shape[1], matching.fade)


@dataclass(frozen=True)
class Drawing:
    """The steps a picture is made in; ablations (Table 3) replace some.

    match: the references' weights [T, K] for the whole, the mouth and the eyes
    renderer: warps the references onto the target mesh
    compose: lays the parts, mouth and eyes, over the whole
    """

    match: Callable[[Person, Target], tuple[Float, Float, Float]] = match
    renderer: type[PictureRenderer] = PictureRenderer
    compose: Callable[[Tensor, Sequence[Part]], Tensor] = compose


AS_GENERATED = Drawing()


def draw_frames(
    person: Person, target: Target, device: str, full: bool, drawing: Drawing = AS_GENERATED
) -> Iterator[Image]:
    """Frames [H, W, 3] uint8 one after the other; memory does not grow with their number."""
    images = torch.from_numpy(person.crops).permute(0, 3, 1, 2).float() / 255
    meshes = torch.from_numpy(person.track.mesh[person.chosen])
    faces = torch.from_numpy(person.model.faces).long()
    attachment = learn_attachment(images, meshes, faces, prior_attachment())
    renderer = drawing.renderer(images, meshes, person.model, attachment, device, person.interior, hold_border=full)
    paster = Paster(person.frames, person.box) if full else None
    base, mouth, eyes = drawing.match(person, target)
    step = min(CHUNK, max(1, CHUNK_PIXELS // images[0, 0].numel()))
    frames = len(target.pose)
    for first in range(0, frames, step):
        chunk = slice(first, min(first + step, frames))
        mesh = torch.from_numpy(target.meshes(chunk))
        with torch.inference_mode():
            picture, windows = renderer.draw(mesh, base[chunk], mouth[chunk], eyes[chunk])
            picture = drawing.compose(picture, [Part(w.image, w.mask, w.top, w.left) for w in windows])
            crops = (picture * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        yield from crops if paster is None else paster.paste(crops, base[chunk])
