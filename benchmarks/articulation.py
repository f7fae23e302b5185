"""What a reference clip's own sound teaches about the lips: `python benchmarks/articulation.py STORE [--split val]`.

On the unseen speakers of a store, sound and mouth in step: the first 100 frames of a clip teach
(``thcli.motion.articulation``), the frames that follow are measured, with and without it. Columns: correlation of the
mouth's opening with the tracked one, its deviation over the tracked one's, and the moments in which the lips meet
(opening below 0.02 of the distance of the outer eye corners): share of the real ones that are met within a frame,
share of the made ones that are real within a frame, share of all frames, made and real.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d

from thcli.checkpoints import find_weights
from thcli.data.audio_motion import STEPS, AudioMotion, correlation, shifted
from thcli.data.store import Store
from thcli.face_model import FaceModel
from thcli.motion.articulation import learn_articulation
from thcli.motion.expression import load_expression_learner, predict
from thcli.records import Float
from thcli.training.alignment import best_offset
from thcli.training.expression import load_clips

PAST, FRAMES = 100, 1500
MEETING = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = FaceModel.load(find_weights("face_model.safetensors", arguments.weights))
    network = load_expression_learner(arguments.weights)
    clips = load_clips(Store(arguments.store), arguments.split, model, network.dims.front_end == "raw")
    rows = {"as heard": [], "as the person": []}
    print(f"{'clip':10} {'':14} correlation  deviation  lips met  rightly  made  real")
    for clip in clips:
        heard = predict(network, clip.features, np.zeros(20, np.float32))
        clip = shifted(clip, round(STEPS * best_offset((heard @ model.lip_gap)[:FRAMES], clip.opening[:FRAMES])))
        if len(clip) < 2 * PAST:
            continue
        heard = predict(network, clip.features, np.zeros(20, np.float32))
        for name, moved in (("as heard", heard), ("as the person", as_the_person(heard, clip, model))):
            rows[name].append(measure(moved @ model.lip_gap, clip))
            print(f"{clip.clip:10} {name:14} {line(rows[name][-1])}")
    for name, figures in rows.items():
        print(f"{'mean':10} {name:14} {line(np.nanmean(figures, axis=0))}")
        print(f"{'lowest':10} {name:14} {line(np.nanmin(figures, axis=0))}")


def as_the_person(heard: Float, clip: AudioMotion, model: FaceModel) -> Float:
    shown = clip.expression[:PAST] - np.median(clip.expression[:PAST], axis=0)
    own = learn_articulation(heard[:PAST], shown, model.lip_gap)
    return heard if own is None else own.apply(heard)


def measure(change: Float, clip: AudioMotion) -> np.ndarray:
    """[6]: the columns, for the change [T] of the gap about the usual opening of the first frames."""
    made = np.maximum(np.median(clip.opening[:PAST]) + change, 0)[PAST:FRAMES]
    true = clip.opening[PAST:FRAMES]
    closed, real = made < MEETING, true < MEETING
    met = maximum_filter1d(closed.astype(np.uint8), 3)[real].mean() if real.any() else np.nan
    rightly = maximum_filter1d(real.astype(np.uint8), 3)[closed].mean() if closed.any() else np.nan
    return np.array([correlation(made, true), made.std() / true.std(), met, rightly, closed.mean(), real.mean()])


def line(figures: np.ndarray) -> str:
    fit, deviation, met, rightly, made, real = figures
    return f"{fit:11.3f} {deviation:10.2f} {met:9.2f} {rightly:8.2f} {made:5.2f} {real:5.2f}"


if __name__ == "__main__":
    main()
