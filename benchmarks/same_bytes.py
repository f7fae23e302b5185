"""SHA-256 of everything that a build makes from one clip, one photo and one recording, to hold against another build's.

    python benchmarks/same_bytes.py --clip CLIP --photo PHOTO --audio SPEECH --clips FOLDER --work DIR

A change that only moves or renames code must leave every line as it was: eight videos (two renderers, two framings, a
clip and a photo) with their curves, the preprocessed clips of a folder, and one step of each trainer at tiny size. Run
it with the Python of each build on one machine. Figures differ between machines, because networks round differently.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

RENDERERS, FRAMES = ("network", "warp"), ("crop", "full")
SEED = "3"
STEPPED = ("expression", "motion", "detection", "unprojection")
FITTED = ("face-model", "mouth-interior")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, text in (
        ("clip", "video of a person"),
        ("photo", "photo of a person"),
        ("audio", "about three seconds of speech"),
        ("clips", "folder of clips in train/, of five or more subjects, with an index.jsonl that gives av_lag"),
        ("work", "folder to write to, emptied first"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)
    given = parser.parse_args()
    shutil.rmtree(given.work, ignore_errors=True)
    given.work.mkdir(parents=True)
    hash_videos(given.clip, given.photo, given.audio, given.work)
    hash_training(given.clips, given.work)


def hash_videos(clip: Path, photo: Path, audio: Path, work: Path) -> None:
    """Print the sums of the eight videos and of their curves."""
    for reference, renderer, frame in product((clip, photo), RENDERERS, FRAMES):
        kind = "photo" if reference == photo else "clip"
        video = work / f"{kind}-{renderer}-{frame}.mp4"
        curves = video.with_suffix(".csv")
        thgen(
            "generate", "--ref", reference, "--audio", audio, "-o", video, "--save-curves", curves,
            "--renderer", renderer, "--frame", frame, "--seed", SEED,
        )  # fmt: skip
        show(video, work)
        show(curves, work)


def hash_training(clips: Path, work: Path) -> None:
    """Print the sums of a preprocessed folder and of what each trainer makes of it in one step."""
    store, episodes = work / "store", work / "episodes"
    thgen("preprocess", "all", clips, "--out", store)
    thgen("preprocess", "takes", store, "--out", episodes, "--takes", "1", "--windows", "4", "--seed", SEED)
    for path in sorted(p for p in (*store.rglob("*"), *episodes.rglob("*")) if p.is_file()):
        show(path, work)
    for stage in FITTED:
        fitted = work / f"{stage}.safetensors"
        thgen("train", stage, "--data", store, "--out", fitted)
        show(fitted, work)
    for stage in (*STEPPED, "generator"):
        run = work / stage
        settings = [f"{stage}.train.steps=1", f"{stage}.train.warmup=0", f"{stage}.train.val_every=1"]
        thgen(
            "train", stage, "--data", episodes if stage == "generator" else store, "--out", run, "--config", "tiny",
            *(part for setting in settings for part in ("--set", setting)),
        )  # fmt: skip
        for path in sorted(run.glob("*.safetensors")):
            print(f"{tensors(path)}  {path.relative_to(work)} (tensors)", flush=True)


def thgen(*arguments: str | Path) -> None:
    """Run the command of this Python's environment; its own words are shown where it fails."""
    command = [str(Path(sys.executable).with_name("thgen")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def show(path: Path, work: Path) -> None:
    print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(work)}", flush=True)


def tensors(path: Path) -> str:
    """SHA-256 of a checkpoint's tensors with their names, types and shapes; its header may word things differently."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode() + content[8 + size :]).hexdigest()


if __name__ == "__main__":
    main()
