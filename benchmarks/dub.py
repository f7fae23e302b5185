"""Measure ``thgen dub``: `python benchmarks/dub.py CLIPS [--most 15] [--sheet sheet.png] [--renderer network]`.

CLIPS is a folder of videos of one person each. The first half of each, at most ``--most`` seconds, is dubbed with the
sound of the second half, whose true lips are known. Beside it stand the filmed first half itself, and the same sound
said by ``thgen generate --motion VIDEO`` from the same first half. All are read at 25 fps, cut to one square around the
head, tracked alike, and compared:

- new: correlation of the mouth's opening with that of the second half, at the best lag within two
  frames of usual footage's;
- old: its correlation with the opening that was filmed in the first half;
- LMD: mean distance of the mouth's landmarks from those of the second half, without the head pose, px at 256²;
- head: mean correlation of the head's three rotations with those of the first half, by eyes and bridge of the nose
  alone, as the line of the jaw moves with the mouth, and smoothed against the tracker's noise;
- outside: mean difference of the picture from the source's, of 255, outside what was drawn (``--report``);
- sharp: variance of the mouth's Laplacian over that of the source;
- warp: temporal warping error (``thcli/evaluation/metrics/warping_error.py``).

``--sheet`` writes the frames whose opening differs most from the true one: source, dubbed, second half.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from talking import best_lag, mouth_distance, opening_fit

from thcli import DubOptions, GenerateOptions, dub, generate
from thcli.clips.audio import read_speech
from thcli.clips.decode import read_clip
from thcli.clips.encode import VideoWriter
from thcli.cropping import crop_frames
from thcli.data.audio_motion import correlation
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.metrics import sharpness, warping_error
from thcli.evaluation.recording import Pair, Recording
from thcli.evaluation.regions import mouth_squares
from thcli.face_model import mouth_opening
from thcli.faces.crop import head_crop
from thcli.faces.pose import fit_rigid, smooth_poses
from thcli.faces.track import track_clip, track_in_crop
from thcli.inspection.contact_sheet import write_sheet
from thcli.pipeline.models import load_models
from thcli.records import FPS, SAMPLE_RATE, Clip, FaceTrack, Float, Image

NAMES = ("new", "old", "LMD", "head", "outside", "sharp", "warp")
UPPER = (27, 28, 29, 30, 36, 39, 42, 45)
"""Landmarks at the bridge of the nose and the corners of the eyes."""
STEADY = 2.0
"""Standard deviation, frames, with which head poses are smoothed."""
WORST = 4
"""Frames of each clip on a sheet."""


@dataclass(frozen=True)
class Seen:
    """A video at 25 fps in a square around the head: its frames at 256², and its track in px of them."""

    frames: Image
    track: FaceTrack


def main() -> None:
    """Measure the clips of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--most", type=float, default=15.0, help="most seconds of a half")
    parser.add_argument("--only", nargs="*", default=[], help="names of the clips, all by default")
    parser.add_argument("--renderer", default="network")
    parser.add_argument("--without-generate", action="store_true")
    parser.add_argument("--sheet", type=Path)
    given = parser.parse_args()
    clips = [path for path in sorted(given.clips.glob("*.mp4")) if not given.only or path.stem in given.only]
    rows: dict[str, list[list[float]]] = {}
    images: list[tuple[str, Image]] = []
    print(f"{'clip':10} {'':9} " + " ".join(f"{name:>8}" for name in NAMES))
    for clip in clips:
        for name, row in measure(clip, given, images).items():
            rows.setdefault(name, []).append(row)
            show(clip.stem, name, row)
    for name, values in rows.items():
        show("mean", name, np.nanmean(np.array(values), axis=0).tolist())
    if given.sheet is not None:
        write_sheet(given.sheet, images, [], ["worst frames: source, dubbed, true lips of the new sound"])


def show(clip: str, name: str, row: list[float]) -> None:
    """Print a row."""
    print(f"{clip:10} {name:9} " + " ".join(f"{value:8.3f}" for value in row), flush=True)


def measure(clip: Path, given: argparse.Namespace, images: list[tuple[str, Image]]) -> dict[str, list[float]]:
    """Return the figures of one clip by what was measured."""
    frames = read_clip(clip, seconds=2 * given.most).frames
    half = len(frames) // 2
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source, speech = folder / "first.mp4", folder / "second.wav"
        part(source, clip, frames[:half])
        soundfile.write(speech, read_speech(clip, half / FPS, half / FPS).samples, SAMPLE_RATE)
        options = DubOptions(length="video", renderer=given.renderer, report=folder / "report.json")
        dub(source, speech, folder / "dubbed.mp4", options)
        record = json.loads((folder / "dubbed.mp4.json").read_text())
        made = {"source": source, "dub": folder / "dubbed.mp4"}
        if not given.without_generate:
            made["generate"] = folder / "generated.mp4"
            generate(source, speech, made["generate"], GenerateOptions(motion=str(source), renderer=given.renderer))
        seen = {name: look(path) for name, path in made.items()}
    true = look_at(frames[half:], clip)
    if given.sheet is not None:
        images += worst(clip.stem, seen["source"], seen["dub"], true)
    rows = {name: figures(one, seen["source"], true) for name, one in seen.items()}
    rows["dub"][NAMES.index("outside")] = record["change_outside"]
    return rows


def part(target: Path, clip: Path, frames: Image) -> None:
    """Write the first frames of a clip with their own sound."""
    with VideoWriter(target, (frames.shape[2], frames.shape[1]), clip, len(frames)) as writer:
        for frame in frames:
            writer.write(frame)


def look(path: Path) -> Seen:
    """Read a video and track its face."""
    return look_at(read_clip(path).frames, path)


def look_at(frames: Image, path: Path) -> Seen:
    """Track the face in frames, and cut them to a square around the head."""
    models = load_models()
    track = track_clip(Clip(frames, path), models.tracker, models.face_model)
    box = head_crop(track.box, track.size)
    return Seen(crop_frames(frames, box), track_in_crop(track, box, models.face_model))


def figures(one: Seen, source: Seen, true: Seen) -> list[float]:
    """Return the figures of a video, in the order of ``NAMES``."""
    count = min(len(one.track), len(source.track), len(true.track))
    made, filmed, wanted = (x.track.select(slice(0, count)) for x in (one, source, true))
    lag = best_lag(made, wanted)
    old = correlation(mouth_opening(made.mesh), mouth_opening(filmed.mesh))
    turns = [smooth_poses(head_pose(x), STEADY)[:, :3] for x in (made, filmed)]
    head = np.mean([correlation(turns[0][:, i], turns[1][:, i]) for i in range(3)])
    pair = Pair(
        Recording("made", one.frames[:count], made, None), Recording("source", source.frames[:count], filmed, None)
    )
    sharp, warp = (metric.measure(pair, MetricModels()).value for metric in (sharpness.MOUTH, warping_error))
    nothing = float("nan")
    fit, distance = opening_fit(made, wanted, lag), mouth_distance(made, wanted, lag)
    known = [nothing if value is None else value for value in (sharp, warp)]
    return [fit, old, distance, float(head), nothing, *known]


def head_pose(track: FaceTrack) -> Float:
    """Return poses [T, 6] fitted to the corners of the eyes and the bridge of the nose."""
    points = track.landmarks[:, list(UPPER)].astype(np.float64)
    mean = points.mean(axis=0)
    pose, _ = fit_rigid(points, track.size, (mean - mean.mean(axis=0)) * track.scale, np.ones(len(UPPER)))
    return pose.astype(np.float32)


def worst(name: str, source: Seen, made: Seen, true: Seen) -> list[tuple[str, Image]]:
    """Return the frames whose opening is furthest from the true one, at some distance from each other, with mouths."""
    count = min(len(source.track), len(made.track), len(true.track))
    error = np.abs(mouth_opening(made.track.mesh)[:count] - mouth_opening(true.track.mesh)[:count])
    images: list[tuple[str, Image]] = []
    for _ in range(WORST):
        t = int(error.argmax())
        error[max(t - FPS // 2, 0) : t + FPS // 2] = -1
        for label, one in (("source", source), ("dubbed", made), ("true", true)):
            images.append((f"{name} {t}: {label}", one.frames[t]))
        images.append(("mouth, dubbed", made.frames[t][mouth_squares(made.track)[t]]))
    return images


if __name__ == "__main__":
    main()
