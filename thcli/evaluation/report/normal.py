"""Normal ranges of the figures of a report, with the source of each.

Ranges of real clips are the 5th to 95th percentile over 107 pieces of 10 s of 32 people, as printed by
``benchmarks/normal.py STORE --clips 30`` (likeness with MobileFaceNet in the cache). The first 4 s of a clip are the
reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Normal:
    """A normal range.

    low, high: ends of the range; None where it is open
    source: origin of the range, for the reader of a report
    """

    low: float | None
    high: float | None
    source: str


REAL = "90 % of real clips"
OWN_RANGE = "as real clips go on"
"""Source of the range of a figure that lies around the reference's own: real clips after their first 4 s."""
TARGET = "what thgen aims at"
NORMAL: Mapping[str, Normal] = {
    "face_found": Normal(0.99, None, REAL),
    # Videos from three clips reached 0.97, 0.97 and 0.98; one from a photo with closed lips reached 0.51.
    "opening_followed": Normal(0.8, None, TARGET),
    "loudness_correlation": Normal(0.22, None, REAL),
    "loudness_lag": Normal(-2.9, 3.0, REAL),
    "head_nod": Normal(1.0, 4.5, REAL),
    "head_turn": Normal(0.8, 5.2, REAL),
    "head_tilt": Normal(0.5, 4.8, REAL),
    "outside_range": Normal(None, 0.05, TARGET),
    "jitter": Normal(None, 1.08, REAL),
    "blink_rate": Normal(0.0, 100.0, REAL),
    "mouth_sharpness": Normal(0.75, 1.34, REAL),
    "csim": Normal(0.87, None, REAL),
}
HEAD_RATIO = (0.6, 3.7)
"""Normal ratio of a video's head motion to its reference's: 5th and 95th percentile over 321 pieces and axes."""
