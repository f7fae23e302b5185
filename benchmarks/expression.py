"""Measure Ψ on the unseen speakers of a store: `python benchmarks/expression.py STORE [--split val]`.

For each clip it prints the correlation of the predicted mouth opening with the tracked one and the ratio of their
standard deviations, first with audio and mouth in step by the store's ``av_lag``, then moved by the fraction of a frame
at which they fit best (an upper bound, as the prediction itself chooses the lag), and the correlation for the audio of
another clip. The reference expression is the median over the clip's first 64 frames. The header of the weights says
whether their front end takes log-mel features or raw samples.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from thcli.clips.features import STEPS_PER_FRAME
from thcli.data.audio_motion import AudioMotion, correlation, shifted
from thcli.data.store import Store
from thcli.motion.expression import predict
from thcli.pipeline.models import load_models
from thcli.records import Float
from thcli.training.alignment import best_offset
from thcli.training.expression_clips import load_clips

FRAMES, REFERENCE = 1500, 64
"""Most frames of a clip that are measured, and frames over which its reference expression is taken."""


def main() -> None:
    """Measure every clip of the split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = load_models(arguments.weights, "cpu")
    model, network = models.face_model, models.expression_learner

    def opening(clip: AudioMotion, audio: Float) -> Float:
        return predict(network, audio, np.median(clip.expression[:REFERENCE], axis=0)) @ model.lip_gap

    clips = load_clips(Store(arguments.store), arguments.split, model, network.dims.front_end, models.speech_encoders)
    rows = []
    print(f"{'clip':10} frames  correlation  deviation  in step: lag  correlation  other's sound")
    for clip, other in zip(clips, clips[1:] + clips[:1], strict=True):
        predicted, true = opening(clip, clip.features)[:FRAMES], clip.opening[:FRAMES]
        lag = best_offset(predicted, true)
        moved = shifted(clip, round(STEPS_PER_FRAME * lag))
        better = correlation(opening(moved, moved.features)[:FRAMES], moved.opening[:FRAMES])
        foreign = correlation(opening(clip, other.features)[:FRAMES], true)
        deviation = predicted.std() / true.std()
        rows.append((correlation(predicted, true), deviation, better, foreign))
        print(f"{clip.clip:10} {len(true):6} {rows[-1][0]:12.3f} {deviation:10.2f}", end="")
        print(f" {lag:+13.2f} {better:12.3f} {foreign:14.3f}")
    mean, lowest = np.mean(rows, axis=0), np.min(rows, axis=0)
    print(f"{'mean':17} {mean[0]:12.3f} {mean[1]:10.2f} {mean[2]:26.3f} {mean[3]:14.3f}")
    print(f"{'lowest':17} {lowest[0]:12.3f} {lowest[1]:10.2f} {lowest[2]:26.3f}")


if __name__ == "__main__":
    main()
