"""What is normal for the figures of a report: data, with where each range comes from.

Measured by ``benchmarks/normal.py``, which prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Normal:
    """A range; None where it has no end. source: where it comes from, for the reader of a report."""

    low: float | None
    high: float | None
    source: str


REAL = "real clips"
OWN = "thgen's videos"
SOURCES = {
    REAL: "5th to 95th percentile",
    OWN: "10th percentile",
}
NORMAL: Mapping[str, Normal] = {
    "face_found": Normal(0.99, None, REAL),
    "opening_followed": Normal(0.7, None, OWN),
    "loudness_correlation": Normal(0.3, None, REAL),
    "loudness_lag": Normal(-3, 3, REAL),
    "head_nod": Normal(0.5, 5.0, REAL),
    "head_turn": Normal(0.5, 5.0, REAL),
    "head_tilt": Normal(0.5, 5.0, REAL),
    "outside_range": Normal(None, 0.05, OWN),
    "jitter": Normal(None, 1.0, REAL),
    "blink_rate": Normal(0.0, 60.0, REAL),
    "mouth_sharpness": Normal(0.5, 2.0, REAL),
    "csim": Normal(0.5, None, REAL),
}
HEAD_RATIO = (0.4, 2.5)
OWN_RANGE = "around the reference's own"
