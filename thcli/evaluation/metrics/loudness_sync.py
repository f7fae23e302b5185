"""Sound and mouth in step, without a network.

How open the mouth sounds (``thcli.clips.features.openness``: the level of the upper formants less that of the voice
alone) is compared with how open it is. On the 11 real validation clips the two correlate at 0.43 in the mean at their
best lag, and at 0.2 where the sound is another clip's: it tells in step from out of step, not good lips from better
ones.
"""

from __future__ import annotations

import numpy as np

from thcli.clips.features import log_mel, openness
from thcli.data.audio_motion import mouth_lag
from thcli.evaluation.curves import STILL, face
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import Models
from thcli.evaluation.recording import Pair, Recording
from thcli.face_model import mouth_opening
from thcli.records import FPS

REACH = 10
"""Frames searched to either side."""
SHORTEST = 2 * FPS
"""Frames below which the best of 21 lags says nothing."""
LEAST_FIT = 0.25
"""Correlation below which the lag is chance: a mouth fits 8 s of another clip's sound at 0.19, at the best of lags."""


def measure_lag(pair: Pair, models: Models) -> Figure:
    """Frames by which the mouth trails the sound."""
    found = _fit(pair.predicted)
    if isinstance(found, Figure):
        return found
    lag, fit = found
    if fit < LEAST_FIT:
        return not_computed(f"mouth and sound of {pair.predicted.name} go together at no lag ({fit:.2f} at best)")
    return Figure(float(lag), len(pair))


def measure_correlation(pair: Pair, models: Models) -> Figure:
    """The correlation at that lag."""
    found = _fit(pair.predicted)
    return found if isinstance(found, Figure) else Figure(found[1], len(pair))


def _fit(recording: Recording) -> tuple[int, float] | Figure:
    track, speech = face(recording), recording.speech
    if isinstance(track, Figure):
        return track
    if speech is None:
        return not_computed(f"{recording.name} has no sound")
    length = min(len(track), speech.n_frames)
    if length < SHORTEST:
        return not_computed(f"{recording.name} has {length} frames with sound; its lag takes {SHORTEST}")
    heard, opening = openness(log_mel(speech)), mouth_opening(track.mesh)
    for curve, what in ((heard, "sound"), (opening, "mouth")):
        if np.std(curve[:length]) < STILL:
            return not_computed(f"the {what} of {recording.name} does not change")
    return mouth_lag(heard, opening, REACH)


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
