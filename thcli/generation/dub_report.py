"""Report on a dubbed video (``--report``): that of any video, and how far the picture is the source's elsewhere."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from thcli.clips.decode import frame_count
from thcli.clips.probe import probe
from thcli.clips.timed import stream_stored
from thcli.cropping import crop_frame
from thcli.evaluation.recording import Recording
from thcli.evaluation.report.job import FinishedVideo
from thcli.face_model import LANDMARKS_68, mouth_opening
from thcli.faces.crop import head_crop
from thcli.faces.pose import fit_poses
from thcli.faces.track import face_boxes, track_in_crop
from thcli.generation.report import write_report_of
from thcli.inspection.measure import measure_clip, measure_speech
from thcli.pipeline.drawers import Changed
from thcli.pipeline.dub import Dubbing
from thcli.pipeline.mouths import choose_mouths
from thcli.pipeline.progress import Progress
from thcli.pipeline.timeline import in_order
from thcli.records import FPS, SAMPLE_RATE, CropBox, FaceTrack, Float, Speech

MEASURED = 300
"""Most frames of the person that a report measures as its reference."""
PICTURES = 8
"""Most frames of the video that stand for the person in a report."""


def report_on_dub(
    video: Path,
    path: Path,
    dubbing: Dubbing,
    speech: Speech,
    clipped: float,
    changed: list[Changed | None],
    record: dict[str, Any],
    progress: Progress,
) -> tuple[str, ...]:
    """Write the report of a dubbed video and add its figures to the video's sidecar; return its warnings.

    video: file of the video
    path: file to write the report to
    clipped: share of the speech file's samples at full scale
    changed: part of each frame that was drawn anew
    record: content of the sidecar
    """
    outside = change_outside(video, dubbing, changed)
    said = f"outside the lower face the picture differs from the source by {outside:.2f} of 255 on average, by encoding"
    record = {**record, "change_outside": round(outside, 4), "notes": [*record.get("notes", []), said]}
    box, track = _reference(dubbing)
    sound = _placed(speech, dubbing)
    job = FinishedVideo(
        video=video,
        box=box,
        model=dubbing.targets.model,
        track=track,
        clip_stats=measure_clip(track, box, dubbing.targets.footage.size),
        references=_pictures(dubbing, box, track),
        speech=sound,
        sound=measure_speech(sound, clipped),
        asked=asked_opening(dubbing),
        record=record,
    )
    return write_report_of(job, path, progress)


def change_outside(video: Path, dubbing: Dubbing, changed: list[Changed | None]) -> float:
    """Return the mean absolute difference, of 255, of a dubbed video from its source where nothing was drawn anew."""
    total, count = 0.0, 0
    footage, line = dubbing.targets.footage, dubbing.line
    with closing(stream_stored(dubbing.info)) as source, closing(stream_stored(probe(video))) as made:
        for mine, there, what in zip(in_order(source, line, footage), made, changed, strict=False):
            difference = np.abs(mine.y.astype(np.int16) - there.frame.y)
            if what is not None:
                top, left = max(what.top, 0), max(what.left, 0)
                difference[top : what.top + what.height, left : what.left + what.width] = 0
                inside = difference[top : what.top + what.height, left : what.left + what.width].size
            else:
                inside = 0
            total += float(difference.sum(dtype=np.int64)) / mine.colours.step
            count += difference.size - inside
    return total / max(count, 1)


def asked_opening(dubbing: Dubbing) -> Float:
    """Return the mouth opening [T] at 25 fps that was asked for; where nothing is drawn, the one that was filmed."""
    targets, model = dubbing.targets, dubbing.targets.model
    frames = frame_count(dubbing.seconds)
    shown = targets.line.shown_at(np.arange(frames) / FPS, targets.footage.unit)
    expression = targets.expression(shown)
    filmed = targets.face.expression[targets.line.source[shown]]
    expression = np.where(targets.weight[shown, None] > 0, expression, np.nan_to_num(filmed))
    opening = [
        mouth_opening(targets.face.neutral_mesh + model.displacement(part - targets.face.median_expression))
        for part in np.array_split(expression, max(1, len(expression) // 500))
    ]
    return np.concatenate(opening).astype(np.float32)


def _reference(dubbing: Dubbing) -> tuple[CropBox, FaceTrack]:
    """Return a square that holds the face wherever it is measured, and the face in px of it."""
    footage, face = dubbing.targets.footage, dubbing.targets.face
    some = face.sampled[np.linspace(0, len(face.sampled) - 1, min(len(face.sampled), MEASURED)).round().astype(int)]
    track = _filmed_track(dubbing, some)
    box = head_crop(track.box, footage.size)
    return box, track_in_crop(track, box, dubbing.targets.model)


def _pictures(dubbing: Dubbing, box: CropBox, track: FaceTrack) -> Recording:
    """Return a few filmed frames of the person, in the square of the report."""
    footage, face = dubbing.targets.footage, dubbing.targets.face
    frames = face.sampled[choose_mouths(footage, face, PICTURES)]
    whole = _filmed_track(dubbing, frames)
    even = CropBox(box.x0 // 2 * 2, box.y0 // 2 * 2, box.side // 2 * 2)
    with closing(stream_stored(dubbing.info, only=frames.tolist())) as stream:
        images = np.stack([crop_frame(one.frame.image(even), CropBox(0, 0, even.side)) for one in stream])
    return Recording("reference", images, track_in_crop(whole, even, dubbing.targets.model), None)


def _filmed_track(dubbing: Dubbing, frames: np.ndarray) -> FaceTrack:
    """Return the track of the filmed face in some frames, px of the frame."""
    footage = dubbing.targets.footage
    mesh = np.concatenate([footage.meshes(t, t + 1) for t in frames])
    pose, scale = fit_poses(mesh[:, LANDMARKS_68], footage.size, dubbing.targets.model)
    box, landmarks, confidence = face_boxes(mesh), mesh[:, LANDMARKS_68], footage.confidence[frames]
    return FaceTrack(box, mesh, landmarks, pose, scale, confidence, footage.size, footage.tracker)


def _placed(speech: Speech, dubbing: Dubbing) -> Speech:
    """Return the speech where it stands in the video, with silence around it."""
    samples = np.zeros(max(round(dubbing.seconds * SAMPLE_RATE), 1), np.float32)
    first = min(round(dubbing.targets.begin * SAMPLE_RATE), len(samples))
    end = min(first + len(speech.samples), len(samples))
    samples[first:end] = speech.samples[: end - first]
    return replace(speech, samples=samples)
