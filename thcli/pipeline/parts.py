"""Choice of the part of a clip that is its reference: one shot, with a face from its beginning on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

import numpy as np

from thcli.clips.decode import stream_frames
from thcli.clips.probe import MediaInfo
from thcli.clips.shots import Cut, find_cuts, reduced_luma, shots
from thcli.errors import MediaError
from thcli.faces.protocol import Tracker
from thcli.faces.track import MAX_GAP
from thcli.records import FPS, Float, Image

LOOKED_AT = 60.0
"""Length in s of the part of a clip among whose shots the reference is chosen."""
MARGIN = 1.6
"""Seconds beyond the reference that are searched for cuts, so that a dissolve near its end is found."""
SIDE = 480
"""Longer side in px of the frames that are searched for cuts and faces."""
EVERY = 5
"""Distance in frames between those that are searched for a face."""
NAMED = 6
"""Most cuts whose times are named in a note."""


@dataclass(frozen=True)
class ClipPart:
    """Part of a clip that is used.

    start: second of the clip at which it begins
    seconds: its length
    cuts: times of the clip's cuts, s; none where the whole part that was asked for is one shot
    faceless: second of the clip at which the shot begins, where no face is found before ``start``; otherwise None
    """

    start: float
    seconds: float
    cuts: tuple[float, ...] = ()
    faceless: float | None = None

    def notes(self, what: str = "the reference is") -> tuple[str, ...]:
        """Return lines for the user on cuts, and on a face that appears later.

        what: subject and verb of the lines
        """
        said = []
        if self.cuts:
            times = ", ".join(f"{cut:.2f}" for cut in self.cuts[:NAMED])
            more = f" and {len(self.cuts) - NAMED} more times" if len(self.cuts) > NAMED else ""
            end = self.start + self.seconds
            said.append(
                f"the clip is cut at {times} s{more}: {what} one shot, from {self.start:.2f} to {end:.2f} s; --start "
                "chooses another"
            )
        if self.faceless is not None:
            since = f" from {self.faceless:.2f} s on" if self.faceless else ""
            said.append(f"no face is seen{since} before {self.start:.2f} s: {what} what follows")
        return tuple(said)


@dataclass(frozen=True)
class Survey:
    """Cuts and frames of a part of a clip, as ``survey`` finds them.

    frames: number of its frames
    cuts: cuts between them
    images: every ``EVERY``-th frame [H, W, 3] uint8, by number
    """

    frames: int
    cuts: Sequence[Cut]
    images: dict[int, Image]


def choose_part(tracker: Tracker, info: MediaInfo, start: float, seconds: float) -> ClipPart:
    """Choose the part of a clip for its reference: what follows ``start``, where that is one shot that shows a face.

    Otherwise it is the part that shows the face of the shot at ``start``, if that is above 0, or of the shot among
    ``LOOKED_AT`` seconds that shows one for longest. Where no face is found, tracking reports it.

    start: second of the clip at which the search begins
    seconds: most seconds of the part
    """
    if info.image or not info.video:
        return ClipPart(0.0, seconds)
    near, most = survey(info, start, seconds + MARGIN), round(seconds * FPS)
    cut = any(cut.first < most for cut in near.cuts)
    if not near.frames or (not cut and _faces(tracker, near, (0, MAX_GAP), 1)):
        return ClipPart(start, seconds)
    whole = survey(info, start, LOOKED_AT) if near.frames > most else near
    found = shots(list(whole.cuts), whole.frames)
    shot, (first, end) = _best(tracker, whole, found[:1] if start else found, most)
    length = min(seconds, (end - first) / FPS)
    times = tuple(start + cut.middle / FPS for cut in whole.cuts)
    return ClipPart(start + first / FPS, length, times, start + shot[0] / FPS if first > shot[0] else None)


def survey(info: MediaInfo, start: float, seconds: float) -> Survey:
    """Read the frames of a part of a video and find its cuts; a damaged end is ignored, as reading it later fails."""
    luma: list[Float] = []
    images: dict[int, Image] = {}
    with suppress(MediaError), closing(stream_frames(info, start, seconds, SIDE)) as frames:
        for t, frame in enumerate(frames):
            luma.append(reduced_luma(frame))
            if t % EVERY == 0:
                images[t] = frame
    cuts = find_cuts(np.stack(luma)) if luma else []
    return Survey(len(luma), cuts, images)


def _best(
    tracker: Tracker, seen: Survey, found: list[tuple[int, int]], most: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the shot that shows a face for longest, and its frames that show it; without a face, the longest shot."""
    by_length = sorted(found, key=lambda shot: shot[0] - shot[1])
    best = by_length[0], by_length[0]
    length = 0
    for shot in by_length:
        if shot[1] - shot[0] <= length:
            break
        run = _faces(tracker, seen, shot, most)
        if run is not None and run[1] - run[0] > length:
            best, length = (shot, run), run[1] - run[0]
        if length >= most:
            break
    return best


def _faces(tracker: Tracker, seen: Survey, shot: tuple[int, int], most: int) -> tuple[int, int] | None:
    """Return the longest run of frames of a shot that show a face, or the first of ``most`` frames; None for none.

    Every ``EVERY``-th frame is searched.
    """
    best, first, last = None, -1, -1
    for t, image in seen.images.items():
        if not shot[0] <= t < shot[1] or not tracker.detect(image):
            continue
        if first < 0 or t - last > MAX_GAP:
            first = t if t - EVERY >= shot[0] else shot[0]
        last = t
        run = first, min(t + EVERY, shot[1])
        if best is None or run[1] - run[0] > best[1] - best[0]:
            best = run
        if best[1] - best[0] >= most:
            break
    return best
