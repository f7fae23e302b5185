"""Write a contact sheet: `python benchmarks/sheet.py STORE sheet.png [--drive landmarks] [--references 8]`.

For each subject of a store's split, rendered as in the suite, it shows the reference that matches best, the real frame,
the geometric image and thgen's (that of Θ, unless `--renderer warp`), and below them their mouths, enlarged. The frame
is the one whose mouth thgen rendered worst (`--frame worst`), or one of a number. The drive is the clip's own landmarks
or sound; `--references 1 --drive audio` is a photo that speaks. Below each image stands its mean difference from the
real frame, of 255, for the whole image and around the mouth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from thcli.data.store import Store
from thcli.device import resolve_device
from thcli.evaluation.baselines import PAST
from thcli.evaluation.regions import Square, mouth_squares
from thcli.evaluation.suite.case import Case, load_case
from thcli.evaluation.suite.clips import choose_clips
from thcli.evaluation.suite.methods import THGEN, Method, choose_methods
from thcli.evaluation.suite.options import SuiteOptions
from thcli.inspection.contact_sheet import write_sheet
from thcli.records import Image
from thcli.render.matcher import costs

Captioned = tuple[str, Image]


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--drive", default="landmarks")
    parser.add_argument("--references", type=int, default=8)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--renderer", default="network")
    parser.add_argument("--split", default="val")
    parser.add_argument("--clips", nargs="*", default=[])
    parser.add_argument("--subjects", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--frame", default="worst", help="worst, or a number counted from the first rendered frame")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    options = SuiteOptions(
        given.drive,
        references=(given.references,),
        renderer=given.renderer,
        split=given.split,
        clips=tuple(given.clips),
        seconds=given.seconds,
        device=resolve_device(given.device),
        weights=given.weights,
    )
    store, methods = Store(given.store), {method.name: method for method in choose_methods(options)}
    images: list[Captioned] = []
    for meta, other in choose_clips(store, options).clips[: given.subjects]:
        case = load_case(store, meta, other, options)
        images += images_of(case, methods["geometric"], methods[THGEN], given.references, given.frame)
        print(meta.clip, images[-5][0], flush=True)
    thgen = methods[THGEN]
    title = [
        f"{given.store.name}, split {given.split}; driven by {given.drive}; K = {given.references}",
        "; ".join([f"thgen: {thgen.meaning}", *(f"{name} {sha[:12]}" for name, sha in thgen.weights.items())]),
        "mean difference from the real frame, of 255, whole and around the mouth",
    ]
    write_sheet(given.out, images, [], title)


def images_of(case: Case, geometric: Method, thgen: Method, references: int, frame: str) -> list[Captioned]:
    """Return two rows of a sheet: reference, real frame, geometric image, thgen's image, and their mouths."""
    warped, made = (method.render(case, references) for method in (geometric, thgen))
    real, squares = case.real.frames, mouth_squares(case.track)
    errors = [mouth_error(made[t], real[t], squares[t]) for t in range(len(case))]
    t = int(np.argmax(errors)) if frame == "worst" else int(frame)
    person = case.person(references)
    matched = int(costs(person, case.target(person)).match().base[t].argmax())
    row = [("real frame", real[t]), ("geometric", warped[t]), (THGEN, made[t])]
    images = [(f"{case.clip}, frame {PAST + t}: reference", person.reference_images[matched])]
    images += [(f"{name}: {error(one, real[t]):.1f}", one) for name, one in row]
    own = mouth_squares(person.track.select(person.reference_indices))[matched]
    images.append(("mouth", person.reference_images[matched][own]))
    images += [(f"{name}: {mouth_error(one, real[t], squares[t]):.1f}", one[squares[t]]) for name, one in row]
    return images


def error(made: Image, real: Image) -> float:
    """Return the mean absolute difference, of 255."""
    return float(np.abs(made.astype(np.int16) - real).mean())


def mouth_error(made: Image, real: Image, square: Square) -> float:
    """Return the difference around the mouth, 0 where the mouth lies outside the image."""
    return error(made[square], real[square]) if real[square].size else 0.0


if __name__ == "__main__":
    main()
