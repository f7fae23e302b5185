"""First pass over a video that is dubbed: its time stamps, its shots, and one person's face in every frame.

What is found is kept in one file, meshes in parts, so that memory does not grow with the video.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from thcli.clips.probe import MediaInfo
from thcli.clips.shots import Cut, find_cuts, reduced_luma
from thcli.clips.timed import TimedFrame, stored, stream_stored
from thcli.data.array_file import ArrayReader, ArrayWriter
from thcli.face_model import FaceModel
from thcli.faces.follow import PLACES, Follower, Sight
from thcli.faces.protocol import Tracker
from thcli.faces.track import face_boxes, interpolate_missed, smooth_meshes
from thcli.records import FPS, N_VERTICES, FaceChoice, Float, Image
from thcli.threads import one_thread

PART = 256
"""Frames whose meshes are read at a time."""
BLOCK = 1500
"""Frames among which cuts are searched for at a time."""
CONTEXT = 120
"""Frames before and after those of a block with which its cuts are found, and its meshes smoothed."""
BRIDGED = 5
"""Most frames without the face within a shot that are bridged."""
SUDDEN = 0.93
"""Correlation of two frames in a row below which the second may be of another shot."""
MARGIN = 8
"""Frames on either side of a part with which its meshes are smoothed."""
IN_BOX = 24_000.0
"""Steps in which the side of a face's box is divided where meshes are stored."""
ARRAYS = ("time", "shot", "confidence", "sharpness", "colours")
"""Names of the arrays of ``Footage`` that have a value for each frame."""


@dataclass(frozen=True)
class Footage:
    """What is known of the frames of a video.

    path: file that holds it
    size: (width, height) of the frames, px
    time: [T] int64, time stamps in units of ``unit``
    unit: seconds
    last: units for which the last frame is shown
    shot: [T] int32, number of the shot; -1 in the middle of a change from one to the next
    confidence: [T] float32 in 0..1; 0 where the face was interpolated, NaN where there is none
    sharpness: [T] float32, as in ``faces.follow.Sight``
    colours: [T, P, 3] uint8, as in ``faces.follow.Sight``
    tracker: name and version of the tracker
    bits: bits of a code value of the frames
    """

    path: Path
    size: tuple[int, int]
    time: np.ndarray
    unit: Fraction
    last: int
    shot: np.ndarray
    confidence: Float
    sharpness: Float
    colours: Image
    tracker: str
    bits: int = 8

    def __len__(self) -> int:
        return len(self.time)

    @property
    def seconds(self) -> np.ndarray:
        """Time stamps [T] float64, seconds."""
        return self.time * float(self.unit)

    @property
    def end(self) -> float:
        """Second at which the video ends."""
        return float((int(self.time[-1]) + self.last) * self.unit)

    def meshes(self, first: int, end: int) -> Float:
        """Return the meshes of some frames, [n, V, 3] float32, px of the frame; NaN where there is no face."""
        parts = []
        with ArrayReader(self.path) as file:
            for part in range(first // PART, -(-end // PART)):
                stored_, box = file[f"mesh{part}"], file[f"box{part}"]
                meshes = stored_.astype(np.float32) * box[:, None, 2:3] / np.float32(IN_BOX)
                meshes[..., :2] += box[:, None, :2]
                begin = part * PART
                parts.append(meshes[max(first - begin, 0) : end - begin])
        return np.concatenate(parts) if parts else np.zeros((0, N_VERTICES, 3), np.float32)


@one_thread()
def survey_video(
    tracker: Tracker,
    model: FaceModel,
    info: MediaInfo,
    face: FaceChoice,
    path: Path,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Look at all frames of a video once, and write what is found to ``path``.

    Raises MediaError for a file without video, and NoFaceError where the chosen face is not there.
    """
    follower = Follower(tracker, model, info.path, face)
    how = stored(info)
    room = how.colours.empty_frame(how.size)
    with ArrayWriter(path) as archive:
        block, before = _Block(_Meshes(archive)), None
        frame: TimedFrame | None = None
        with closing(stream_stored(info, timed=True, into=repeat(room))) as frames:
            for frame in frames:
                luma = reduced_luma(frame.frame.y) / np.float32(how.colours.step)
                sight = follower.next(frame.frame, before is None or _correlation(before, luma) < SUDDEN)
                block.add(frame, luma, sight)
                before = luma
                advance(1)
        assert frame is not None
        usual = _usual(block.times, frame.unit)
        block.flush(last=True)
        about = {
            "unit": np.array([frame.unit.numerator, frame.unit.denominator]),
            "last": np.array(frame.duration or usual),
            "size": np.array(how.size),
            "bits": np.array(how.colours.bits),
            "tracker": np.array(tracker.name),
            "blocks": np.array(block.written),
        }
        for name, values in about.items():
            archive.add(name, values)


def read_footage(path: Path) -> Footage:
    """Read a file that ``survey_video`` wrote. Raises OSError, ValueError, EOFError or KeyError for any other."""
    with ArrayReader(path) as file:
        width, height = file["size"].tolist()
        numerator, denominator = file["unit"].tolist()
        blocks = range(int(file["blocks"]))
        arrays: dict[str, Any] = {name: np.concatenate([file[f"{name}{n}"] for n in blocks]) for name in ARRAYS}
        last, tracker, bits = int(file["last"]), str(file["tracker"]), int(file["bits"])
    unit = Fraction(numerator, denominator)
    return Footage(path, (width, height), unit=unit, last=last, tracker=tracker, bits=bits, **arrays)


@dataclass
class _Meshes:
    """Writer of meshes, in parts of ``PART`` frames."""

    archive: ArrayWriter
    waiting: list[Float] = field(default_factory=list)
    written: int = 0

    def add(self, meshes: Float, last: bool) -> None:
        self.waiting += list(meshes)
        while len(self.waiting) >= PART or (last and self.waiting):
            some, self.waiting = np.stack(self.waiting[:PART]), self.waiting[PART:]
            box = face_boxes(some)
            middle = np.concatenate([(box[:, :2] + box[:, 2:]) / 2, (box[:, 2:] - box[:, :2]).max(1, keepdims=True)], 1)
            seen = np.isfinite(middle).all(axis=1)
            whole = np.zeros(some.shape, np.int16)
            moved = some[seen].copy()
            moved[..., :2] -= middle[seen, None, :2]
            whole[seen] = np.round(moved / middle[seen, None, 2:] * IN_BOX).clip(-32_767, 32_767)
            self.archive.add(f"mesh{self.written}", whole)
            self.archive.add(f"box{self.written}", middle.astype(np.float32))
            self.written += 1


@dataclass
class _Block:
    """Frames whose shots and meshes are not settled yet, after ``CONTEXT`` that are.

    settled: number of the first frames in the lists that are written already
    written: number of the blocks that are written
    """

    meshes: _Meshes
    luma: list[Float] = field(default_factory=list)
    sights: list[Sight | None] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    settled: int = 0
    shots: int = 0
    shot_of_kept: list[int] = field(default_factory=list)
    written: int = 0

    def add(self, frame: TimedFrame, luma: Float, sight: Sight | None) -> None:
        self.times.append(frame.time)
        self.luma.append(luma)
        self.sights.append(sight)
        if len(self.luma) >= BLOCK + 2 * CONTEXT:
            self.flush(last=False)

    def flush(self, last: bool) -> None:
        """Settle all frames but the last ``CONTEXT``, or all."""
        end = len(self.luma) if last else len(self.luma) - CONTEXT
        shot = self._shots(find_cuts(np.stack(self.luma)) if self.luma else [], end)
        mesh, confidence = self._faces(shot)
        new = slice(self.settled, end)
        self.meshes.add(mesh[new], last)
        nothing = np.zeros((len(PLACES), 3), np.uint8)
        found = {
            "time": np.array(self.times[new], np.int64),
            "shot": shot[new],
            "confidence": confidence[new],
            "sharpness": np.array([0.0 if s is None else s.sharpness for s in self.sights[new]], np.float32),
            "colours": np.array([nothing if s is None else s.colours for s in self.sights[new]], np.uint8),
        }
        for name, values in found.items():
            self.meshes.archive.add(f"{name}{self.written}", values)
        self.written += 1
        drop = max(end - CONTEXT, 0)
        self.shot_of_kept = shot[drop:end].tolist()
        del self.luma[:drop], self.sights[:drop], self.times[:drop]
        self.settled = end - drop

    def _shots(self, cuts: list[Cut], end: int) -> np.ndarray:
        """Return the shot of each frame: those settled keep theirs, and cuts after them begin new ones."""
        shot = np.full(len(self.luma), self.shots, np.int32)
        shot[: self.settled] = self.shot_of_kept
        for cut in cuts:
            if cut.end <= self.settled:
                continue
            if cut.end <= end:
                self.shots += 1
                shot[max(cut.end, self.settled) :] = self.shots
            else:
                shot[cut.end :] = self.shots + 1
            shot[max(cut.first, self.settled) : cut.end] = -1
        return shot

    def _faces(self, shot: np.ndarray) -> tuple[Float, Float]:
        """Return meshes [n, V, 3], smoothed and short gaps bridged, and confidence [n], NaN without a face."""
        empty = np.full((N_VERTICES, 3), np.nan, np.float32)
        first = max(self.settled - MARGIN, 0)
        mesh = np.stack([empty if s is None else s.mesh for s in self.sights])
        confidence = np.array([np.nan if s is None else s.confidence for s in self.sights], np.float32)
        for begin, stop in _runs(np.isfinite(confidence), shot, first):
            part = slice(begin, stop)
            sure = np.nan_to_num(confidence[part])
            mesh[part] = smooth_meshes(interpolate_missed(mesh[part], sure), sure)
            confidence[part] = sure
        return mesh, confidence


def _runs(seen: np.ndarray, shot: np.ndarray, first: int) -> list[tuple[int, int]]:
    """Return the stretches of frames, from ``first`` on, of one shot that show the face but for short gaps."""
    runs: list[tuple[int, int]] = []
    for t in range(first, len(seen)):
        if not seen[t]:
            continue
        if runs and shot[runs[-1][0]] == shot[t] and t - runs[-1][1] <= BRIDGED:
            runs[-1] = (runs[-1][0], t + 1)
        else:
            runs.append((t, t + 1))
    return runs


def _usual(times: list[int], unit: Fraction) -> int:
    """Return the usual time between two frames, in units; that of 25 fps where there is one frame alone."""
    return int(np.median(np.diff(times))) if len(times) > 1 else max(round(1 / (FPS * unit)), 1)


def _correlation(before: Float, luma: Float) -> float:
    one, other = before - before.mean(), luma - luma.mean()
    return float((one * other).sum() / (np.sqrt((one**2).sum() * (other**2).sum()) + 1e-3 * one.size))
