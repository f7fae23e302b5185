"""Dubbing of a video, from its first pass to its frames: the join of the stages for ``thgen dub``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thcli.clips.probe import MediaInfo
from thcli.clips.timed import stream_stored
from thcli.errors import NoFaceError
from thcli.motion.assembly import fit_expression
from thcli.motion.curves import read_curves
from thcli.pipeline.drawers import Changed, Drawers
from thcli.pipeline.filmed import REASONS, FilmedFace, examine, opacities
from thcli.pipeline.footage import Footage, read_footage, survey_video
from thcli.pipeline.lips import Sounds, own_articulation, spoken_lips
from thcli.pipeline.listening import Heard
from thcli.pipeline.models import Models
from thcli.pipeline.mouths import choose_mouths, gather_mouths
from thcli.pipeline.option_checks import is_curve_file
from thcli.pipeline.options import DubOptions
from thcli.pipeline.redrawn import LipTargets, Redrawer
from thcli.pipeline.timeline import Timeline, in_order, make_timeline
from thcli.pipeline.track_cache import TrackCache, track_key
from thcli.pipeline.tracking import track_driver
from thcli.records import FPS, Float, MotionCurves, Speech
from thcli.runs import runs_of
from thcli.yuv import YuvFrame

SHORT = 0.05
"""Most seconds that are not dubbed without being told of."""
SURVEY = "dub 5"
"""Version of the first pass, part of the key of what is kept of it."""


@dataclass(frozen=True)
class Dubbing:
    """A video that is ready to be drawn.

    info: contents of its file
    targets: faces that it is to show
    """

    info: MediaInfo
    targets: LipTargets

    @property
    def line(self) -> Timeline:
        """Frames of the video that is made."""
        return self.targets.line

    @property
    def seconds(self) -> float:
        """Length of the video that is made, seconds."""
        return float(self.line.end * self.targets.footage.unit)


@contextmanager
def footage_of(
    models: Models, info: MediaInfo, options: DubOptions, tracks: TrackCache, advance: Callable[[int], None]
) -> Iterator[Footage]:
    """Look at all frames of a video once, or take what is kept of an earlier look, and yield what is known of them.

    Raises MediaError for a file without video, and NoFaceError where the chosen face is not there.
    """
    face = options.face_choice()

    def make(path: Path) -> None:
        survey_video(models.tracker, models.face_model, info, face, path, advance)

    key = track_key(info.path, models.tracker.name, models.weights, SURVEY, face)
    with tracks.content(key, make, read_footage) as footage:
        yield footage


def prepare_dubbing(
    models: Models,
    info: MediaInfo,
    footage: Footage,
    speech: Speech,
    sounds: Sounds | None,
    options: DubOptions,
    tracks: TrackCache,
) -> Dubbing:
    """Decide what the lips do in every frame. Raises NoFaceError where no frame can be dubbed.

    sounds: what is heard in the speech and in the video; None where the lips come from elsewhere
    """
    face = examine(footage, models.face_model)
    if face is None or not len(face.sampled):
        raise _no_face(info, footage, face)
    line = make_timeline(footage, length_of(footage, speech.seconds, options))
    unit, shot = float(footage.unit), footage.shot[line.source]
    times, total = line.time * unit, float(line.end * footage.unit)
    until = total if options.end is None else min(options.end, total)
    frames = max(int(np.ceil((until - options.begin) * FPS)), 1)
    if sounds is None:
        lips = _given_lips(models, face, options.expression, frames, tracks)
    else:
        own = None if sounds.own is None else own_articulation(models.face_model, sounds.own, footage, face)
        lips = spoken_lips(models.face_model, face, _padded(sounds.speech, frames), own)[:frames]
    part = (times >= options.begin - unit) & (times < until - unit)
    weight = opacities(times, shot, (face.reason == 0)[line.source] & part, total)
    if not weight.any():
        raise _no_face(info, footage, face, options)
    return Dubbing(info, LipTargets(footage, face, models.face_model, line, lips, options.begin, weight))


def length_of(footage: Footage, speech: float, options: DubOptions) -> float:
    """Return the seconds of the dubbed video, for a speech of some seconds."""
    spoken = options.begin + speech
    if options.length == "video" or options.end is not None:
        return footage.end
    return spoken if options.length == "audio" else max(footage.end, spoken)


def make_redrawer(models: Models, dubbing: Dubbing, options: DubOptions) -> Redrawer:
    """Choose the frames out of which mouths are taken, and return what draws the lips of the video."""
    targets = dubbing.targets
    chosen = choose_mouths(targets.footage, targets.face, options.references)
    mouths = gather_mouths(dubbing.info, targets.footage, targets.face, chosen)
    return Redrawer(models, targets, mouths, models.theta if options.renderer == "network" else None)


def draw_dubbing(dubbing: Dubbing, drawers: Drawers) -> Iterator[tuple[YuvFrame, int, Changed | None]]:
    """Yield the frames of a dubbed video with their time stamps, and what of each was drawn anew.

    drawers: processes that do ``Redrawer.draw``

    A frame counts until the next one is asked for.
    """
    targets, arrays = dubbing.targets, drawers.arrays()
    with closing(stream_stored(dubbing.info, into=arrays)) as stream:
        frames = in_order(stream, targets.line, targets.footage, arrays)
        for t, (frame, changed) in enumerate(drawers.draw_all(frames)):
            yield frame, int(targets.line.time[t]), changed


def dubbed_curves(dubbing: Dubbing) -> MotionCurves:
    """Return the motion of the face in the part that is dubbed, at 25 fps from its beginning; eyes count as open."""
    targets = dubbing.targets
    seen = np.flatnonzero(np.isfinite(targets.face.pose[:, 0]))
    times = targets.begin + np.arange(len(targets.lips)) / FPS
    source = dubbing.line.source[dubbing.line.shown_at(times, targets.footage.unit)]
    near = _nearest(seen, source) if len(seen) > 1 else np.repeat(seen, len(source))
    return MotionCurves(targets.face.pose[near], targets.lips, np.zeros(len(targets.lips), np.float32))


def told(dubbing: Dubbing, options: DubOptions) -> tuple[float, tuple[str, ...]]:
    """Return the seconds that are dubbed, and lines on those of the chosen part that are not, with the reason."""
    targets, footage = dubbing.targets, dubbing.targets.footage
    times = np.append(dubbing.line.time, dubbing.line.end) * float(footage.unit)
    taken = np.diff(times)
    dubbed = float(taken[targets.weight > 0].sum())
    until = dubbing.seconds if options.end is None else options.end
    inside = (times[:-1] >= options.begin - 1e-6) & (times[:-1] < until - 1e-6)
    reason = targets.face.reason[dubbing.line.source]
    lines = []
    for number, why in enumerate(REASONS, 1):
        left = inside & (reason == number) & (targets.weight == 0)
        if taken[left].sum() > SHORT:
            lines.append(f"{taken[left].sum():.1f} s are not dubbed: {why} ({_stretches(times, left)})")
    left = inside & (reason == 0) & (targets.weight == 0)
    if taken[left].sum() > SHORT:
        lines.append(
            f"{taken[left].sum():.1f} s are not dubbed: the face is in view too briefly ({_stretches(times, left)})"
        )
    return dubbed, tuple(lines)


def _given_lips(models: Models, face: FilmedFace, source: str, frames: int, tracks: TrackCache) -> Float:
    """Return the expressions [frames, N] of a file of curves or of another video; after its end the face is at rest."""
    if is_curve_file(source):
        return fit_expression(read_curves(Path(source)).expression, face.rest, frames)
    meshes = track_driver(models, source, frames / FPS, tracks).unposed()
    other = models.face_model.expression(meshes)
    moved = face.median_expression + (other - np.median(other, axis=0))
    return fit_expression(moved.astype(np.float32), face.rest, frames)


def _padded(heard: Heard, frames: int) -> Heard:
    """Return what is heard with silence after it, up to a number of frames."""
    more = max(frames - len(heard.moved), 0)
    parts = (
        np.concatenate([x, np.zeros((more, *x.shape[1:]), x.dtype)])
        for x in (heard.moved, heard.closure, heard.activity)
    )
    return Heard(*parts)


def _nearest(seen: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return for each of some numbers the nearest of the rising numbers ``seen``, of which there are two or more."""
    after = np.searchsorted(seen, wanted).clip(1, len(seen) - 1)
    before = seen[after - 1]
    return np.where(wanted - before <= seen[after] - wanted, before, seen[after])


def _stretches(times: np.ndarray, left: np.ndarray, most: int = 4) -> str:
    """Say from when to when frames are left alone."""
    runs = runs_of(left)
    said = ", ".join(f"{times[first]:.1f} to {times[end]:.1f} s" for first, end in runs[:most])
    return said if len(runs) <= most else f"{said} and {len(runs) - most} more"


def _no_face(
    info: MediaInfo, footage: Footage, face: FilmedFace | None, options: DubOptions | None = None
) -> NoFaceError:
    """Return the error for a video, or a part of it, in which no frame can be dubbed."""
    path = info.path
    if face is None:
        return NoFaceError(f"{path}: no face found in {footage.end:.1f} s; give a video that shows one")
    times = footage.seconds
    part = np.ones(len(times), bool)
    if options is not None:
        until = footage.end if options.end is None else options.end
        part = (times >= options.begin) & (times < until)
    found = np.bincount(face.reason[part], minlength=len(REASONS) + 1)[1:]
    if not found.any():
        return NoFaceError(
            f"{path}: the face is nowhere in view for long enough; choose another part with --from and --to"
        )
    where = "" if options is None else " in the chosen part"
    return NoFaceError(
        f"{path}: no frame{where} can be dubbed: {REASONS[int(found.argmax())]}; choose another face or part"
    )
