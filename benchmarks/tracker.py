"""Measure the built-in tracker against another's labels on unseen people: `python benchmarks/tracker.py STORE…`.

Each STORE was made by `thgen preprocess all --tracker mediapipe`; its clips of split `val` are tracked anew. Clips of
one frame are photos. All positions are in the image plane. The columns are:

    error      mean distance of the 478 vertices over that of the outer eye corners (33 and 263), in per cent
    lips       of the lips' 40 landmarks over the width of the mouth (61 to 291), in per cent
    missed     frames without a face, in per cent; false: further faces found in the frames that were searched
    jitter     deviation of the second difference of vertices of brow and nose where the head is stillest, after slow
               motion is taken away, over the labels'; in brackets after the smoothing that every track goes through
    ms         of one core, a frame that is followed; and a frame that is searched
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from thcli.checkpoints import DETECTION, UNPROJECTION, find_weights
from thcli.clips.decode import read_clip
from thcli.data.store import ClipMeta, Store
from thcli.face_model import INNER_LIPS, OUTER_EYE_CORNERS, OUTER_LIPS
from thcli.faces.builtin import BuiltinTracker
from thcli.faces.track import MIN_CONFIDENCE, face_boxes, smooth_meshes
from thcli.records import FPS, Float, Image

MOUTH_CORNERS = (61, 291)
RIGID = (6, 168, 197, 195, 5, 4, 9, 8, 151)
"""Vertices of the bridge and the back of the nose, and of the middle of the brow."""


@dataclass(frozen=True)
class Figures:
    """Figures of one clip: shares, not per cent; seconds of one core; NaN where a photo has none."""

    error: float
    lips: float
    missed: float
    false: float
    jitter: float
    smoothed_jitter: float
    follow: float
    search: float


def main() -> None:
    """Measure the clips of all stores and print a table for each store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--weights", type=Path, help="folder in which to look for the networks first")
    parser.add_argument("--seconds", type=float, default=8.0, help="most seconds of each clip")
    parser.add_argument("--groups", type=Path, help="JSON of names of groups with lists of clips, measured apart")
    options = parser.parse_args()
    groups = json.loads(options.groups.read_text()) if options.groups else {}
    detector, mesh = (find_weights(name, options.weights) for name in (DETECTION, UNPROJECTION))
    tracker = BuiltinTracker(detector, mesh, threads=1)
    tracker.detect(np.full((256, 256, 3), 127, np.uint8))  # The first call loads libraries.
    print(f"{'clip':18} {'error':>6} {'lips':>6} {'missed':>7} {'false':>6} {'jitter':>12} {'ms':>11}")
    for path in options.stores:
        store = Store(path)
        clips = store.select("val")
        figures = [measure(store, meta, tracker, options.seconds) for meta in clips]
        for meta, row in zip(clips, figures, strict=True):
            if meta.frames > 1:
                print(shown(meta.clip, row))
        print(shown(f"{len(clips)} clips", mean(figures)))
        for group, members in groups.items():
            some = [row for meta, row in zip(clips, figures, strict=True) if meta.clip in members]
            if some:
                print(shown(f"{len(some)} {group}", mean(some)))


def measure(store: Store, meta: ClipMeta, tracker: BuiltinTracker, seconds: float) -> Figures:
    """Track one clip anew; its labels say only which of several faces is meant."""
    frames = read_clip(store.crop(meta.clip), seconds=seconds).frames
    labels = store.track(meta.clip)
    truth, known = labels.mesh[: len(frames)], labels.confidence[: len(frames)] > 0
    searched = frames[:: 2 * FPS]
    start = time.process_time()
    found = [tracker.detect(frame) for frame in searched]
    search = (time.process_time() - start) / len(searched)
    start = time.process_time()
    mesh, confidence = follow(frames, tracker, truth)
    follow_time = (time.process_time() - start) / len(frames)
    seen = (confidence >= MIN_CONFIDENCE) & known
    distance = np.linalg.norm((mesh - truth)[..., :2], axis=-1)[seen]
    lips = distance[:, list(OUTER_LIPS + INNER_LIPS)].mean(1) / apart(truth[seen], MOUTH_CORNERS)
    return Figures(
        error=float((distance.mean(1) / apart(truth[seen], OUTER_EYE_CORNERS)).mean()) if seen.any() else np.nan,
        lips=float(lips.mean()) if seen.any() else np.nan,
        missed=float((known & ~seen).sum() / known.sum()),
        false=float(np.mean([max(len(faces) - 1, 0) for faces in found])),
        jitter=noise(mesh, truth) / noise(truth, truth) if len(frames) > FPS else np.nan,
        smoothed_jitter=noise(smooth_meshes(mesh, confidence), truth) / noise(truth, truth)
        if len(frames) > FPS
        else np.nan,
        follow=follow_time if len(frames) > FPS else np.nan,
        search=search,
    )


def follow(frames: Image, tracker: BuiltinTracker, truth: Float) -> tuple[Float, Float]:
    """Return meshes [T, 478, 3], zeros where no face was detected, and confidence [T], without any smoothing."""
    meshes, confidence = np.zeros((len(frames), 478, 3), np.float32), np.zeros(len(frames), np.float32)
    prior: Float | None = None
    for t, frame in enumerate(frames):
        if prior is None:
            faces = tracker.detect(frame)
            if faces:
                meant = min(faces, key=lambda face: float(np.abs(face.box - face_boxes(truth[t])).sum()))
                prior = tracker.mesh(frame, meant.box)[0]
        if prior is not None:
            meshes[t], confidence[t] = tracker.mesh(frame, prior)
            prior = meshes[t] if confidence[t] >= MIN_CONFIDENCE else None
    return meshes, confidence


def noise(mesh: Float, truth: Float) -> float:
    """Return the deviation of second differences over the eyes' distance, in the clip's stillest fifth by the truth."""
    unit = float(np.median(apart(truth, OUTER_EYE_CORNERS)))
    slow = gaussian_filter1d(truth[:, RIGID, :2].mean(1), FPS / 5, axis=0)
    speed = np.linalg.norm(np.diff(slow, axis=0), axis=-1)[1:]
    still = speed <= np.quantile(speed, 0.2)
    quick = mesh[:, RIGID, :2] - gaussian_filter1d(mesh[:, RIGID, :2], FPS / 5, axis=0)
    return float(np.diff(quick, n=2, axis=0)[still].std() / unit)


def apart(mesh: Float, pair: tuple[int, int]) -> Float:
    """Return the distance [T] of two vertices, px."""
    return np.linalg.norm(mesh[:, pair[0], :2] - mesh[:, pair[1], :2], axis=-1).clip(1e-3)


def mean(figures: Sequence[Figures]) -> Figures:
    """Return the means of the figures that are not NaN."""
    names = Figures.__dataclass_fields__
    columns = {name: np.array([getattr(row, name) for row in figures]) for name in names}
    return Figures(**{name: float(np.nanmean(v)) if np.isfinite(v).any() else np.nan for name, v in columns.items()})


def shown(name: str, row: Figures) -> str:
    """Return a line of the table."""
    jitter = f"{row.jitter:5.2f} ({row.smoothed_jitter:.2f})"
    work = f"{1e3 * row.follow:.1f}, {1e3 * row.search:.0f}"
    return (
        f"{name:18} {100 * row.error:6.2f} {100 * row.lips:6.2f} {100 * row.missed:7.2f} {row.false:6.2f} "
        f"{jitter:>12} {work:>11}"
    )


if __name__ == "__main__":
    main()
