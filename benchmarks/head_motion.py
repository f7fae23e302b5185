"""Made head motion beside the real one on unseen people: ``python benchmarks/head_motion.py STORE [--plot FILE.png]``.

The first three seconds of every ``val`` clip are the reference, the rest is the future, of which the audio is known.
Beside Φ stand two baselines: the last pose held, and the reference played forwards and backwards. Columns:

    range/ref    deviation per axis (pitch, yaw, roll) in 3 s windows over the reference's; 1 is the person's own
    full/ref     the same over the whole future at once
    worst        the largest factor between any rotation axis' 3 s deviation and the reference's
    speed, jitter  mean absolute first and third difference of the rotations over the real future's; in brackets
                 over the real future's without the tracker's noise
    beat         correlation of turning speed with speech onsets; in brackets to the sound of another time
    drift        distance of the last fifth's mean from the person's mean, in their ranges
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from thcli.clips.audio import read_speech
from thcli.clips.features import log_mel
from thcli.data.store import Store
from thcli.motion.head import (
    TRACKER_NOISE,
    WINDOW,
    load_head_motion_learner,
    manner,
    predict_head_motion,
    windowed_deviation,
)
from thcli.records import Float
from thcli.rotations import placement
from thcli.training.head_motion import rhythm


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--weights", type=Path, help="folder to look in for the network first")
    parser.add_argument("--split", default="val")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = load_head_motion_learner(options.weights)
    store = Store(options.store)
    figures: dict[str, list[np.ndarray]] = {name: [] for name in ("real", "made", "still", "replay")}
    curves = []
    for meta in store.select(options.split):
        pose, features = store.track(meta.clip).pose, log_mel(read_speech(store.speech(meta.clip)))
        length = min(len(pose), len(features))
        past, future, heard = pose[:WINDOW], pose[WINDOW:length], features[WINDOW:length]
        made = predict_head_motion(network, past, features[:WINDOW], heard, seed=0)
        ways = {"real": future, "made": made, "still": held(past, len(future)), "replay": replayed(past, len(future))}
        for name, motion in ways.items():
            figures[name].append(measure(past, future, motion, heard))
        curves.append((meta.clip, past, future, made))
        print(f"{meta.clip}  range/ref {figures['made'][-1][:3].round(2)}  real {figures['real'][-1][:3].round(2)}")
    report(figures)
    if options.plot:
        plot(curves, options.plot)


def held(past: Float, frames: int) -> Float:
    """The last pose."""
    return np.repeat(past[-1:], frames, axis=0)


def replayed(past: Float, frames: int) -> Float:
    """The reference backwards, forwards, backwards …"""
    loop = np.concatenate([past[-2::-1], past[1:]])
    return np.resize(loop, (frames, 6))


def measure(past: Float, future: Float, motion: Float, features: Float) -> np.ndarray:
    """[14]: range and full range per axis, worst factor, speed and jitter (2 each), beat and to other sound, drift."""
    reference, true, moved = (placement(x.astype(np.float64)) for x in (past, future, motion))
    smooth = gaussian_filter1d(moved, TRACKER_NOISE, axis=0, mode="nearest")
    person = manner(reference)
    own = gaussian_filter1d(reference, TRACKER_NOISE, axis=0, mode="nearest").std(0)[:3]
    spread = windowed_deviation(smooth)[:3] / own
    worst = np.exp(np.abs(np.log(np.maximum(spread, 1e-9))).max())

    def difference(x: np.ndarray, order: int) -> float:
        return float(np.abs(np.diff(x[:, :3], n=order, axis=0)).mean())

    turns = torch.from_numpy(smooth)[None]
    beats = [
        float(rhythm(turns, torch.from_numpy(np.roll(features, shift, axis=0).astype(np.float64))[None]))
        for shift in (0, *range(25, len(features) - 25, 25))
    ]
    drift = np.abs(smooth[-max(len(smooth) // 5, 1) :].mean(0) - person.mean)[:3] / person.range[:3]
    clean = gaussian_filter1d(true, TRACKER_NOISE, axis=0, mode="nearest")
    ratios = [difference(moved, order) / difference(other, order) for order in (1, 3) for other in (true, clean)]
    full = smooth.std(0)[:3] / own
    return np.array([*spread, *full, worst, *ratios, beats[0], np.mean(beats[1:] or [0]), drift.mean()])


def report(figures: dict[str, list[np.ndarray]]) -> None:
    """One line a way of moving: means over the subjects, of ratios the geometric ones."""
    heads = (("", 8), ("range/ref", 20), ("full/ref", 20), ("|log|", 7), ("worst", 7), ("speed", 14), ("jitter", 14))
    print("\n" + "".join(f"{text:>{width}}" for text, width in (*heads, ("beat", 16), ("drift", 7))))
    for name, rows in figures.items():
        table = np.array(rows)
        ratio = np.exp(np.log(np.maximum(table[:, :11], 1e-9)).mean(0))
        off = np.exp(np.abs(np.log(np.maximum(table[:, :3], 1e-9))).mean())
        beat, strange, drift = table[:, 11:].mean(0)
        cells = ["/".join(f"{value:.2f}" for value in ratio[part]) for part in (slice(0, 3), slice(3, 6))]
        print(
            f"{name:8}{cells[0]:>20}{cells[1]:>20}{min(off, 99):7.2f}{min(table[:, 6].max(), 99):7.2f}"
            f"{ratio[7]:7.2f} ({ratio[8]:.2f}){ratio[9]:7.2f} ({ratio[10]:.2f}){beat:8.3f} ({strange:.3f}){drift:7.2f}"
        )


def plot(curves: list[tuple[str, Float, Float, Float]], path: Path) -> None:
    """Reference and future, real on the left and made on the right, of every subject."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(curves), 2, figsize=(18, 2.2 * len(curves)), sharey="row", squeeze=False)
    for row, (name, past, future, made) in zip(axes, curves, strict=True):
        for axis, motion in zip(row, (future, made), strict=True):
            whole = np.degrees(placement(np.concatenate([past, motion])[:500])[:, :3])
            for values, label in zip(whole.T, ("pitch", "yaw", "roll"), strict=True):
                axis.plot(np.arange(len(whole)) / 25, values, label=label, linewidth=1)
            axis.axvline(WINDOW / 25, color="black", linewidth=0.5)
        row[0].set_ylabel(f"{name}, degrees")
    axes[0, 0].legend(loc="upper right")
    figure.tight_layout()
    figure.savefig(path, dpi=60)


if __name__ == "__main__":
    main()
