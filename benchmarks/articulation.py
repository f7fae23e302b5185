"""Measure what seconds of a clip's own audio teach about the lips: `python benchmarks/articulation.py STORE`.

On the unseen speakers of a store, the articulation (``thcli.motion.articulation``) is fitted to the first 0, 3, 10 and
30 seconds of a clip. Of more seconds than references have, every third frame counts, as ``thgen generate --learn-from``
tracks them. All rows of a table are measured on the same frames, those that follow: after 30 s in long clips, after
10 s in clips of more than 14 s, after 3 s in all. The columns are the correlation of the predicted mouth opening with
the tracked one, with audio and mouth in step and as the store has them, and the lowest of each; the ratio of their
standard deviations; and figures on the moments in which the lips meet (opening below 0.02 of the distance of the outer
eye corners): the share of the real moments that are predicted within two frames, the share of the predicted ones that
are real within two frames, and the shares of all frames, predicted and real.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d

from thcli.data.audio_motion import AudioMotion, correlation, in_step
from thcli.data.store import Store
from thcli.face_model import FaceModel
from thcli.motion.articulation import fit_articulation
from thcli.motion.expression import predict
from thcli.pipeline.learning import EVERY
from thcli.pipeline.models import load_models
from thcli.records import FPS, Float
from thcli.training.alignment import best_offset
from thcli.training.expression_clips import load_clips

SECONDS = (0, 3, 10, 30)
"""Seconds that the articulation is fitted to; 0 leaves Ψ's prediction as it is."""
SHORTEST = 4 * FPS
"""Fewest frames that are measured."""
USUAL = 4 * FPS
"""First frames of a clip, the references, whose median opening the movement goes around."""
MEETING = 0.02
"""Opening, in distances of the outer eye corners, below which the lips meet."""
REACH = 2
"""Frames by which a predicted meeting of the lips may be early or late."""


def main() -> None:
    """Print a table for each number of seconds that is left out of the measured frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = load_models(arguments.weights, "cpu")
    model, network = models.face_model, models.expression_learner
    clips = load_clips(Store(arguments.store), arguments.split, model, network.dims.front_end, models.speech_encoders)
    predicted = {clip.clip: predict(network, clip.features, np.zeros(20, np.float32)) for clip in clips}
    for after in SECONDS[:0:-1]:
        long = [clip for clip in clips if len(clip) >= after * FPS + SHORTEST]
        print(f"\n{len(long)} clips, after {after} s\n learned  in step  lowest  as given  lowest  ", end="")
        print("deviation   met  rightly  made  real")
        for seconds in (seconds for seconds in SECONDS if seconds <= after):
            print(
                line(seconds, np.array([measure(clip, predicted[clip.clip], model, seconds, after) for clip in long]))
            )


def measure(clip: AudioMotion, predicted: Float, model: FaceModel, seconds: int, after: int) -> np.ndarray:
    """Return the columns [7], without those of the lowest, for a clip that is learned from for some seconds."""
    part = slice(seconds * FPS)
    moved = predicted
    if seconds:
        tracked = clip.expression[part] - np.median(clip.expression[part], axis=0)
        every = EVERY if seconds * FPS > USUAL else 1
        own = fit_articulation(predicted[part], sparse(tracked, every), model.lip_gap, every)
        moved = predicted if own is None else own.apply(predicted)
    made = np.maximum(np.median(clip.opening[:USUAL]) + moved @ model.lip_gap, 0)
    given = correlation(made[after * FPS :], clip.opening[after * FPS :])
    lag = round(best_offset(predicted @ model.lip_gap, clip.opening))
    heard, shown = in_step(len(clip), made, lag)
    later = max(after * FPS - shown.start, 0)
    made, true = heard[later:], clip.opening[shown][later:]
    closed, real = made < MEETING, true < MEETING
    met, rightly = share_near(real, closed), share_near(closed, real)
    deviation = made.std() / true.std()
    return np.array([correlation(made, true), given, deviation, met, rightly, closed.mean(), real.mean()])


def sparse(tracked: Float, every: int) -> Float:
    """Return a movement [τ, 20] as it is known where every so many frames one is tracked: interpolated between them."""
    known, places = np.arange(0, len(tracked), every), np.arange(len(tracked))
    return np.stack([np.interp(places, known, values[known]) for values in tracked.T], axis=1).astype(np.float32)


def share_near(moments: np.ndarray, others: np.ndarray) -> float:
    """Return the share of the moments [T] with another within ``REACH`` frames; NaN where there are no moments."""
    near = maximum_filter1d(others.astype(np.uint8), 2 * REACH + 1)
    return float(near[moments].mean()) if moments.any() else float("nan")


def line(seconds: int, figures: np.ndarray) -> str:
    """Return a row of the table for the figures [clips, 7]."""
    step, given, deviation, met, rightly, made, real = np.nanmean(figures, axis=0)
    lowest = figures.min(axis=0)
    fits = f"{step:9.3f} {lowest[0]:7.3f} {given:9.3f} {lowest[1]:7.3f}"
    return f"{seconds:6} s {fits} {deviation:10.2f} {met:5.2f} {rightly:8.2f} {made:5.2f} {real:5.2f}"


if __name__ == "__main__":
    main()
