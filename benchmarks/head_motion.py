"""Measure predicted head motion of unseen people: `python benchmarks/head_motion.py STORE [--plot FILE.png]`.

The first three seconds of every ``val`` clip are the reference; the rest is the future, of which the audio is known.
The rows are the real future, Φ, the last pose held, the reference forwards and backwards, and another subject's real
future. The columns are:

    spread     standard deviation of nod, turn and tilt in windows of three seconds over the real future's (mean ratio)
    whole      the same over the whole future at once
    jitter     mean absolute third difference of the rotation over that of the real future, and over that of the real
               future without the tracker's noise, which Φ does not predict
    beat       beat alignment less its chance level (``thcli.evaluation.metrics.beat_alignment``), and the same with the
               audio of another time
    beyond     share of frames turned beyond what the reference supports
    rank       nearest-reference test: the distribution of the motion is compared (energy distance) with the real
               futures of all subjects; rank of the subject's own, 1 is nearest, chance is (subjects + 1) / 2.
               ``style``: how far and how fast each axis moves in a second; ``centred``: where the head is, and how it
               moves, about its mean; ``pose``: the same with the mean
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.distance import cdist

from thcli.clips.audio import read_speech
from thcli.clips.features import log_mel
from thcli.data.store import Store
from thcli.evaluation.metrics.beat_alignment import alignment, speech_onsets
from thcli.evaluation.report.quality import outside_range
from thcli.motion.head import TRACKER_NOISE, WINDOW, predict_head_motion, windowed_deviation
from thcli.pipeline.models import load_models
from thcli.records import FPS, SAMPLES_PER_FRAME, Float, Speech
from thcli.rotations import placement

SEEDS = (0, 1, 2)
SHORTEST = 3 * FPS
"""Frames of future below which a clip says nothing of a style of moving."""
VIEWS = ("style", "centred", "pose")
Array = np.ndarray


@dataclass(frozen=True)
class Person:
    """A clip cut in two.

    past, future: [T, 6] float32, poses of the reference and of what follows
    past_features: [T, 4, 80] float32, log-mel of the reference
    speech: audio of the future
    """

    clip: str
    past: Float
    future: Float
    past_features: Float
    speech: Speech


def main() -> None:
    """Measure every way to move the heads of the split's people."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--weights", type=Path, help="folder to look in for the network first")
    parser.add_argument("--split", default="val")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = load_models(options.weights, "cpu").head_motion_learner
    store = Store(options.store)
    people = [person for meta in store.select(options.split) if (person := load(store, meta.clip))]

    def predicted(person: Person, seed: int) -> Float:
        past = placement(person.past.astype(np.float64))
        moved = predict_head_motion(network, past, person.past_features, log_mel(person.speech), seed)
        return placement(moved).astype(np.float32)

    ways: dict[str, list[Float]] = {
        "real": [person.future for person in people],
        **{f"Φ, seed {seed}": [predicted(person, seed) for person in people] for seed in SEEDS},
        "held": [np.repeat(person.past[-1:], len(person.future), axis=0) for person in people],
        "replayed": [replayed(person) for person in people],
        "another's": [
            np.resize(other.future, person.future.shape)
            for person, other in zip(people, people[1:] + people[:1], strict=True)
        ],
    }
    print(f"{len(people)} people of split {options.split}: {', '.join(person.clip for person in people)}")
    print(f"{'':13} spread (nod turn tilt)   whole (nod turn tilt)   jitter, clean     beat, other   beyond", end="")
    print(f"          rank: {'  '.join(VIEWS)}")
    for name, motions in ways.items():
        report(name, people, motions)
    if options.plot:
        plot(people, ways["Φ, seed 0"], options.plot)


def load(store: Store, clip: str) -> Person | None:
    """Read a clip of a store; None where it is too short."""
    pose, speech = store.track(clip).pose, read_speech(store.speech(clip))
    length = min(len(pose), speech.n_frames)
    if length < WINDOW + SHORTEST:
        return None
    cut = WINDOW * SAMPLES_PER_FRAME
    later = Speech(speech.samples[cut : length * SAMPLES_PER_FRAME], speech.path)
    return Person(clip, pose[:WINDOW], pose[WINDOW:length], log_mel(speech)[:WINDOW], later)


def replayed(person: Person) -> Float:
    """Return the poses of the reference backwards and forwards, again and again."""
    loop = np.concatenate([person.past[-2::-1], person.past[1:]])
    return np.resize(loop, person.future.shape)


def report(name: str, people: list[Person], motions: list[Float]) -> None:
    """Print a row of the table."""
    rows = np.array([measure(person, motion) for person, motion in zip(people, motions, strict=True)])
    mean = rows.mean(axis=0)
    ranks = [np.mean(ranking(people, motions, view)) for view in VIEWS]
    parts = [numbers(mean[:3]), numbers(mean[3:6]), numbers(mean[6:8]), numbers(mean[8:10], "+5.2f")]
    print(f"{name:12}  {'      '.join(parts)}   {mean[10]:5.1%}         {numbers(np.array(ranks))}")


def numbers(values: Array, form: str = "5.2f") -> str:
    """Return values as text."""
    return "  ".join(f"{value:{form}}" for value in values)


def measure(person: Person, motion: Float) -> Array:
    """Return the columns [11] of the table, without the ranks."""
    true, moved = turned(person.future, 0), turned(motion, 0)
    clean, smooth = turned(person.future), turned(motion)
    spread = windowed_deviation(smooth)[:3] / windowed_deviation(clean)[:3]
    jitter = [third_difference(moved) / third_difference(other) for other in (true, clean)]
    onsets = speech_onsets(person.speech)
    chance = alignment(np.arange(1.0, len(motion)), onsets).mean()
    length = len(motion)
    shifted = [(onsets + shift) % length for shift in range(2 * FPS, length - 2 * FPS, FPS)] or [onsets]
    beats = peaks(smooth)
    own = alignment(beats, onsets).mean() - chance if len(beats) else 0.0
    other = np.mean([alignment(beats, moment).mean() for moment in shifted]) - chance if len(beats) else 0.0
    beyond = outside_range(person.past, motion).value or 0.0
    return np.array([*spread, *smooth.std(0) / clean.std(0), *jitter, own, other, beyond])


def turned(pose: Float, smooth: float = TRACKER_NOISE) -> Array:
    """Return the rotation [T, 3] of the head, degrees."""
    turns = np.degrees(placement(pose.astype(np.float64))[:, :3])
    return gaussian_filter1d(turns, smooth, axis=0, mode="nearest") if smooth else turns


def third_difference(turns: Array) -> float:
    """Return the mean absolute third difference of rotations [T, 3]."""
    return float(np.abs(np.diff(turns, n=3, axis=0)).mean())


def peaks(turns: Array) -> Array:
    """Return the moments at which the head turns fastest, as ``beat_alignment.head_beats`` finds them."""
    from scipy.signal import find_peaks

    speed = np.linalg.norm(np.diff(turns, axis=0), axis=1)
    found, _ = find_peaks(speed, prominence=max(0.5 * float(speed.std()), 0.01))
    return np.asarray(found + 1.0)


def ranking(people: list[Person], motions: list[Float], view: str) -> list[int]:
    """Return the rank of each subject's own future among all, by its distance to the motion for that subject."""
    see = VIEW_OF[view]
    futures = [see(person.future) for person in people]
    ranks = []
    for i, motion in enumerate(motions):
        distances = [energy_distance(see(motion), future) for future in futures]
        ranks.append(1 + sum(distance < distances[i] for distance in distances))
    return ranks


def energy_distance(x: Array, y: Array) -> float:
    """Return the energy distance of two samples [N, D] and [M, D]."""
    return float(2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean())


def placed(pose: Float) -> Array:
    """Return placements [T, 6]: degrees, and positions scaled so that 1 is about as visible as a degree."""
    steady = gaussian_filter1d(placement(pose.astype(np.float64)), TRACKER_NOISE, axis=0, mode="nearest")
    return np.concatenate([np.degrees(steady[:, :3]), 30 * steady[:, 3:]], axis=1)


def with_velocity(x: Array) -> Array:
    """Return at most some 300 rows of curves [T, D] with their velocities, [N, 2 D]."""
    step = max(1, len(x) // 300)
    return np.concatenate([x, 5 * np.gradient(x, axis=0)], axis=1)[::step]


def seconds(pose: Float) -> Array:
    """Return the logarithms of spread and speed of each axis in windows of a second, [windows, 12]."""
    x = placed(pose)
    windows = [x[first : first + FPS] for first in range(0, len(x) - FPS + 1, 5)]
    spread = np.array([window.std(0) for window in windows])
    speed = np.array([np.abs(np.diff(window, axis=0)).mean(0) for window in windows])
    return np.concatenate([np.log(spread + 0.05), np.log(speed + 0.01)], axis=1)


VIEW_OF: dict[str, Callable[[Float], Array]] = {
    "style": seconds,
    "centred": lambda pose: with_velocity(placed(pose) - placed(pose).mean(axis=0)),
    "pose": lambda pose: with_velocity(placed(pose)),
}


def plot(people: list[Person], motions: list[Float], path: Path) -> None:
    """Plot reference and future of every subject, the real one on the left and the predicted one on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(people), 2, figsize=(18, 2.2 * len(people)), sharey="row", squeeze=False)
    for row, person, predicted in zip(axes, people, motions, strict=True):
        for axis, motion in zip(row, (person.future, predicted), strict=True):
            whole = turned(np.concatenate([person.past, motion])[:500], 0)
            for values, label in zip(whole.T, ("nod", "turn", "tilt"), strict=True):
                axis.plot(np.arange(len(whole)) / FPS, values, label=label, linewidth=1)
            axis.axvline(WINDOW / FPS, color="black", linewidth=0.5)
        row[0].set_ylabel(f"{person.clip}, degrees")
    axes[0, 0].legend(loc="upper right")
    figure.tight_layout()
    figure.savefig(path, dpi=60)


if __name__ == "__main__":
    main()
