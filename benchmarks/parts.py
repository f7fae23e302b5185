"""Measure what each part of the picture brings: frames drawn without it, by region, for the people of a store.

    python benchmarks/parts.py STORE [--references 1 8] [--seconds 2] [--split val] [--clips s001_00 …] [--parts …]

As in ``thgen evaluate --suite STORE --drive landmarks``, references come from the first 64 frames of each clip, and the
seconds that follow are drawn by their own landmarks, once with all parts and once without each:

- secondary motion: hair and shoulders move as one rigid head does, by a share
- layers: the background moves with the head (and there is no secondary motion of the person alone)
- head weights: the share of the head's movement is that which is assumed for a photo
- mouth and eyes: both come from the reference of the whole image
- Θ: the geometric renderer's image

Rows give SSIM over the image, and in face, hair (of the person, above the chin), body (below it) and background, which
are told apart in the true frames, by their track and the matting network. Mouth L1 is that of ``thgen evaluate``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.data.store import Store
from thcli.evaluation.metrics.mouth_l1 import measure as mouth_l1
from thcli.evaluation.recording import Pair, Recording
from thcli.evaluation.suite.ablation import without_parts
from thcli.evaluation.suite.case import Case, load_case
from thcli.evaluation.suite.options import SuiteOptions
from thcli.records import CROP_SIZE, Float, Image, Person
from thcli.render import geometric
from thcli.render.frames import TargetRenderer
from thcli.render.geometric import DEFAULT_STEPS
from thcli.render.head_weights import CHIN
from thcli.render.rasterize import rasterize
from thcli.training.generator_loss import ssim

COLUMNS = ("SSIM", "face", "hair", "body", "background", "mouth L1")
ALL = "all"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--references", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--split", default="val")
    parser.add_argument("--clips", nargs="+", default=[])
    parser.add_argument("--parts", nargs="+", choices=list(WITHOUT), default=list(WITHOUT))
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[tuple[int, str], list[Float]] = {}
    for case in cases(given.store, given.split, given.clips, given.seconds):
        regions = regions_of(case)
        for count in given.references:
            person = case.person(count)
            for part in (ALL, *given.parts):
                made = WITHOUT[part](case, person) if part != ALL else drawn(case, person)
                rows.setdefault((count, part), []).append(figures(case, made, regions))
    print("| K | without | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (len(COLUMNS) + 2))
    for (count, part), found in rows.items():
        mean = np.mean(found, axis=0)
        print(f"| {count} | {'nothing' if part == ALL else part} | " + " | ".join(f"{x:.3f}" for x in mean) + " |")


def cases(root: Path, split: str, clips: list[str], seconds: float) -> Iterator[Case]:
    """Yield the clips of a store, or some of them."""
    store, options = Store(root), SuiteOptions(drive="landmarks", seconds=seconds, device="cpu")
    for meta in store.select(split):
        if not clips or meta.clip in clips:
            yield load_case(store, meta, meta, options)


def drawn(case: Case, person: Person, theta: bool = True, **changes: object) -> Image:
    """Return the frames [T, 256, 256, 3] of a case, drawn by Θ or without it."""
    network = case.models.theta if theta else None
    renderer = TargetRenderer(case.models, person, case.target(person), theta=network, **changes)  # type: ignore[arg-type]
    return np.stack(list(renderer.frames()))


def without_layers(case: Case, person: Person) -> Image:
    return drawn(case, replace(person, reference_opacity=None, small_frames=None))


def without_secondary_motion(case: Case, person: Person) -> Image:
    return drawn(case, replace(person, small_frames=None))


def without_head_weights(case: Case, person: Person) -> Image:
    """Draw frames with the head weights that are assumed for a photo."""
    estimate = geometric.estimate_head_weights
    geometric.estimate_head_weights = lambda images, meshes, faces, prior, person: prior
    try:
        return drawn(case, person)
    finally:
        geometric.estimate_head_weights = estimate


def without_mouth_and_eyes(case: Case, person: Person) -> Image:
    return drawn(case, person, steps=replace(DEFAULT_STEPS, compose=without_parts))


def without_theta(case: Case, person: Person) -> Image:
    return drawn(case, person, theta=False)


WITHOUT: dict[str, Callable[[Case, Person], Image]] = {
    "secondary motion": without_secondary_motion,
    "layers": without_layers,
    "head weights": without_head_weights,
    "mouth and eyes": without_mouth_and_eyes,
    "Θ": without_theta,
}


def regions_of(case: Case) -> dict[str, Tensor]:
    """Return where the true frames show face, hair, body and background: [T, 1, 256, 256] in 0..1 each."""
    models, frames = case.models, case.real.frames
    person = torch.from_numpy(models.matting.opacity(frames))[:, None].float() / 255
    mesh = torch.from_numpy(case.track.mesh[: len(frames)])
    face = rasterize(mesh, torch.from_numpy(models.face_model.faces).long(), CROP_SIZE, CROP_SIZE).mask[:, None].float()
    height = torch.arange(CROP_SIZE).view(1, 1, -1, 1)
    below = (height > mesh[:, CHIN, 1].view(-1, 1, 1, 1)).float()
    beside = 1 - face
    return {
        "face": face,
        "hair": person * beside * (1 - below),
        "body": person * beside * below,
        "background": (1 - person) * beside,
    }


def figures(case: Case, made: Image, regions: dict[str, Tensor]) -> Float:
    """Return the ``COLUMNS`` of frames that were drawn."""
    real = case.real.frames
    images = [torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1 for frames in (made, real)]
    likeness = ssim(*images).mean(1, keepdim=True)
    edge = (CROP_SIZE - likeness.shape[-1]) // 2
    inner = [F.pad(region, (-edge,) * 4) for region in regions.values()]
    shares = [float((likeness * region).sum() / region.sum()) for region in inner]
    track = case.track.select(slice(len(made)))
    pair = Pair(Recording("drawn", made, track, None), Recording("real", real, track, None))
    return np.array([float(likeness.mean()), *shares, mouth_l1(pair, None).value or np.nan])  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
