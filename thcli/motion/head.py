"""Head motion of the whole video, predicted from the person's motion in the reference clip and the audio (§3.3).

Motion is learned and predicted as placements of the head (``thcli.rotations.placement``), whose rotation and position
are nearly independent, in units of the person's own range around the person's own mean. So it cannot drift: whatever
the network predicts, the result is the person's mean plus a limited deviation. Everything in ``thcli.motion`` takes and
returns placements [T, 6] in float64; poses, the paper's form, are for files, tracks and ``MotionCurves``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from thcli.motion.curve_tools import extend_to_rest, join, soft_limit
from thcli.records import FPS, LOG_MEL_SILENCE, Float
from thcli.smoothing import smoothed
from thcli.threads import one_thread

if TYPE_CHECKING:
    from thgen_models.head_motion import HeadMotionLearner

Placements = NDArray[np.floating]
"""Placements of the head [T, 6]: rotation vector (rad) and position (canonical face units)."""
AXES = 6
WINDOW = 3 * FPS
"""Frames over which a person's range is measured; the length of the paper's reference clips."""
TRACKER_NOISE = 1.0
"""Standard deviation in frames of the Gaussian that removes a tracker's noise from placements."""
PRIOR_LOG_RANGE = np.log([0.030, 0.034, 0.018, 0.038, 0.034, 0.004])
"""Log of the median over training subjects of the standard deviation in ``WINDOW`` frames; rad, canonical units."""
PRIOR_LOG_SPEED = np.log([0.0052, 0.0045, 0.0025, 0.0043, 0.0048, 0.0008])
"""Log of the median over training subjects of the mean absolute change per frame; rad, canonical units."""
PRIOR_WEIGHT = 0.25
"""Weight of the prior over that of a reference of ``WINDOW`` frames; three seconds tell most about a range, not all."""
NOISE_SCALES = (2.0, 5.0, 12.0, 30.0, 75.0)
"""Standard deviations in frames of the Gaussians that smooth the noise, from a nod to a change of posture."""
SUPPORT = (2.5, 4.0)
"""Least and largest limit of the deviation from the mean, in ranges."""
SUPPORT_MARGIN = 1.2
"""Limit over the reference's own largest deviation; an image can be turned a little further than its references."""
SETTLE_FRAMES = 10 * FPS
"""Frames of motion from which half of the offset from the person's mean is removed; longer motion loses more of it."""
POSTURE, POSTURE_PART = 1.0 * FPS, 0.5
"""Standard deviation in frames of the Gaussian that extracts the posture; largest part of the limit for the posture."""
WHOLE_RANGE = np.array([1.19, 1.30, 1.54, 1.41, 1.21, 1.19])
"""Median over training subjects of the deviation over half a minute, over that in windows of ``WINDOW`` frames."""
WIDEST_POSTURE = 3.0
"""Largest factor by which ``widen_posture`` scales the posture."""
GAINS = (0.4, 2.5)
"""Least and largest gain of ``match_range``; in silence the network rightly moves the head half as much."""
ALWAYS_SUPPORTED = np.array([0.12, 0.15, 0.12, 0.2, 0.2, 0.02])
"""Deviations that all references support, even a photo or a clip without movement; rad, canonical face units."""
CHUNK_FRAMES = 2000
"""Frames that the network predicts at a time, which limits the memory."""


@dataclass(frozen=True)
class MotionStyle:
    """Statistics of a person's head motion in the reference clip.

    mean, range: [6] float64, mean and standard deviation of the placement; rad and canonical face units
    motion: [τ, 6] float32, the reference without tracker noise, in ranges around the mean
    summary: [13] float32, log range and log speed relative to the prior, and log of τ over ``WINDOW``
    """

    mean: np.ndarray
    range: np.ndarray
    motion: Float
    summary: Float


def motion_style(past: Placements) -> MotionStyle:
    """Measure a person's motion style from placements [τ, 6]; with fewer frames the prior weighs more."""
    smooth = smoothed(np.asarray(past, np.float64), TRACKER_NOISE)
    mean, seen = smooth.mean(0), min(len(smooth) / WINDOW, 2.0) if len(smooth) > 5 else 0.0
    trust = seen / (seen + PRIOR_WEIGHT)
    deviation = smooth.std(0) + 1e-4
    speed = np.abs(np.diff(smooth, axis=0)).mean(0) + 1e-5 if len(smooth) > 1 else np.exp(PRIOR_LOG_SPEED)
    log_range = trust * (np.log(deviation) - PRIOR_LOG_RANGE)
    log_speed = trust * (np.log(speed) - PRIOR_LOG_SPEED)
    size = np.exp(log_range + PRIOR_LOG_RANGE)
    summary = np.concatenate([log_range, log_speed, [math.log(len(smooth) / WINDOW)]])
    return MotionStyle(mean, size, ((smooth - mean) / size).astype(np.float32), summary.astype(np.float32))


def smooth_noise(frames: int, channels: int, seed: int) -> Float:
    """Return seeded noise [T, channels] float32 of variance 1; channels are smoothed by ``NOISE_SCALES`` in turn."""
    random = np.random.default_rng(seed)
    margin = int(4 * max(NOISE_SCALES))
    white = random.standard_normal((frames + 2 * margin, channels))
    for channel in range(channels):
        scale = NOISE_SCALES[channel % len(NOISE_SCALES)]
        # a Gaussian of scale s leaves 1 / (2 s sqrt(pi)) of the variance of white noise
        gain = math.sqrt(2 * scale * math.sqrt(math.pi))
        white[:, channel] = smoothed(white[:, channel], scale) * gain
    return white[margin : margin + frames].astype(np.float32)


def predict_head_motion(
    network: HeadMotionLearner,
    past: Placements,
    past_features: Float,
    features: Float,
    seed: int,
    longer: Placements | None = None,
) -> Placements:
    """Predict placements [T, 6] for new audio that continue the reference's last frame: ĥ_{τ+1:T} of §3.3.

    past: [τ, 6], placements of the reference; τ is 1 for a photo
    past_features: [τ, 4, 80] float32, log-mel features of the reference's own audio; missing frames count as silence,
        so a photo or a clip without audio may give [0, 4, 80]
    features: [T, 4, 80] float32, log-mel features of the new audio
    seed: seed of the variation; the same seed gives the same bytes
    longer: [U, 6], placements in a longer part of the clip, which tell the person's range better; None for no such part

    The motion begins with the position and velocity at the end of the reference. Within a second it becomes the
    extrapolated motion: the person's mean plus a deviation limited to what the reference supports.
    """
    style = motion_style(past)
    support = supported_range(style)
    size = style.range if longer is None else np.minimum(range_within(longer), style.range * support / SUPPORT[0])
    limit = support * style.range / size
    deviation = match_range(extrapolate(network, style, past_features, features, seed), limit)
    return join(style.mean + size * widen_posture(deviation, limit), past)


def range_within(motion: Placements) -> np.ndarray:
    """Person's range [6], rad and canonical face units, over a part of the clip that is longer than the references."""
    smooth = smoothed(np.asarray(motion, np.float64), TRACKER_NOISE)
    seen = len(smooth) / WINDOW
    trust = seen / (seen + PRIOR_WEIGHT)
    return np.asarray(np.exp(trust * np.log(windowed_deviation(smooth) + 1e-4) + (1 - trust) * PRIOR_LOG_RANGE))


def extrapolate(
    network: HeadMotionLearner, style: MotionStyle, past_features: Float, features: Float, seed: int
) -> np.ndarray:
    """Predict the network's motion [T, 6] float64, in ranges around the mean, in chunks of ``CHUNK_FRAMES``."""
    import torch

    context, frames = network.dims.context, len(features)
    device = next(network.parameters()).device
    noise = smooth_noise(frames + 2 * context, network.dims.noise, seed)
    parts = []
    with torch.inference_mode(), one_thread():  # else the number of cores would change the motion by a hair
        missing = max(len(style.motion) - len(past_features), 0)
        past_window = pad_silence(past_features, 0, missing)[: len(style.motion)]
        past = (torch.from_numpy(part)[None].to(device) for part in (style.motion, past_window, style.summary))
        weight, bias = network.encoder(*past)
        for first in range(0, frames, CHUNK_FRAMES):
            last = min(first + CHUNK_FRAMES, frames)
            window = features[max(first - context, 0) : last + context]
            window = pad_silence(window, max(context - first, 0), max(last + context - frames, 0))
            inputs = (torch.from_numpy(x)[None].to(device) for x in (window, noise[first : last + 2 * context]))
            parts.append(network.move(weight, bias, *inputs)[0].cpu().numpy())
    return np.concatenate(parts).astype(np.float64)


def pad_silence(features: Float, before: int, after: int) -> Float:
    """Pad log-mel features [T, 4, 80] with frames of silence before and after them."""
    return np.pad(features, ((before, after), (0, 0), (0, 0)), constant_values=LOG_MEL_SILENCE)


def match_range(deviation: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Centre motion [T, 6], in ranges, on the mean, scale it to the person's range and limit it to [6].

    The range is matched in windows of ``WINDOW`` frames, in which the reference is measured. Shorter motion is changed
    less, because a short piece may well be livelier or calmer than the whole.
    """
    frames = len(deviation)
    centred = deviation - deviation.mean(0) * frames / (frames + SETTLE_FRAMES)
    trust = frames / (frames + FPS)
    gain = np.ones(deviation.shape[1])
    for _ in range(3):
        # the limit makes motion smaller, so the gain is found with the limit applied
        spread = np.clip(windowed_deviation(limit_posture(centred * gain, limit)), 0.3, 3.0)
        gain = np.clip(gain * spread**-trust, *GAINS)
    return limit_posture(centred * gain, limit)


def widen_posture(deviation: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Scale the posture of motion [T, 6], in ranges, until the whole deviates as far as people's, and limit it to [6].

    Over a longer time heads turn farther than in the windows in which ``match_range`` measures them; the network, which
    learned from pieces of five seconds, does not know how much farther. Short motion is changed less.
    """
    frames = len(deviation)
    trust = frames / (frames + SETTLE_FRAMES)
    widened = deviation
    for _ in range(3):
        # the limit makes motion smaller, so the factor is found with the limit applied
        posture = smoothed(widened, POSTURE)
        quick = widened - posture
        missing = (WHOLE_RANGE**2 - quick.var(0)) / (posture.var(0) + 1e-6)
        widened = limit_posture(quick + posture * np.sqrt(np.clip(missing, 1, WIDEST_POSTURE**2)) ** trust, limit)
    return widened


def windowed_deviation(motion: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """Return the root mean square of the standard deviations within windows, per axis: [T, D] → [D]."""
    starts = range(0, max(len(motion) - window, 0) + 1, max(window // 5, 1))
    return np.sqrt(np.mean([motion[start : start + window].var(0) for start in starts], axis=0))


def supported_range(style: MotionStyle) -> np.ndarray:
    """Return the largest deviation [6], in ranges, at which the reference frames still support the image."""
    reached = np.maximum(SUPPORT_MARGIN * np.abs(style.motion).max(0), ALWAYS_SUPPORTED / style.range)
    return np.clip(reached, *SUPPORT)


def support_limit(style: MotionStyle) -> np.ndarray:
    """Return the largest deviation [6] from the mean that the reference frames support, rad and face units."""
    return np.maximum(supported_range(style) * style.range, ALWAYS_SUPPORTED)


def beyond_support(past: Placements, motion: Placements) -> np.ndarray:
    """Return whether the head moves further than the reference supports, [T] bool, for placements [T, 6].

    past: [τ, 6], placements of the reference
    """
    style = motion_style(past)
    return np.asarray((np.abs(motion - style.mean) > support_limit(style)).any(axis=1))


def limit_posture(deviation: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Limit motion [T, D] to [D]; its slow part, the posture, is first limited to ``POSTURE_PART`` of that.

    With a single limit, a head that leans far would freeze at it; this way it keeps moving around its posture.
    """
    posture = smoothed(deviation, POSTURE)
    return soft_limit(soft_limit(posture, POSTURE_PART * limit) + deviation - posture, limit)


def still_head_motion(past: Placements, frames: int) -> Placements:
    """Return placements [T, 6] of a head that comes slowly to rest at the person's mean (``--motion still``).

    past: [τ, 6], placements of the reference
    """
    whole = extend_to_rest(past, motion_style(past).mean, len(past) + frames)
    return whole[len(past) :]


def rebase_head_motion(past: Placements, other: Placements, frames: int) -> Placements:
    """Transfer the head motion of another track to this person: placements [T, 6] (``--motion VIDEO``).

    past: [τ, 6], placements of the person's own reference
    other: [U, 6], placements of the other track; where U < T, they are followed by a slow return to rest

    The other track's deviations from its mean are added to this person's mean. An axis on which they exceed what the
    person's reference supports is scaled down as a whole, which keeps its rhythm.
    """
    style = motion_style(past)
    smooth = smoothed(other, TRACKER_NOISE)[:frames]
    deviation = smooth - smooth.mean(0)
    limit = support_limit(style)
    reach = np.percentile(np.abs(deviation), 99, axis=0)
    moved = style.mean + soft_limit(deviation * np.minimum(1.0, 0.8 * limit / (reach + 1e-9)), limit)
    return extend_to_rest(moved, style.mean, frames)
