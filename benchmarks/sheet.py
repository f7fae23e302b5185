"""A contact sheet: `python benchmarks/sheet.py STORE sheet.png [--drive landmarks] [--references 8] [--weights DIR]`.

For each subject of a store's split, as the suite draws it: the reference that matches best, the real frame, the
geometric picture and thgen's (Θ's, unless `--renderer warp`), and below them their mouths, enlarged. The frame is the
one whose mouth thgen drew worst (`--frame worst`), or one of a number. What drives is the clip's own landmarks or
sound; `--references 1 --drive audio` is a photo that speaks. Below each picture stands how far it is from the real
one, whole and around the mouth, of 255.
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
from thcli.render.matching import costs

Picture = tuple[str, Image]


def main() -> None:
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
    parser.add_argument("--frame", default="worst", help="worst, or a number counted from the first that is drawn")
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
    pictures: list[Picture] = []
    for meta, other in choose_clips(store, options).clips[: given.subjects]:
        case = load_case(store, meta, other, options)
        pictures += pictures_of(case, methods["geometric"], methods[THGEN], given.references, given.frame)
        print(meta.clip, pictures[-5][0], flush=True)
    thgen = methods[THGEN]
    title = [
        f"{given.store.name}, split {given.split}; driven by {given.drive}; K = {given.references}",
        "; ".join([f"thgen: {thgen.meaning}", *(f"{name} {sha[:12]}" for name, sha in thgen.weights.items())]),
        "mean difference from the real frame, of 255, whole and around the mouth",
    ]
    write_sheet(given.out, pictures, [], title)


def pictures_of(case: Case, geometric: Method, thgen: Method, references: int, frame: str) -> list[Picture]:
    """Two rows of a sheet: reference, real, geometric, thgen, and their mouths."""
    warped, made = (method.draw(case, references) for method in (geometric, thgen))
    real, squares = case.real.frames, mouth_squares(case.track)
    errors = [mouth_error(made[t], real[t], squares[t]) for t in range(len(case))]
    t = int(np.argmax(errors)) if frame == "worst" else int(frame)
    person = case.person(references)
    matched = int(costs(person, case.target(person)).match().base[t].argmax())
    row = [("real frame", real[t]), ("geometric", warped[t]), (THGEN, made[t])]
    pictures = [(f"{case.clip}, frame {PAST + t}: reference", person.crops[matched])]
    pictures += [(f"{name}: {error(one, real[t]):.1f}", one) for name, one in row]
    own = mouth_squares(person.track.select(person.chosen))[matched]
    pictures.append(("mouth", person.crops[matched][own]))
    pictures += [(f"{name}: {mouth_error(one, real[t], squares[t]):.1f}", one[squares[t]]) for name, one in row]
    return pictures


def error(made: Image, real: Image) -> float:
    return float(np.abs(made.astype(np.int16) - real).mean())


def mouth_error(made: Image, real: Image, square: Square) -> float:
    """0 where the mouth lies beyond the picture."""
    return error(made[square], real[square]) if real[square].size else 0.0


if __name__ == "__main__":
    main()
