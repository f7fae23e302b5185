"""Measurement of a finished video: it is read back, tracked again, and measured piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import numpy as np

from thcli.clips.decode import stream_frames
from thcli.cropping import crop_frame
from thcli.errors import NoFaceError, WeightsError
from thcli.evaluation.baselines import nearest
from thcli.evaluation.compare import measure
from thcli.evaluation.metric import Figure, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.metrics import blink_rate, csim, jitter, loudness_sync, sharpness
from thcli.evaluation.recording import Pair, Recording
from thcli.evaluation.report.job import FinishedVideo
from thcli.face_model import FaceModel, eye_opening, mouth_opening
from thcli.faces.pose import fit_poses
from thcli.faces.protocol import Tracker
from thcli.faces.track import track_clip
from thcli.pipeline.models import load_models
from thcli.records import CROP_SIZE, FPS, SAMPLES_PER_FRAME, Clip, FaceTrack, Float, Image

PIECE = 10 * FPS
"""Most frames kept in memory and measured at a time; figures are means over such pieces."""
METRICS = (*loudness_sync.METRICS, *jitter.METRICS, *blink_rate.METRICS, sharpness.MOUTH)
"""Metrics of all frames."""
IDENTITY = csim.METRICS
"""Metrics of every ``IDENTITY_STEP``th frame."""
IDENTITY_STEP = 10
"""Distance in frames between those whose identity is measured; it changes slowly, and its network takes longest."""
PICTURES = 12
"""Most frames of the video that a report shows."""


@dataclass(frozen=True)
class MeasuredVideo:
    """Measurements of a finished video.

    found: [T] bool, whether the face was found
    pose: [T, 6], as in ``FaceTrack``
    mouth: [T] opening of the mouth, over the distance of the outer eye corners
    eyes: [T] gap of the lids, over the width of the eye
    pictures: times in seconds, and frames of the video
    figures: figures of ``METRICS`` and ``IDENTITY``, means over the pieces

    Pose, mouth and eyes are NaN in a piece of the video that shows no face.
    """

    found: np.ndarray
    pose: Float
    mouth: Float
    eyes: Float
    pictures: Sequence[tuple[float, Image]]
    figures: Mapping[str, Figure]


def measure_video(job: FinishedVideo, advance: Callable[[int], None]) -> MeasuredVideo:
    """Read, track and measure a job's video, piece by piece; of its frames only curves and landmarks are kept.

    advance: called with the number of frames done since its last call
    """
    frames = len(job.asked)
    shown = set(np.linspace(0, frames - 1, min(PICTURES, frames)).round().astype(int).tolist())
    tracker, stream = load_models().tracker, stream_frames(job.video)
    tracked: list[_Tracked] = []
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
                tracked.append(_Tracked.of(part, piece.track))
            figures.append(measure_piece(piece, job.references))
            advance(len(piece))
    finally:
        stream.close()
    return _joined(frames, tracked, job.model, pictures, pooled(figures))


def pieces(frames: int) -> list[slice]:
    """Return the fewest equal parts of a video that have at most ``PIECE`` frames each."""
    edges = np.linspace(0, frames, -(-frames // PIECE) + 1).round().astype(int).tolist()
    return [slice(first, last) for first, last in pairwise(edges)]


def measure_piece(piece: Recording, references: Recording) -> dict[str, Figure]:
    """Compute the figures of a piece; comparisons are with the reference frames nearest in pose and lips."""
    if piece.track is None or references.track is None:
        return {metric.name: not_computed("no face found") for metric in METRICS + IDENTITY}
    pair = Pair(piece, references.select(nearest(references.track, piece.track)))
    some = slice(0, len(pair), IDENTITY_STEP)
    few = Pair(pair.predicted.select(some), pair.reference.select(some))
    try:
        identity = measure(few, IDENTITY, MetricModels())
    except WeightsError as error:  # a wrong file in the user's cache does not spoil a report
        identity = {metric.name: not_computed(str(error)) for metric in IDENTITY}
    return measure(pair, METRICS, MetricModels()) | identity


def pooled(parts: Sequence[Mapping[str, Figure]]) -> dict[str, Figure]:
    """Compute means over the pieces, weighted with the counts of their figures."""
    return {name: _mean([part[name] for part in parts]) for name in parts[0]}


def _mean(figures: Sequence[Figure]) -> Figure:
    known = [(figure.value, max(figure.count, 1)) for figure in figures if figure.value is not None]
    if not known:
        return figures[0]
    values, counts = zip(*known, strict=True)
    model = next((figure.model for figure in figures if figure.model), "")
    return Figure(float(np.average(values, weights=counts)), sum(counts), model)


def _recording(crops: Image, part: slice, job: FinishedVideo, tracker: Tracker) -> Recording:
    """Return a piece of the video as a recording, with its track and its part of the audio."""
    try:
        track: FaceTrack | None = track_clip(Clip(crops, job.video), tracker, job.model)
    except NoFaceError:
        track = None
    samples = job.speech.samples[part.start * SAMPLES_PER_FRAME : part.stop * SAMPLES_PER_FRAME]
    return Recording(job.video.name, crops, track, replace(job.speech, samples=samples))


@dataclass(frozen=True)
class _Tracked:
    """What is kept of the track of a piece of n frames.

    part: the piece
    landmarks: [n, 68, 3] float32, px of the crop
    mouth, eyes: [n] float32, openings as ``face_model`` measures them
    found: [n] bool, whether the face was found
    """

    part: slice
    landmarks: Float
    mouth: Float
    eyes: Float
    found: np.ndarray

    @classmethod
    def of(cls, part: slice, track: FaceTrack) -> _Tracked:
        """Take from a track what is kept."""
        return cls(part, track.landmarks, mouth_opening(track.mesh), eye_opening(track.mesh), track.confidence > 0)


def _joined(
    frames: int,
    tracked: Sequence[_Tracked],
    model: FaceModel,
    pictures: Sequence[tuple[float, Image]],
    figures: Mapping[str, Figure],
) -> MeasuredVideo:
    """Join the tracks of the pieces to curves of the whole video; poses are fitted again with one scale for all."""
    pose, mouth, eyes = (np.full((frames, *width), np.nan, np.float32) for width in ((6,), (), ()))
    found = np.zeros(frames, bool)
    for piece in tracked:
        mouth[piece.part], eyes[piece.part], found[piece.part] = piece.mouth, piece.eyes, piece.found
    if tracked:
        where = np.concatenate([np.arange(piece.part.start, piece.part.stop) for piece in tracked])
        pose[where] = fit_poses(np.concatenate([piece.landmarks for piece in tracked]), (CROP_SIZE,) * 2, model)[0]
    return MeasuredVideo(found, pose, mouth, eyes, pictures, figures)
