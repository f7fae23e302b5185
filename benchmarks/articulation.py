"""Measure what a clip's own audio teaches about the lips: `python benchmarks/articulation.py STORE [--split val]`.

On the unseen speakers of a store, with audio and mouth in step, the articulation (``thcli.motion.articulation``) is
fitted to the first 100 frames of a clip, and the frames that follow are measured with and without it. The columns are
the correlation of the predicted mouth opening with the tracked one, the ratio of their standard deviations, and figures
on the moments in which the lips meet (opening below 0.02 of the distance of the outer eye corners): the share of the
real moments that are predicted within a frame, the share of the predicted ones that are real within a frame, and the
shares of all frames, predicted and real.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d

from thcli.clips.features import STEPS_PER_FRAME
from thcli.data.audio_motion import AudioMotion, correlation, shifted
from thcli.data.store import Store
from thcli.face_model import FaceModel
from thcli.motion.articulation import fit_articulation
from thcli.motion.expression import predict
from thcli.pipeline.models import load_models
from thcli.records import Float
from thcli.training.alignment import best_offset
from thcli.training.expression_clips import load_clips

PAST, FRAMES = 100, 1500
"""Frames to which the articulation is fitted, and most frames of a clip in all."""
MEETING = 0.02
"""Opening, in distances of the outer eye corners, below which the lips meet."""


def main() -> None:
    """Measure every clip of the split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = load_models(arguments.weights, "cpu")
    model, network = models.face_model, models.expression_learner
    clips = load_clips(Store(arguments.store), arguments.split, model, network.dims.front_end, models.speech_encoder)
    rows = {"predicted": [], "as the person": []}
    print(f"{'clip':10} {'':14} correlation  deviation  lips met  rightly  made  real")
    for clip in clips:
        predicted = predict(network, clip.features, np.zeros(20, np.float32))
        offset = best_offset((predicted @ model.lip_gap)[:FRAMES], clip.opening[:FRAMES])
        clip = shifted(clip, round(STEPS_PER_FRAME * offset))
        if len(clip) < 2 * PAST:
            continue
        predicted = predict(network, clip.features, np.zeros(20, np.float32))
        for name, moved in (("predicted", predicted), ("as the person", as_the_person(predicted, clip, model))):
            rows[name].append(measure(moved @ model.lip_gap, clip))
            print(f"{clip.clip:10} {name:14} {line(rows[name][-1])}")
    for name, figures in rows.items():
        print(f"{'mean':10} {name:14} {line(np.nanmean(figures, axis=0))}")
        print(f"{'lowest':10} {name:14} {line(np.nanmin(figures, axis=0))}")


def as_the_person(predicted: Float, clip: AudioMotion, model: FaceModel) -> Float:
    """Return the predicted movement [T, 20] as the person articulates, unchanged where the clip does not tell."""
    tracked = clip.expression[:PAST] - np.median(clip.expression[:PAST], axis=0)
    own = fit_articulation(predicted[:PAST], tracked, model.lip_gap)
    return predicted if own is None else own.apply(predicted)


def measure(change: Float, clip: AudioMotion) -> np.ndarray:
    """Return the columns [6] for the change [T] of the gap from the median opening of the first frames."""
    made = np.maximum(np.median(clip.opening[:PAST]) + change, 0)[PAST:FRAMES]
    true = clip.opening[PAST:FRAMES]
    closed, real = made < MEETING, true < MEETING
    met = maximum_filter1d(closed.astype(np.uint8), 3)[real].mean() if real.any() else np.nan
    rightly = maximum_filter1d(real.astype(np.uint8), 3)[closed].mean() if closed.any() else np.nan
    return np.array([correlation(made, true), made.std() / true.std(), met, rightly, closed.mean(), real.mean()])


def line(figures: np.ndarray) -> str:
    """Return a row of the table."""
    fit, deviation, met, rightly, made, real = figures
    return f"{fit:11.3f} {deviation:10.2f} {met:9.2f} {rightly:8.2f} {made:5.2f} {real:5.2f}"


if __name__ == "__main__":
    main()
