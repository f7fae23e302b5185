"""Head motion of the whole video from how the person moved in the reference clip, §3.3.

Motion is learned and made as the head's placement (``thcli.rotations.placement``), whose rotation and position are
nearly independent, in units of the person's own range around their own mean. So it cannot drift: whatever the
network does, the result is the person's mean and a bounded deviation from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from thcli.checkpoints import find_weights, load_checkpoint, load_weights
from thcli.config import make_dims
from thcli.records import FPS, Float
from thcli.rotations import placement

if TYPE_CHECKING:
    from thgen_models.head_motion import HeadMotionLearner

WEIGHTS, STAGE = "head_motion.safetensors", "head_motion"

AXES = 6
WINDOW = 3 * FPS
"""Frames over which a person's range is measured: the reference clips of the paper."""
TRACKER_NOISE = 1.0
"""Standard deviation, in frames, of the Gaussian that takes a tracker's noise out of a track."""
PRIOR_LOG_RANGE = np.log([0.030, 0.034, 0.018, 0.038, 0.034, 0.004])
"""Median over the training subjects of the standard deviation in ``WINDOW`` frames: radians, canonical face units."""
PRIOR_LOG_SPEED = np.log([0.0052, 0.0045, 0.0025, 0.0043, 0.0048, 0.0008])
"""The same of the mean absolute first difference, a frame."""
PRIOR_WEIGHT = 0.25
"""What the prior counts for beside a reference of ``WINDOW`` frames: three seconds tell most about a range, not all."""
NOISE_SCALES = (2.0, 5.0, 12.0, 30.0, 75.0)
"""Standard deviations, in frames, of the Gaussians that smooth the noise: from a nod to a change of posture."""
SUPPORT = (2.5, 4.0)
"""Least and largest bound of the deviation from the mean, in ranges."""
SUPPORT_MARGIN = 1.2
"""The bound against what the reference itself reaches: a picture can be turned a little beyond its references."""
SETTLE_FRAMES = 10 * FPS
"""Over such lengths the motion as a whole is brought back around the person's mean."""
POSTURE, POSTURE_PART = 1.0 * FPS, 0.5
"""Standard deviation, in frames, of the Gaussian that leaves the posture; the part of the limit that it may take."""
GAINS = (0.4, 2.5)
"""Least and largest factor by which ``settle`` corrects; in silence the network moves half as much, and rightly."""
JOIN_RATE = 0.22
"""A frame, of the critically damped spring that takes over from the reference: 95 % are gone after 22 frames."""
JOIN_FRAMES = 5
"""Last frames of the reference from which its position and velocity are read."""
REST_RATE = 0.08
"""The same of a return to rest: two seconds and a half."""
ALWAYS_SUPPORTED = np.array([0.12, 0.15, 0.12, 0.2, 0.2, 0.02])
"""Deviations that every picture supports, also a single photo or a clip that hardly moves: rad, canonical units."""
CHUNK_FRAMES = 2000
SILENCE = -12.0
"""The log-mel feature of silence (the floor in ``thcli/clips/features.py``)."""


@dataclass(frozen=True)
class Manner:
    """How a person holds and moves the head in the reference clip.

    mean, range: [6] float64, of the placement: radians and canonical face units
    motion: [τ, 6] float32, the reference itself without tracker noise, in ranges around the mean
    summary: [13] float32, log range and log speed against the prior, and log of τ against ``WINDOW``
    """

    mean: np.ndarray
    range: np.ndarray
    motion: Float
    summary: Float


def manner(placed: Float) -> Manner:
    """What a reference's placements [τ, 6] tell of the person; the fewer they are, the more the prior counts."""
    smooth = gaussian_filter1d(np.asarray(placed, np.float64), TRACKER_NOISE, axis=0, mode="nearest")
    mean, seen = smooth.mean(0), min(len(smooth) / WINDOW, 2.0) if len(smooth) > 5 else 0.0
    trust = seen / (seen + PRIOR_WEIGHT)
    deviation = smooth.std(0) + 1e-4
    speed = np.abs(np.diff(smooth, axis=0)).mean(0) + 1e-5 if len(smooth) > 1 else np.exp(PRIOR_LOG_SPEED)
    log_range = trust * (np.log(deviation) - PRIOR_LOG_RANGE)
    log_speed = trust * (np.log(speed) - PRIOR_LOG_SPEED)
    size = np.exp(log_range + PRIOR_LOG_RANGE)
    summary = np.concatenate([log_range, log_speed, [math.log(len(smooth) / WINDOW)]])
    return Manner(mean, size, ((smooth - mean) / size).astype(np.float32), summary.astype(np.float32))


def smooth_noise(frames: int, channels: int, seed: int) -> Float:
    """Seeded noise [T, channels] float32 of unit variance, smoothed at each of ``NOISE_SCALES`` in turn."""
    random = np.random.default_rng(seed)
    margin = int(4 * max(NOISE_SCALES))
    white = random.standard_normal((frames + 2 * margin, channels))
    for channel in range(channels):
        scale = NOISE_SCALES[channel % len(NOISE_SCALES)]
        # white noise through a Gaussian of scale s keeps 1 / (2 s sqrt(pi)) of its variance
        gain = math.sqrt(2 * scale * math.sqrt(math.pi))
        white[:, channel] = gaussian_filter1d(white[:, channel], scale) * gain
    return white[margin : margin + frames].astype(np.float32)


def load_head_motion_learner(weights: Path | None = None, device: str = "cpu") -> HeadMotionLearner:
    """Φ with its weights from the folder ``weights``, else those shipped; ``WeightsError`` where that fails."""
    from thgen_models.head_motion import HeadMotionDims, HeadMotionLearner

    path = find_weights(WEIGHTS, weights)
    checkpoint = load_checkpoint(path, STAGE)
    network = HeadMotionLearner(make_dims(HeadMotionDims, checkpoint.header.dims, str(path)))
    load_weights(network, checkpoint, path)
    return network.to(device).eval()


def predict_head_motion(
    network: HeadMotionLearner, past_pose: Float, past_features: Float, features: Float, seed: int
) -> Float:
    """ĥ_{τ+1:T}, §3.3: poses [T, 6] float32 that go on from the reference's last frame, to new audio.

    past_pose: [τ, 6] float32, poses of the reference, τ from 1 (a photo)
    past_features: [τ, 4, 80] float32, log-mel of its own sound; what is missing to τ counts as silence, so a clip
        without sound and a photo may give [0, 4, 80]
    features: [T, 4, 80] float32, log-mel of the new audio
    seed: of the variation; the same seed gives the same bytes

    The motion begins with the position and velocity in which the reference ends, and within a second is the
    extrapolated one: the person's mean and a deviation bounded by what the reference supports.
    """
    placed = placement(np.asarray(past_pose, np.float64))
    person = manner(placed)
    deviation = settle(extrapolate(network, person, past_features, features, seed), support(person))
    moved = person.mean + person.range * deviation
    return placement(join(moved, placed)).astype(np.float32)


def extrapolate(
    network: HeadMotionLearner, person: Manner, past_features: Float, features: Float, seed: int
) -> np.ndarray:
    """The network's motion [T, 6] float64 in ranges, in chunks, so that memory stays flat."""
    import torch

    context, frames = network.dims.context, len(features)
    device = next(network.parameters()).device
    heard = pad_silence(features, context, context)
    noise = smooth_noise(frames + 2 * context, network.dims.noise, seed)
    parts = []
    with torch.inference_mode():
        missing = max(len(person.motion) - len(past_features), 0)
        past_heard = pad_silence(past_features, 0, missing)[: len(person.motion)]
        past = (torch.from_numpy(part)[None].to(device) for part in (person.motion, past_heard, person.summary))
        weight, bias = network.encoder(*past)
        for first in range(0, frames, CHUNK_FRAMES):
            cut = slice(first, min(first + CHUNK_FRAMES, frames) + 2 * context)
            inputs = (torch.from_numpy(part[cut])[None].to(device) for part in (heard, noise))
            parts.append(network.move(weight, bias, *inputs)[0].cpu().numpy())
    return np.concatenate(parts).astype(np.float64)


def pad_silence(features: Float, before: int, after: int) -> Float:
    """Log-mel features [T, 4, 80] with frames of silence before and after them."""
    return np.pad(features, ((before, after), (0, 0), (0, 0)), constant_values=SILENCE)


def settle(deviation: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Motion [T, 6] in ranges, brought around the mean, to the person's range and within the limit [6].

    The reference says what a person's range is in ``WINDOW`` frames, so it is in such windows that it is to be met;
    the less motion there is, the less is changed: a short piece may well be livelier or calmer than the whole.
    """
    frames = len(deviation)
    centred = deviation - deviation.mean(0) * frames / (frames + SETTLE_FRAMES)
    trust = frames / (frames + FPS)
    gain = np.ones(deviation.shape[1])
    for _ in range(3):
        # bounded motion is smaller, so the gain is found with the bound in place
        spread = np.clip(windowed_deviation(hold(centred * gain, limit)), 0.3, 3.0)
        gain = np.clip(gain * spread**-trust, *GAINS)
    return hold(centred * gain, limit)


def windowed_deviation(motion: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """Root mean square over windows of the standard deviation within each, per axis: [T, D] → [D]."""
    starts = range(0, max(len(motion) - window, 0) + 1, max(window // 5, 1))
    return np.sqrt(np.mean([motion[start : start + window].var(0) for start in starts], axis=0))


def support(person: Manner) -> np.ndarray:
    """Largest deviation [6], in ranges, at which the reference frames can still support the picture."""
    reached = np.maximum(SUPPORT_MARGIN * np.abs(person.motion).max(0), ALWAYS_SUPPORTED / person.range)
    return np.clip(reached, *SUPPORT)


def hold(deviation: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Motion [T, D] within the limit [D]: first its slow part, the posture, is held within half the limit.

    Held as a whole, a head that leans far would freeze against the limit; so it goes on moving about its posture.
    """
    posture = gaussian_filter1d(deviation, POSTURE, axis=0, mode="nearest")
    return bound(bound(posture, POSTURE_PART * limit) + deviation - posture, limit)


def bound(deviation: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Deviations (..., D) as they are up to 70 % of the limit, from there smoothly held below it."""
    free = 0.7 * limit
    beyond = np.maximum(np.abs(deviation) - free, 0.0)
    held = free + (limit - free) * np.tanh(beyond / (limit - free))
    return np.where(beyond > 0, np.sign(deviation) * held, deviation)


def join(moved: np.ndarray, before: np.ndarray, rate: float = JOIN_RATE) -> np.ndarray:
    """Curves [T, D] that begin right after ``before`` [τ, D] with its last position and velocity.

    What differs at the join dies away as a critically damped spring of that rate (a frame), so abruptly changes
    neither; it is four fifths gone after 3 / rate frames.
    """
    if not len(moved):
        return moved
    position, velocity = _ending(before)
    ahead = moved[1] - moved[0] if len(moved) > 1 else np.zeros_like(velocity)
    offset, drift = position - (moved[0] - ahead), velocity - ahead
    time = np.arange(1, len(moved) + 1)[:, None]
    return moved + (offset + (drift + rate * offset) * time) * np.exp(-rate * time)


def _ending(before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position [D] and velocity [D] a frame at the last of [τ, D]: of a line through the last frames."""
    last = before[-JOIN_FRAMES:]
    if len(last) < JOIN_FRAMES:
        return last[-1], np.zeros(last.shape[1])
    slope, position = np.polyfit(np.arange(1 - JOIN_FRAMES, 1), last, 1)
    return position, slope


def extend_to_rest(curve: np.ndarray, rest: np.ndarray, frames: int, rate: float = REST_RATE) -> np.ndarray:
    """The first ``frames`` of a curve [U, D]; one that is shorter ends in a slow return to ``rest`` [D], DESIGN §6."""
    missing = frames - len(curve)
    if missing <= 0:
        return curve[:frames]
    return np.concatenate([curve, join(np.broadcast_to(rest, (missing, len(rest))), curve, rate)])


def resting_pose(past_pose: Float) -> Float:
    """The person's mean pose [6] float32 over a reference [τ, 6]."""
    return placement(manner(placement(np.asarray(past_pose, np.float64))).mean).astype(np.float32)


def still_head_motion(past_pose: Float, frames: int) -> Float:
    """Poses [T, 6] float32 of a head that comes slowly to rest at the person's mean (``--motion still``).

    past_pose: [τ, 6] float32, poses of the reference
    """
    placed = placement(np.asarray(past_pose, np.float64))
    whole = extend_to_rest(placed, manner(placed).mean, len(placed) + frames)
    return placement(whole[len(placed) :]).astype(np.float32)


def rebase_head_motion(past_pose: Float, pose: Float, frames: int) -> Float:
    """Motion of another track, as this person can make it (``--motion VIDEO``): poses [T, 6] float32.

    past_pose: [τ, 6] float32, the person's own reference
    pose: [U, 6] float32, of the other track; where U < T, a slow return to rest follows

    The other's deviations from their own mean, around this person's mean; an axis on which they reach beyond what
    the person's reference supports is made smaller as a whole, which keeps its rhythm.
    """
    person = manner(placement(np.asarray(past_pose, np.float64)))
    other = placement(np.asarray(pose, np.float64))
    smooth = gaussian_filter1d(other, TRACKER_NOISE, axis=0, mode="nearest")[:frames]
    deviation = smooth - smooth.mean(0)
    limit = np.maximum(support(person) * person.range, ALWAYS_SUPPORTED)
    reach = np.percentile(np.abs(deviation), 99, axis=0)
    moved = person.mean + bound(deviation * np.minimum(1.0, 0.8 * limit / (reach + 1e-9)), limit)
    return placement(extend_to_rest(moved, person.mean, frames)).astype(np.float32)


def scale_head_motion(past_pose: Float, pose: Float, scale: float) -> Float:
    """Poses [T, 6] whose deviations from the person's mean are ``scale`` times as large (``--motion-scale``)."""
    mean = manner(placement(np.asarray(past_pose, np.float64))).mean
    return placement(mean + scale * (placement(np.asarray(pose, np.float64)) - mean)).astype(np.float32)
