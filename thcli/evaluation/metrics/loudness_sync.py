"""Synchrony of audio and mouth without a network: lag and correlation of the mouth's opening with the audio.

The audio gives an estimate of how open the mouth sounds (``thcli.clips.features.openness``: level of the upper formants
less half of the level of the voice alone), which is compared with the opening in the image. On the 11 real validation
clips the mean correlation at the best lag is 0.43, and 0.2 with another clip's audio. The metric therefore tells
whether audio and mouth are in step; it does not tell good lip motion from better.
"""

from __future__ import annotations

import numpy as np

from thcli.clips.features import log_mel, openness
from thcli.data.audio_motion import mouth_lag
from thcli.evaluation.curves import STILL, face
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair, Recording
from thcli.face_model import mouth_opening
from thcli.records import FPS

REACH = 10
"""Largest lag that is tried, frames to either side."""
SHORTEST = 2 * FPS
"""Least frames of a video; with fewer, the best of 21 lags says nothing."""
LEAST_FIT = 0.25
"""Least correlation of a lag that is not chance; with 8 s of another clip's audio the best lag reaches 0.19."""


def measure_lag(pair: Pair, models: MetricModels) -> Figure:
    """Compute the frames by which the mouth trails the audio."""
    found = _fit(pair.predicted)
    if isinstance(found, Figure):
        return found
    lag, fit = found
    if fit < LEAST_FIT:
        return not_computed(f"mouth and sound of {pair.predicted.name} go together at no lag ({fit:.2f} at best)")
    return Figure(float(lag), len(pair))


def measure_correlation(pair: Pair, models: MetricModels) -> Figure:
    """Compute the correlation of mouth and audio at their best lag."""
    found = _fit(pair.predicted)
    return found if isinstance(found, Figure) else Figure(found[1], len(pair))


def _fit(recording: Recording) -> tuple[int, float] | Figure:
    """Return the best lag in frames and the correlation there, or a figure that says why there is none."""
    track, speech = face(recording), recording.speech
    if isinstance(track, Figure):
        return track
    if speech is None:
        return not_computed(f"{recording.name} has no sound")
    length = min(len(track), speech.n_frames)
    if length < SHORTEST:
        return not_computed(f"{recording.name} has {length} frames with sound; its lag takes {SHORTEST}")
    audio, opening = openness(log_mel(speech)), mouth_opening(track.mesh)
    for curve, what in ((audio, "sound"), (opening, "mouth")):
        if np.std(curve[:length]) < STILL:
            return not_computed(f"the {what} of {recording.name} does not change")
    return mouth_lag(audio, opening, REACH)


_INPUTS = (
    "opening of the mouth; level of the sound from 1.5 to 4.2 kHz less half of that below 450 Hz; both 1 to 12 frames"
)
_SOURCE = "thgen; sign as in SyncNet"
METRICS = (
    Metric(
        "loudness_lag",
        "sound lag",
        "frames by which the mouth trails the sound (negative: leads) where the two correlate best within ±10 frames, "
        "at 0.25 or more",
        _SOURCE,
        _INPUTS,
        "real",
        measure_lag,
    ),
    Metric(
        "loudness_correlation",
        "sound corr.",
        "correlation of the mouth's opening with how open it sounds, at their best lag within ±10 frames; -1 to 1",
        _SOURCE,
        _INPUTS,
        "real",
        measure_correlation,
    ),
)
