"""The finished video as it came out: read back, tracked anew, and measured piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import numpy as np

from thcli.clips.decode import stream_frames
from thcli.errors import NoFaceError, WeightsError
from thcli.evaluation.baselines import nearest
from thcli.evaluation.compare import measure
from thcli.evaluation.metric import Figure, not_computed
from thcli.evaluation.metric_models import Models
from thcli.evaluation.metrics import blink_rate, csim, jitter, loudness_sync, mouth_sharpness
from thcli.evaluation.recording import Pair, Recording
from thcli.evaluation.report.job import Job
from thcli.face_model import FaceModel, eye_opening, mouth_opening
from thcli.faces.backends import cached_tracker
from thcli.faces.crop import crop_frame
from thcli.faces.pose import fit_poses
from thcli.faces.protocol import Tracker
from thcli.faces.track import track_clip
from thcli.records import CROP_SIZE, FPS, SAMPLES_PER_FRAME, Clip, FaceTrack, Float, Image

PIECE = 10 * FPS
"""Frames that are held in memory and measured at a time; figures are means over such pieces."""
METRICS = (*loudness_sync.METRICS, *jitter.METRICS, *blink_rate.METRICS, *mouth_sharpness.METRICS)
IDENTITY = csim.METRICS
IDENTITY_STEP = 10
"""Frames between those whose identity is looked at: it changes slowly, and its network takes longest."""
PICTURES = 12


@dataclass(frozen=True)
class Seen:
    """What a finished video shows.

    found: [T] bool, whether the face was seen; what follows is NaN where a piece of the video shows none
    pose: [T, 6]; mouth: [T] opening over the distance of the outer eye corners; eyes: [T] lid gap over eye width
    pictures: moments in seconds, and frames of the video
    figures: of ``METRICS`` and ``IDENTITY``, means over the pieces
    """

    found: np.ndarray
    pose: Float
    mouth: Float
    eyes: Float
    pictures: Sequence[tuple[float, Image]]
    figures: Mapping[str, Figure]


def look_back(job: Job, advance: Callable[[int], None]) -> Seen:
    """Read, track and measure a job's video; memory does not grow with its length.

    advance: told of frames done
    """
    frames = len(job.asked)
    shown = set(np.linspace(0, frames - 1, min(PICTURES, frames)).round().astype(int).tolist())
    tracker, stream = cached_tracker("builtin"), stream_frames(job.video)
    tracks: list[tuple[slice, FaceTrack]] = []
    figures: list[dict[str, Figure]] = []
    pictures: list[tuple[float, Image]] = []
    try:
        for part in pieces(frames):
            crops = []
            for t, frame in enumerate(islice(stream, part.stop - part.start), part.start):
                crops.append(crop_frame(frame, job.box))
                if t in shown:
                    pictures.append((t / FPS, frame))
            piece = _recording(np.stack(crops), part, job, tracker)
            if piece.track is not None:
                tracks.append((part, piece.track))
            figures.append(measure_piece(piece, job.references))
            advance(len(piece))
    finally:
        stream.close()
    return _joined(frames, tracks, job.model, pictures, pooled(figures))


def pieces(frames: int) -> list[slice]:
    """Equal parts of a video, as few as hold no more than ``PIECE`` frames each."""
    edges = np.linspace(0, frames, -(-frames // PIECE) + 1).round().astype(int).tolist()
    return [slice(first, last) for first, last in pairwise(edges)]


def measure_piece(piece: Recording, references: Recording) -> dict[str, Figure]:
    """Figures of a piece; those that compare do so with the reference frames nearest in pose and lips."""
    if piece.track is None or references.track is None:
        return {metric.name: not_computed("no face found") for metric in METRICS + IDENTITY}
    pair = Pair(piece, references.select(nearest(references.track, piece.track)))
    some = slice(0, len(pair), IDENTITY_STEP)
    few = Pair(pair.predicted.select(some), pair.reference.select(some))
    try:
        identity = measure(few, IDENTITY, Models())
    except WeightsError as error:  # a wrong file in the user's cache does not spoil a report
        identity = {metric.name: not_computed(str(error)) for metric in IDENTITY}
    return measure(pair, METRICS, Models()) | identity


def pooled(parts: Sequence[Mapping[str, Figure]]) -> dict[str, Figure]:
    """Means over the pieces, each counted as many times as frames, or whatever it averages over, went into it."""
    return {name: _mean([part[name] for part in parts]) for name in parts[0]}


def _mean(figures: Sequence[Figure]) -> Figure:
    known = [(figure.value, max(figure.count, 1)) for figure in figures if figure.value is not None]
    if not known:
        return figures[0]
    values, counts = zip(*known, strict=True)
    model = next((figure.model for figure in figures if figure.model), "")
    return Figure(float(np.average(values, weights=counts)), sum(counts), model)


def _recording(crops: Image, part: slice, job: Job, tracker: Tracker) -> Recording:
    """A piece of the video as metrics see it."""
    try:
        track: FaceTrack | None = track_clip(Clip(crops, job.video), tracker, job.model)
    except NoFaceError:
        track = None
    samples = job.speech.samples[part.start * SAMPLES_PER_FRAME : part.stop * SAMPLES_PER_FRAME]
    return Recording(job.video.name, crops, track, replace(job.speech, samples=samples))


def _joined(
    frames: int,
    tracks: Sequence[tuple[slice, FaceTrack]],
    model: FaceModel,
    pictures: Sequence[tuple[float, Image]],
    figures: Mapping[str, Figure],
) -> Seen:
    """Curves of the whole video from the tracks of its pieces; poses are fitted anew, with one scale for all."""
    pose, mouth, eyes = (np.full((frames, *width), np.nan, np.float32) for width in ((6,), (), ()))
    found = np.zeros(frames, bool)
    if tracks:
        where = np.concatenate([np.arange(part.start, part.stop) for part, _ in tracks])
        pose[where] = fit_poses(np.concatenate([track.landmarks for _, track in tracks]), (CROP_SIZE,) * 2, model)[0]
        mouth[where] = np.concatenate([mouth_opening(track.mesh) for _, track in tracks])
        eyes[where] = np.concatenate([eye_opening(track.mesh) for _, track in tracks])
        found[where] = np.concatenate([track.confidence > 0 for _, track in tracks])
    return Seen(found, pose, mouth, eyes, pictures, figures)
