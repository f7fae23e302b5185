"""Measure what is normal for the figures of a report: `python benchmarks/normal.py STORE [--clips N]`.

It prints the 5th and 95th percentile of the report's figures over the real clips of a preprocessed store: the first 4 s
of a clip are the reference, of which 8 frames are chosen, as for ``thgen generate``; the rest is measured in pieces of
10 s. Beside them it prints the ratio of a piece's head motion to the reference's. The figures go into
``thcli/evaluation/report/normal.py``. Clips whose audio is not in step with the image are left out of those on audio.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from thcli.clips.audio import read_speech
from thcli.clips.decode import read_clip
from thcli.data.store import ClipMeta, Store
from thcli.evaluation.recording import Recording
from thcli.evaluation.report.measured import PIECE, measure_piece
from thcli.evaluation.report.quality import head_motion
from thcli.inspection.advice import AXES
from thcli.records import FPS, SAMPLES_PER_FRAME, Speech
from thcli.render.references import choose_references

PAST, REFERENCES = 4 * FPS, 8
"""Frames of a clip that are its reference; frames chosen from them."""
SOUND = ("loudness_correlation", "loudness_lag")
"""Figures that need audio in step with the image."""


def main() -> None:
    """Measure the clips and print the percentiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--clips", type=int, help="most clips to measure, evenly spaced")
    arguments = parser.parse_args()
    store = Store(arguments.store)
    clips = [clip for clip in store.clips if clip.frames >= PAST + PIECE]
    if arguments.clips:
        clips = clips[:: max(1, len(clips) // arguments.clips)]
    values = defaultdict(list)
    for clip in clips:
        for name, value in measure_clip(store, clip):
            values[name].append(value)
    print(f"{len(clips)} clips of {len({clip.subject for clip in clips})} people")
    for name, found in values.items():
        low, middle, high = np.percentile(found, [5, 50, 95])
        print(f"{name:22} {low:8.3f} {high:8.3f}   median {middle:.3f} of {len(found)} pieces")


def measure_clip(store: Store, clip: ClipMeta) -> list[tuple[str, float]]:
    """Return names and values of the figures of all pieces of a clip."""
    whole, track = read_clip(store.crop(clip.clip)), store.track(clip.clip)
    samples = read_speech(store.speech(clip.clip)).samples
    past = track.select(slice(PAST))
    chosen = choose_references(past.pose, past.unposed(), past.confidence, REFERENCES)
    references = Recording("reference", whole.frames[chosen], track.select(chosen), None)
    own = [figure.value or np.nan for figure in head_motion(past.pose)]
    found = []
    for first in range(PAST, min(len(track), len(whole)) - PIECE + 1, PIECE):
        part = slice(first, first + PIECE)
        sound = Speech(samples[part.start * SAMPLES_PER_FRAME : part.stop * SAMPLES_PER_FRAME], whole.path)
        piece = Recording(clip.clip, whole.frames[part], track.select(part), sound)
        figures = measure_piece(piece, references)
        if clip.av_lag is None:
            figures = {name: figure for name, figure in figures.items() if name not in SOUND}
        found += [(name, figure.value) for name, figure in figures.items() if figure.value is not None]
        for axis, figure, usual in zip(AXES, head_motion(track.pose[part]), own, strict=True):
            found += [(f"head_{axis}", figure.value or 0.0), ("ratio to the reference", (figure.value or 0.0) / usual)]
        found.append(("face_found", float((track.confidence[part] > 0).mean())))
    return found


if __name__ == "__main__":
    main()
