"""The frames of a job, in chunks, as they are drawn: matched, warped, composed, and pasted back where asked."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from thcli.pipeline.person import Person
from thcli.pipeline.sketch import AS_GENERATED, Drawing, Sketcher
from thcli.pipeline.target import Target
from thcli.records import Image
from thcli.synthesis.paste import Paster

CHUNK = 8
"""Frames drawn at a time, at most."""
CHUNK_PIXELS = CHUNK * 512 * 512
"""Fewer are where they are large, so that memory does not grow with their size times their number."""


def draw_frames(
    person: Person, target: Target, device: str, full: bool, drawing: Drawing = AS_GENERATED
) -> Iterator[Image]:
    """Frames [H, W, 3] uint8 one after the other; memory does not grow with their number."""
    sketcher = Sketcher(person, device, full, drawing)
    paster = Paster(person.frames, person.box) if full else None
    shares = drawing.match(person, target)
    step = min(CHUNK, max(1, CHUNK_PIXELS // sketcher.pixels))
    frames = len(target.pose)
    for first in range(0, frames, step):
        chunk = slice(first, min(first + step, frames))
        some = shares.part(chunk)
        picture = sketcher.draw(torch.from_numpy(target.meshes(chunk)), some)
        crops = (picture * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        yield from crops if paster is None else paster.paste(crops, some.base)
