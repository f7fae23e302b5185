"""Blinks at the clip's own rate and shape.

The signal is the opening of the eyes (``thcli.face_model.eye_opening`` of the de-posed mesh) over time; a blink is
given to the renderer as a curve from 0, as open as the person's eyes usually are, to 1, closed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import find_peaks

from thcli.errors import UsageError
from thcli.motion.head import extend_to_rest
from thcli.records import FPS, Float

USUAL_FRAMES = 51
"""Window of the running median that is the usual opening: blinks are far shorter, a change of gaze is longer."""
CLOSED = 0.25
"""Opening of closed eyes, as part of the usual one: in labels of real clips 0.1 to 0.35, lashes hide the rest."""
BLINK = 0.45
"""Closure that counts as a blink; gaze to the floor and smiles reach about 0.3."""
REFRACTORY = 8
"""Least frames from one blink to the next."""
PRIOR_RATE, PRIOR_SECONDS = 20 / 60, 12.0
"""Blinks a second, counted like twelve seconds watched: people blink 15 to 30 times a minute while they talk."""
FASTEST = 1.0
"""Most blinks a second that are made."""
OPEN_RATE = 0.5
"""A frame: of the return to open eyes where a video ends in a blink (``head.join``)."""
DEPTHS = (0.9, 1.0)
"""Least and largest depth: at 25 frames a second the deepest moment is often missed, and trackers shy at it."""
LONGEST_BLINK = 25
"""Frames; eyes closed for longer are not blinking."""


@dataclass(frozen=True)
class BlinkManner:
    """How a person blinks.

    rate: blinks a second
    closing, opening: frames that the lids take down and up again
    depth: closure at the deepest, 0..1
    """

    rate: float = PRIOR_RATE
    closing: float = 3.0
    opening: float = 5.0
    depth: float = 1.0


def eye_closure(opening: Float) -> Float:
    """How far the eyes are closed, [T] float32 in 0..1, from their opening [T]; a single frame counts as open."""
    values = np.asarray(opening, np.float64)
    size = min(USUAL_FRAMES, len(values))
    # the median of a short clip with several blinks lies too low
    usual = np.maximum(median_filter(values, size=size, mode="nearest"), np.percentile(values, 60)) + 1e-6
    closed = CLOSED * usual
    return np.clip((usual - values) / (usual - closed), 0.0, 1.0).astype(np.float32)


def find_blinks(opening: Float) -> np.ndarray:
    """Frames at which the eyes are most closed in each blink of an opening [T]."""
    # what is deepest on the first or last frame is left out: trackers often begin with half-open eyes
    length = (1, LONGEST_BLINK)
    distance = REFRACTORY // 2
    peaks, _ = find_peaks(eye_closure(opening), BLINK, prominence=0.3, distance=distance, plateau_size=length)
    return np.asarray(peaks)


def blink_manner(opening: Float) -> BlinkManner:
    """What a reference of openings [T] tells of the person, beside what is usual (gamma prior on the rate)."""
    if len(opening) < 2:
        return BlinkManner()
    peaks, closure = find_blinks(opening), eye_closure(opening)
    seconds = len(opening) / FPS
    rate = (len(peaks) + PRIOR_RATE * PRIOR_SECONDS) / (seconds + PRIOR_SECONDS)
    if not len(peaks):
        return BlinkManner(rate=rate)
    before = [_lids(closure[peak::-1]) for peak in peaks]
    after = [_lids(closure[peak:]) for peak in peaks]
    return BlinkManner(
        rate=min(rate, FASTEST),
        closing=float(np.clip(np.median(before), 2.0, 4.0)),
        opening=float(np.clip(np.median(after), 3.0, 8.0)),
        depth=float(np.clip(np.median(closure[peaks]), *DEPTHS)),
    )


def _lids(closure: Float) -> float:
    """Frames from the peak, the first of the values, until a fifth of its closure is left."""
    below = np.flatnonzero(closure < 0.2 * closure[0])
    return float(below[0]) if len(below) else float(len(closure))


def make_blinks(manner: BlinkManner, frames: int, seed: int) -> Float:
    """Blinks at random (Poisson, with a refractory time) at the person's rate: [T] float32 in 0..1."""
    random = np.random.default_rng(seed)
    pause = manner.closing + manner.opening + REFRACTORY
    mean_gap = max(FPS / max(manner.rate, 1e-6), 1.2 * pause)
    times, time = [], random.exponential(mean_gap)
    while time < frames:
        times.append(time)
        time += pause + random.exponential(mean_gap - pause)
    return _draw(manner, times, frames)


def regular_blinks(manner: BlinkManner, seconds: float, frames: int, seed: int) -> Float:
    """A blink about every so many seconds, give or take a tenth, in the person's shape: [T] float32 in 0..1."""
    shortest = (manner.closing + manner.opening) / FPS
    if not seconds > shortest:
        raise UsageError(f"--blink {seconds:g}: a blink takes {shortest:.2f} s; give more seconds, or 'none'")
    random = np.random.default_rng(seed)
    gap = seconds * FPS
    middles = np.arange(gap / 2, frames, gap)
    return _draw(manner, list(middles + random.uniform(-0.1, 0.1, len(middles)) * gap), frames)


def blinks_of_video(opening: Float, frames: int) -> Float:
    """The blinks of another track's openings [U], and open eyes after its end: [T] float32 in 0..1.

    What is less than a blink, such as narrowed eyes, is left out: it belongs to the expression.
    """
    closure = eye_closure(opening)
    kept = np.zeros(len(closure))
    for peak in find_blinks(opening):
        first = peak - int(_lids(closure[peak::-1])) + 1
        last = peak + int(_lids(closure[peak:]))
        kept[max(first, 0) : last] = closure[max(first, 0) : last]
    return np.clip(extend_to_rest(kept[:, None], np.zeros(1), frames, OPEN_RATE)[:, 0], 0.0, 1.0).astype(np.float32)


def _draw(manner: BlinkManner, times: list[float], frames: int) -> Float:
    """Blinks whose eyes are closed at the given times (frames): the lids fall fast and rise slowly."""
    curve = np.zeros(frames)
    for time in times:
        first, last = int(max(time - manner.closing, 0)), int(min(time + manner.opening + 2, frames))
        since = np.arange(first, last) - time
        part = np.where(since < 0, 1 + since / manner.closing, 1 - since / manner.opening).clip(0, 1)
        eased = part * part * (3 - 2 * part)
        curve[first:last] = np.maximum(curve[first:last], manner.depth * eased)
    return curve.astype(np.float32)
