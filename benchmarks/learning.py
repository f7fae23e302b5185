"""Measure what seconds of a clip teach about blinks and head motion: `python benchmarks/learning.py STORE`.

All clips of the store with 30 seconds and 10 more count, whatever their split. The rate of blinks and the range of the
head's motion are estimated from the first 4 seconds, as of references, and from the first 10 and 30 seconds, of which
every third frame counts, as ``thgen generate --learn-from`` tracks them. They are compared with those of all frames
that follow 30 seconds. The columns are the mean absolute error of the rate, blinks per second, and of the range, as a
share (mean absolute logarithm over six axes).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from thcli.data.store import Store
from thcli.face_model import eye_opening
from thcli.motion.blink import blink_style, find_blinks
from thcli.motion.head import TRACKER_NOISE, motion_style, range_within, windowed_deviation
from thcli.pipeline.learning import EVERY
from thcli.records import FPS, Float
from thcli.rotations import placement

REFERENCES = 4
"""Seconds that references are taken from, which are tracked frame by frame."""
SECONDS = (REFERENCES, 10, 30)
LATER = 10
"""Fewest seconds that are compared with."""


def main() -> None:
    """Print a row for each number of seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    store = Store(parser.parse_args().store)
    long = [meta.clip for meta in store.clips if meta.frames >= (SECONDS[-1] + LATER) * FPS]
    errors = np.array([measure(store, clip) for clip in long]).mean(axis=0)
    print(f"{len(long)} clips, after {SECONDS[-1]} s\n learned  blinks a second  range")
    for seconds, (rate, size) in zip(SECONDS, errors, strict=True):
        print(f"{seconds:6} s {rate:16.3f} {size:6.3f}")


def measure(store: Store, clip: str) -> list[tuple[float, float]]:
    """Return the errors of rate and range of a clip, by seconds."""
    track = store.track(clip)
    opening, head = eye_opening(track.unposed()), placement(np.asarray(track.pose, np.float64))
    later = slice(SECONDS[-1] * FPS, None)
    rate = len(find_blinks(opening[later])) * FPS / len(opening[later])
    size = windowed_deviation(gaussian_filter1d(head[later], TRACKER_NOISE, axis=0, mode="nearest"))
    errors = []
    for seconds in SECONDS:
        part = slice(seconds * FPS)
        if seconds == REFERENCES:
            found, measured = blink_style(opening[part]).rate, motion_style(head[part]).range
        else:
            found = blink_style(sparse(opening[part, None])[:, 0]).rate
            measured = range_within(sparse(head[part]))
        errors.append((abs(found - rate), float(np.abs(np.log(measured / size)).mean())))
    return errors


def sparse(curves: Float) -> Float:
    """Return curves [T, D] as they are known where every ``EVERY``-th frame is tracked: interpolated between them."""
    known, places = np.arange(0, len(curves), EVERY), np.arange(len(curves))
    return np.stack([np.interp(places, known, values[known]) for values in curves.T], axis=1)


if __name__ == "__main__":
    main()
