"""Blinks at the person's own rate and in the person's own shape.

Blinks are measured in the opening of the eyes over time (``thcli.face_model.eye_opening`` of the unposed mesh). The
renderer takes blinks as a curve from 0, the eyes as open as the person usually has them, to 1, the eyes closed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thcli.errors import UsageError
from thcli.motion.curve_tools import extend_to_rest
from thcli.records import FPS, Float
from thcli.smoothing import percentile_around

USUAL_FRAMES = 51
"""Frames of the running median that gives the usual opening; blinks are far shorter, changes of gaze are longer."""
CLOSED = 0.25
"""Opening of closed eyes over the usual one: 0.1 to 0.35 in labelled real clips, as lashes hide the closed lids."""
BLINK = 0.45
"""Least closure that counts as a blink; a gaze to the floor and smiles reach about 0.3."""
SWING = 0.3
"""Least change of the closure before and after a blink."""
REFRACTORY = 8
"""Least pause between two blinks, frames."""
PRIOR_RATE, PRIOR_SECONDS = 20 / 60, 12.0
"""Prior rate in blinks per second; its weight in seconds of clip. Talking people blink 15 to 30 times a minute."""
FASTEST = 1.0
"""Largest rate of a person, blinks per second."""
OPEN_RATE = 0.5
"""Rate per frame of the return to open eyes where a source ends in a blink (``curve_tools.join``)."""
DEPTHS = (0.9, 1.0)
"""Least and largest depth of blinks; at 25 frames a second the deepest moment is often missed, or tracked badly."""
LONGEST_BLINK = 25
"""Most frames for which the eyes stay at their most closed in a blink."""


@dataclass(frozen=True)
class BlinkStyle:
    """Rate and shape of a person's blinks.

    rate: blinks per second
    closing, opening: frames that the lids take to close and to open again
    depth: largest closure, 0..1
    """

    rate: float = PRIOR_RATE
    closing: float = 3.0
    opening: float = 5.0
    depth: float = 1.0


def eye_closure(opening: Float) -> Float:
    """Return the closure of the eyes [T] float32 in 0..1 from their opening [T]; a single frame counts as open."""
    values = np.asarray(opening, np.float64)
    size = min(USUAL_FRAMES, len(values))
    # the median alone is too low in a short clip with several blinks
    usual = np.maximum(percentile_around(values, 50, size), np.percentile(values, 60)) + 1e-6
    closed = CLOSED * usual
    return np.clip((usual - values) / (usual - closed), 0.0, 1.0).astype(np.float32)


def find_blinks(opening: Float) -> np.ndarray:
    """Return the frame of largest closure of each blink in an opening [T].

    The lids close and open again by at least ``SWING``; a blink at the first or last frame is none, because trackers
    often begin with half-open eyes.
    """
    closure = eye_closure(opening)
    blinks: list[int] = []
    lowest = highest = closure[0]
    first = last = 0  # frames between which the closure stays at its highest
    for t, value in enumerate(closure):
        if value < lowest or highest - value >= SWING:
            if highest >= BLINK and highest - lowest >= SWING and last - first < LONGEST_BLINK:
                _add_blink(blinks, (first + last) // 2, closure)
            lowest = highest = value
            first = last = t
        elif value > highest:
            highest, first, last = value, t, t
        elif value == highest:
            last = t
    return np.array(blinks, np.intp)


def _add_blink(blinks: list[int], blink: int, closure: Float) -> None:
    """Add the frame of a blink, unless another that is at least as strong is too near before it."""
    if blinks and blink - blinks[-1] < REFRACTORY // 2:
        if closure[blink] <= closure[blinks[-1]]:
            return
        blinks.pop()
    blinks.append(blink)


def blink_style(opening: Float) -> BlinkStyle:
    """Estimate a person's blinks from the reference's opening [T], with a gamma prior on the rate."""
    if len(opening) < 2:
        return BlinkStyle()
    peaks, closure = find_blinks(opening), eye_closure(opening)
    seconds = len(opening) / FPS
    rate = (len(peaks) + PRIOR_RATE * PRIOR_SECONDS) / (seconds + PRIOR_SECONDS)
    if not len(peaks):
        return BlinkStyle(rate=rate)
    before = [_lids(closure[peak::-1]) for peak in peaks]
    after = [_lids(closure[peak:]) for peak in peaks]
    return BlinkStyle(
        rate=min(rate, FASTEST),
        closing=float(np.clip(np.median(before), 2.0, 4.0)),
        opening=float(np.clip(np.median(after), 3.0, 8.0)),
        depth=float(np.clip(np.median(closure[peaks]), *DEPTHS)),
    )


def _lids(closure: Float) -> float:
    """Return the frames from the peak, the first value, until less than a fifth of its closure is left."""
    below = np.flatnonzero(closure < 0.2 * closure[0])
    return float(below[0]) if len(below) else float(len(closure))


def make_blinks(style: BlinkStyle, frames: int, seed: int) -> Float:
    """Make random blinks (Poisson, with a refractory time) at the person's rate: [T] float32 in 0..1."""
    random = np.random.default_rng(seed)
    pause = style.closing + style.opening + REFRACTORY
    mean_gap = max(FPS / max(style.rate, 1e-6), 1.2 * pause)
    times, time = [], random.exponential(mean_gap)
    while time < frames:
        times.append(time)
        time += pause + random.exponential(mean_gap - pause)
    return _curve(style, times, frames)


def regular_blinks(style: BlinkStyle, seconds: float, frames: int, seed: int) -> Float:
    """Make blinks of the person's shape at an interval in seconds, varied by a tenth: [T] float32 in 0..1.

    Raises UsageError where the interval is shorter than a blink.
    """
    shortest = (style.closing + style.opening) / FPS
    if not seconds > shortest:
        raise UsageError(f"--blink {seconds:g}: a blink takes {shortest:.2f} s; give more seconds, or 'none'")
    random = np.random.default_rng(seed)
    gap = seconds * FPS
    middles = np.arange(gap / 2, frames, gap)
    return _curve(style, list(middles + random.uniform(-0.1, 0.1, len(middles)) * gap), frames)


def blinks_of_video(opening: Float, frames: int) -> Float:
    """Return the blinks in another track's opening [U], followed by open eyes: [T] float32 in 0..1.

    A smaller closure, such as narrowed eyes, is left out, because it belongs to the expression.
    """
    closure = eye_closure(opening)
    kept = np.zeros(len(closure))
    for peak in find_blinks(opening):
        first = peak - int(_lids(closure[peak::-1])) + 1
        last = peak + int(_lids(closure[peak:]))
        kept[max(first, 0) : last] = closure[max(first, 0) : last]
    return np.clip(extend_to_rest(kept[:, None], np.zeros(1), frames, OPEN_RATE)[:, 0], 0.0, 1.0).astype(np.float32)


def _curve(style: BlinkStyle, times: list[float], frames: int) -> Float:
    """Return the curve [T] of blinks that are deepest at given times (frames); the lids fall fast and rise slowly."""
    curve = np.zeros(frames)
    for time in times:
        first, last = int(max(time - style.closing, 0)), int(min(time + style.opening + 2, frames))
        since = np.arange(first, last) - time
        part = np.where(since < 0, 1 + since / style.closing, 1 - since / style.opening).clip(0, 1)
        eased = part * part * (3 - 2 * part)
        curve[first:last] = np.maximum(curve[first:last], style.depth * eased)
    return curve.astype(np.float32)
