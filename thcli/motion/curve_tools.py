"""Tools for curves over frames: soft limits, joins without a jump, and the return to rest."""

from __future__ import annotations

import numpy as np

JOIN_RATE = 0.22
"""Rate per frame of the critically damped spring at the join to the reference; 95 % decay within 22 frames."""
JOIN_FRAMES = 5
"""Last frames of a curve from which its position and velocity at the end are fitted."""
REST_RATE = 0.08
"""Rate per frame of the spring that returns to rest; it covers 95 % of the way in two and a half seconds."""


def soft_limit(deviation: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Limit deviations (..., D) smoothly: unchanged up to 70 % of the limit, always below it."""
    free = 0.7 * limit
    beyond = np.maximum(np.abs(deviation) - free, 0.0)
    held = free + (limit - free) * np.tanh(beyond / (limit - free))
    return np.where(beyond > 0, np.sign(deviation) * held, deviation)


def join(moved: np.ndarray, before: np.ndarray, rate: float = JOIN_RATE) -> np.ndarray:
    """Continue curves ``before`` [τ, D] with curves [T, D] that start at its last position and velocity.

    The difference at the join decays like a critically damped spring of the given rate per frame, so neither position
    nor velocity jumps. Four fifths of it are gone after 3 / rate frames.
    """
    if not len(moved):
        return moved
    position, velocity = _ending(before)
    ahead = moved[1] - moved[0] if len(moved) > 1 else np.zeros_like(velocity)
    offset, drift = position - (moved[0] - ahead), velocity - ahead
    time = np.arange(1, len(moved) + 1)[:, None]
    return moved + (offset + (drift + rate * offset) * time) * np.exp(-rate * time)


def _ending(before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return position [D] and velocity per frame [D] at the end of curves [τ, D], by a line through their ends."""
    last = before[-JOIN_FRAMES:]
    if len(last) < JOIN_FRAMES:
        return last[-1], np.zeros(last.shape[1])
    slope, position = np.polyfit(np.arange(1 - JOIN_FRAMES, 1), last, 1)
    return position, slope


def extend_to_rest(curve: np.ndarray, rest: np.ndarray, frames: int, rate: float = REST_RATE) -> np.ndarray:
    """Cut curves [U, D] to a number of frames, or extend them by a slow return to ``rest`` [D]."""
    missing = frames - len(curve)
    if missing <= 0:
        return curve[:frames]
    return np.concatenate([curve, join(np.broadcast_to(rest, (missing, len(rest))), curve, rate)])
