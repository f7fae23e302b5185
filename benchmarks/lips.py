"""Measure the lips at every stage before the image: `python benchmarks/lips.py STORE [--split val] [--weights DIR]`.

The first three seconds of every clip are the reference; the rest of its audio drives the mouth. The stages are what Ψ
predicts, that fitted to the person's articulation, and that with the lips closed where Ψ hears them meet; the last is
what the image is drawn from (`benchmarks/talking.py` measures finished videos). Audio and mouth are in step by the
store's ``av_lag``. The columns are means over the clips:

    corr       correlation of the mouth's opening with the tracked one, at the best lag within two frames, and the
               lowest of a clip
    spread     standard deviation of the opening over the tracked one's; in how many clips it is within 0.85 to 1.15
    met        share of the real closures of the lips that are met within two frames, and right, of those made
    LMD        distance of the mouth landmarks from the tracked ones, pixels at 256²
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from talking import PAST, met_and_right, moved_by

from thcli.clips.audio import read_speech
from thcli.clips.features import audio_features
from thcli.data.audio_motion import correlation, in_step
from thcli.data.store import ClipMeta, Store
from thcli.evaluation.metrics.closures import MEETING
from thcli.evaluation.metrics.lmd import MOUTH, mouth_distances
from thcli.face_model import LANDMARKS_68, mouth_opening
from thcli.motion.articulation import fit_articulation
from thcli.motion.closure import close_lips
from thcli.motion.expression import predict_expression
from thcli.pipeline.models import Models, load_models
from thcli.pipeline.person import neutral_mesh
from thcli.records import Float

FRAMES = 1500
"""Most frames of a clip that are measured."""
LAGS = range(-2, 3)
"""Frames by which the tracked mouth may trail the predicted one."""


def main() -> None:
    """Measure every clip of the split, and print the means of all stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--weights", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    models, store = load_models(given.weights, "cpu"), Store(given.store)
    rows: dict[str, list[Float]] = {}
    for meta in store.select(given.split):
        if meta.av_lag is not None and meta.frames > 2 * PAST:
            for stage, made, real, scale in stages(models, store, meta):
                rows.setdefault(stage, []).append(figures(made[PAST:FRAMES], real[PAST:FRAMES], scale))
    print("stage                   corr  lowest  spread  within    met  right    LMD")
    for stage, measured in rows.items():
        corr, spread, met, right, distance = (column[~np.isnan(column)].mean() for column in np.array(measured).T)
        lowest, ratios = np.min(measured, axis=0)[0], np.array(measured)[:, 1]
        within = f"{np.sum((ratios > 0.85) & (ratios < 1.15))} of {len(ratios)}"
        print(f"{stage:22} {corr:5.3f} {lowest:7.3f} {spread:7.2f} {within:>8} {met:6.2f} {right:6.2f} {distance:6.2f}")


def stages(models: Models, store: Store, meta: ClipMeta) -> Iterator[tuple[str, Float, Float, float]]:
    """Yield the stages of a clip: name, predicted and tracked unposed meshes [T, V, 3], and the track's scale."""
    model, track, speech = models.face_model, store.track(meta.clip), read_speech(store.speech(meta.clip))
    still = np.zeros(len(model.basis), np.float32)
    said = predict_expression(models.expression_learner, audio_features(speech), still, models.speech_encoders)
    moved, motion = in_step(len(track), said.expression, meta.lag)
    closure, _ = in_step(len(track), said.closure, meta.lag)
    real = track.unposed()[motion]
    shown = model.expression(real)
    median = np.median(shown[:PAST], axis=0).astype(np.float32)
    neutral = neutral_mesh(real[:PAST], shown[:PAST] - median, model)

    def stage(name: str, expression: Float) -> tuple[str, Float, Float, float]:
        return name, neutral + model.displacement(expression - median), real, track.scale

    yield stage("Ψ", median + moved)
    own = fit_articulation(moved[:PAST], shown[:PAST] - median, model.lip_gap)
    spoken = median + (moved if own is None else own.apply(moved))
    yield stage("and articulation", spoken)
    yield stage("and closures", close_lips(spoken, closure, neutral, median, model))


def figures(made: Float, real: Float, scale: float) -> Float:
    """Return the figures [5] of predicted meshes [T, V, 3]: correlation, spread, closures met and right, LMD."""
    x, y = mouth_opening(made), mouth_opening(real)
    lag = max(LAGS, key=lambda step: correlation(*moved_by(x, y, step)))
    met, right = met_and_right(*(one < MEETING for one in moved_by(x, y, lag)))
    mouths = (mesh[:, list(LANDMARKS_68)[MOUTH], :2] / scale for mesh in (made, real))
    return np.array([correlation(*moved_by(x, y, lag)), x.std() / y.std(), met, right, mouth_distances(*mouths).mean()])


if __name__ == "__main__":
    main()
