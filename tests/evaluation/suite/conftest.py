"""A small store, a tracker that costs no time, and metrics that can be computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from thcli.clips.audio import read_speech
from thcli.clips.encode import VideoWriter
from thcli.data.store import CROP, SPEECH, TRACK, ClipMeta, StoreWriter, save_track, write_index
from thcli.evaluation.metric import Figure, Metric, Pooled
from thcli.face_model import LANDMARKS_68, FaceModel
from thcli.faces.pose import fit_poses
from thcli.faces.protocol import Detection
from thcli.faces.track import face_boxes
from thcli.pipeline.models import Models
from thcli.records import SAMPLE_RATE, SAMPLES_PER_FRAME, FaceTrack

LENGTH = 92
"""Frames of a clip: 64 that are known, and 28 to draw."""
PERIOD = 20
"""Frames in which the nodding head comes back to the same place."""


def track_of(mesh: np.ndarray, model: FaceModel) -> FaceTrack:
    pose, scale = fit_poses(mesh[:, LANDMARKS_68], (256, 256), model)
    return FaceTrack(
        face_boxes(mesh),
        mesh,
        mesh[:, LANDMARKS_68],
        pose,
        scale,
        np.ones(len(mesh), np.float32),
        (256, 256),
        "known 1",
    )


@pytest.fixture(scope="session")
def store(tmp_path_factory, face_model, portrait_png, speech_wav) -> Path:
    """A store of five clips, each of another person.

    still: split val; nothing moves
    nodding: split val; the face moves up and down and opens the mouth, in ``PERIOD`` frames; the mouth trails by one
    unknown: as nodding, but it is not known whether the sound fits
    short: as nodding, but too short to be drawn
    other: as nodding, but of split train
    """
    from PIL import Image

    root = tmp_path_factory.mktemp("store")
    photo = np.asarray(Image.open(portrait_png).convert("RGB"))
    face = face_model.canonical * np.float32(56) + np.float32([128, 120, 0])
    speech = read_speech(speech_wav)
    still, nodding = np.zeros(LENGTH), np.sin(2 * np.pi * np.arange(LENGTH) / PERIOD)
    for number, (meta, swing) in enumerate(
        (
            (ClipMeta("still", "a", "val", LENGTH, 0), still),
            (ClipMeta("nodding", "b", "val", LENGTH, 1), nodding),
            (ClipMeta("unknown", "c", "val", LENGTH, None), nodding),
            (ClipMeta("short", "d", "val", 80, 0), nodding[:80]),
            (ClipMeta("other", "e", "train", LENGTH, 0), nodding),
        )
    ):
        shift = np.round(5 * swing).astype(int)
        mesh = face + face_model.displacement(np.outer(swing, np.eye(20)[0] * 2).astype(np.float32)) * 56
        mesh[..., 1] += shift[:, None]
        with StoreWriter(root).clip(meta) as folder:
            with VideoWriter(folder / CROP, (256, 256), None, len(swing)) as video:
                for down in shift:
                    video.write(np.roll(photo, down, axis=0))
            part = speech.samples[number * 8000 :][: len(swing) * SAMPLES_PER_FRAME]
            soundfile.write(folder / SPEECH, part, SAMPLE_RATE, subtype="PCM_16")
            save_track(folder / TRACK, track_of(mesh.astype(np.float32), face_model))
    write_index(root)
    return root


class SteadyTracker:
    """It finds the same face in the middle of every frame."""

    name = "steady 1"

    def __init__(self, model: FaceModel) -> None:
        self.face = (model.canonical * np.float32(56) + np.float32([128, 120, 0])).astype(np.float32)

    def detect(self, frame: np.ndarray) -> list[Detection]:
        return [Detection(face_boxes(self.face), 0.9)]

    def mesh(self, frame: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, float]:
        return self.face, 0.9


@pytest.fixture(autouse=True)
def steady(monkeypatch):
    """Rendered videos are tracked by ``SteadyTracker``, which costs no time."""
    monkeypatch.setattr(Models, "tracker", property(lambda models: SteadyTracker(models.face_model)))


def mean_difference(pair, models) -> Figure:
    made, true = (one.frames[:, ::8, ::8].astype(int) for one in (pair.predicted, pair.reference))
    difference = np.abs(made - true)
    return Figure(float(difference.mean()), len(pair))


def brightness(pair, models):
    return tuple(one.frames[:, ::8, ::8].mean((1, 2)).astype(np.float32) for one in (pair.predicted, pair.reference))


def distance_of_means(made, true) -> Figure:
    return Figure(float(np.abs(made.mean(0) - true.mean(0)).max()), len(made))


@pytest.fixture
def metrics(monkeypatch):
    """The suite computes two metrics: the mean difference of some pixels, and, pooled, that of the mean colours."""
    known = (
        Metric("difference", "diff.", "mean absolute difference", "this test", "frames", "lower", mean_difference),
        Metric(
            "colour", "colour", "of mean colours", "this test", "frames", "lower",
            lambda pair, models: distance_of_means(*brightness(pair, models)), Pooled(brightness, distance_of_means),
        ),
    )  # fmt: skip
    monkeypatch.setattr("thcli.evaluation.suite.run.choose_metrics", lambda names: known)
    return known
