"""Videos are tracked as a stream: whatever their length, one frame is held at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from thcli.clips.decode import read_clip
from thcli.errors import MediaError, NoFaceError
from thcli.faces.protocol import Detection
from thcli.faces.track import face_boxes, track_clip
from thcli.pipeline import tracking
from thcli.pipeline.models import Models, load_models
from thcli.pipeline.tracking import track_driver, track_video
from thcli.records import FPS, CropBox, Image

Make = Callable[[str, float], Path]


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models(device="cpu")


@pytest.fixture
def bars(tmp_path: Path, ffmpeg: Callable[..., None]) -> Make:
    """bars(name, seconds): a video of 160x120 pixels that shows no face."""

    def make(name: str, seconds: float) -> Path:
        ffmpeg("-f", "lavfi", "-i", f"testsrc=size=160x120:rate=25:duration={seconds}", tmp_path / name)
        return tmp_path / name

    return make


class CountingTracker:
    """It finds the same face in every frame up to ``last``, and counts the frames that are in memory at a time."""

    name = "counting 1"

    def __init__(self, models: Models, last: int) -> None:
        self.last, self.seen, self.alive, self.most = last, 0, 0, 0
        self.frame: Callable[[], Image | None] = lambda: None
        middle = np.array([80, 60, 0], np.float32)
        self.face = (models.face_model.canonical * np.float32(26) + middle).astype(np.float32)

    def detect(self, frame: Image) -> list[Detection]:
        return [Detection(face_boxes(self.face), 0.9)] if self.seen <= self.last else []

    def mesh(self, frame: Image, prior: np.ndarray) -> tuple[np.ndarray, float]:
        if self.frame() is not frame:  # the first one is looked at several times
            self.frame, self.seen, self.alive = weakref.ref(frame), self.seen + 1, self.alive + 1
            self.most = max(self.most, self.alive)
            weakref.finalize(frame, self._gone)
        return self.face, 0.9 if self.seen <= self.last else 0.0

    def _gone(self) -> None:
        self.alive -= 1


@pytest.fixture
def counting(models: Models, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], CountingTracker]:
    """counting(last=1000): every tracker is a ``CountingTracker`` from now on."""

    def make(last: int = 1000) -> CountingTracker:
        tracker = CountingTracker(models, last)
        monkeypatch.setattr(Models, "tracker", property(lambda _: tracker))
        return tracker

    return make


def test_track_video_holds_few_frames_at_a_time(models, bars, counting) -> None:
    tracker = counting()
    assert len(track_video(models, bars("a.mkv", 4.0))) == 4 * FPS
    assert tracker.seen == 4 * FPS and tracker.most <= 3


def test_track_video_gives_the_track_of_the_frames_in_memory(models, portrait_png, tmp_path, ffmpeg) -> None:
    path, still = tmp_path / "a.mp4", ["-loop", 1, "-r", FPS, "-i", portrait_png]
    ffmpeg(*still, "-t", 0.4, "-vf", "rotate=0.03*sin(9*t)", "-pix_fmt", "yuv420p", path)
    streamed = track_video(models, path, 0.08, 0.2, 200)
    held = track_clip(read_clip(path, 0.08, 0.2, 200), models.tracker, models.face_model)
    assert (len(streamed), streamed.size) == (5, (200, 200))
    for name in ("mesh", "pose", "confidence"):
        np.testing.assert_array_equal(getattr(streamed, name), getattr(held, name))


def test_track_driver_ends_with_the_video_or_after_the_seconds_asked_for(models, bars, counting) -> None:
    counting()
    path = bars("a.mkv", 0.4)
    assert len(track_driver(models, path, 5.0)) == 10
    assert len(track_driver(models, path, 0.2)) == 5


def test_track_driver_names_where_the_face_is_lost_and_what_applies_to_a_driving_video(models, bars, counting) -> None:
    path = bars("a.mkv", 2.0)
    counting(last=25)
    with pytest.raises(NoFaceError) as error:
        track_driver(models, path, 5.0)
    assert str(error.value) == (
        f"{path}: no face from frame 25 (1.0 s) on, and at most 12 frames can be bridged; "
        "cut it to a part that shows one face all the time"
    )


@pytest.mark.parametrize(
    ("size", "box"), [((800, 600), CropBox(200, 50, 400)), ((400, 300), CropBox(100, 25, 200)), ((500, 300), None)]
)
def test_track_driver_tracks_in_the_crop_of_a_person_of_the_same_framing(
    models, bars, counting, monkeypatch, size, box
) -> None:
    """Else the same pose would be another place in the picture."""
    video, tracker = bars("v.mp4", 0.4), counting()
    own = track_video(models, video)
    monkeypatch.setattr(tracking, "track_video", lambda *_: replace(own, size=size))
    person = SimpleNamespace(box=CropBox(200, 50, 400), frame_size=(800, 600))
    if box is None:
        with pytest.raises(MediaError) as caught:
            track_driver(models, video, 0.4, framed_as=person)
        assert str(caught.value) == (
            f"{video}: frames of 500x300, expected the shape of the reference's, 800x600, for --retarget exact; "
            "use --retarget person"
        )
        return
    made = track_driver(models, video, 0.4, framed_as=person)
    np.testing.assert_allclose(made.mesh, box.to_crop(own.mesh), atol=1e-4)
    assert tracker.most <= 3
