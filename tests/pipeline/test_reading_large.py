"""Frames larger than what is made of them are read reduced, unless the face would be too small, or they are shown.

The videos are real and small; the limits, which are made for videos of 4K, are lowered to suit them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.audio import read_speech
from thcli.pipeline import person
from thcli.pipeline.curves import predict_curves
from thcli.pipeline.models import Models, load_models
from thcli.pipeline.options import GenerateOptions, MotionOptions, ReferenceOptions
from thcli.pipeline.person import length_warnings, read_face, read_person
from thcli.records import FPS, Clip, CropBox

SIZE, FRAMES = (960, 540), 10
FRAME_BYTES = SIZE[0] * SIZE[1] * 3


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models(device="cpu")


@pytest.fixture(scope="module")
def large(portrait_png: Path, tmp_path_factory: pytest.TempPathFactory, ffmpeg: Callable[..., None]) -> Path:
    """A video of 960x540 pixels and ten frames, in which head and shoulders are 395 pixels wide; the head turns."""
    path = tmp_path_factory.mktemp("large") / "large.mp4"
    moving = "scale=540:540,pad=960:540:210:0,rotate=0.03*sin(6*t)"
    still = ["-loop", 1, "-r", FPS, "-i", portrait_png]
    ffmpeg(*still, "-t", FRAMES / FPS, "-vf", moving, "-pix_fmt", "yuv420p", path)
    return path


@pytest.fixture
def read(models: Models, large: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Clip, CropBox]]:
    """read(longest, most frames, options): the large video with frames reduced to ``longest`` px where they may be.

    most frames: in the video's own size, as many as are held at a time
    """

    def run(longest: int, most: float = FRAMES, **options: object) -> tuple[Clip, CropBox]:
        monkeypatch.setattr(person, "REDUCED", longest)
        monkeypatch.setattr(person, "MAX_BYTES", most * FRAME_BYTES)
        given = GenerateOptions(**options).reference_options  # type: ignore[arg-type]
        clip, track, box = read_face(models, large, given, FRAMES / FPS)
        assert len(track) == len(clip) and track.size == (256, 256)
        return clip, box

    return run


def width_of(clip: Clip) -> int:
    assert clip.frames.shape[2] * SIZE[1] == clip.frames.shape[1] * SIZE[0]
    return clip.frames.shape[2]


def test_read_face_reduces_large_frames_and_reads_their_full_length(read) -> None:
    clip, box = read(640, most=5)
    assert (width_of(clip), len(clip)) == (640, FRAMES)
    assert 256 <= box.side < 300


def test_limits_hold_four_seconds_of_4k_reduced_to_1920() -> None:
    assert person.REDUCED == 1920
    assert 1920 * 1080 * 3 * person.REFERENCE_SECONDS * FPS <= person.MAX_BYTES


def test_read_face_reads_a_small_face_again_in_its_own_size_and_fewer_seconds(read) -> None:
    clip, box = read(400, most=5)
    assert (width_of(clip), len(clip)) == (SIZE[0], 5)
    assert box.side > 256


def test_read_face_reads_again_where_the_crop_is_to_be_larger(read) -> None:
    assert width_of(read(640, size="512")[0]) == SIZE[0]


@pytest.mark.parametrize("options", [{"frame": "full"}, {"size": "source"}, {"face": "285,49,395,395"}], ids=str)
def test_read_face_keeps_frames_that_are_shown_or_pointed_into(read, options) -> None:
    clip, box = read(640, **options)
    assert width_of(clip) == SIZE[0] and 390 <= box.side <= 400


def test_length_warnings_name_the_seconds_of_large_frames_that_are_used(models, large, monkeypatch) -> None:
    whole = read_person(models, large, ReferenceOptions(frame="full"))
    assert length_warnings(whole) == ()
    monkeypatch.setattr(person, "MAX_BYTES", 5 * FRAME_BYTES)
    assert length_warnings(read_person(models, large, ReferenceOptions(frame="full"))) == (
        "0.2 of 4 s of the reference are used, which is what is held in memory at 960x540 pixels; reduce it",
    )


def test_read_face_keeps_frames_up_to_the_limit(read) -> None:
    clip, box = read(SIZE[0])
    assert (width_of(clip), len(clip)) == (SIZE[0], FRAMES) and 390 <= box.side <= 400


@pytest.mark.parametrize("source", ["motion", "expression"])
def test_predict_curves_follows_a_large_driving_video_for_the_whole_speech(
    models, large, portrait_png, say, tmp_path, monkeypatch, source
) -> None:
    """Fewer seconds of a large video do for references alone: a driven head would come to rest in mid-speech."""
    photo, speech = read_person(models, portrait_png), read_speech(say(tmp_path / "word.wav", FRAMES / FPS))
    options = MotionOptions(**{source: str(large)})
    whole = predict_curves(models, photo, speech, options)
    assert len(whole) == FRAMES
    monkeypatch.setattr(person, "MAX_BYTES", 5 * FRAME_BYTES)
    limited = predict_curves(models, photo, speech, options)
    for name in ("pose", "expression", "blink"):
        np.testing.assert_array_equal(getattr(limited, name), getattr(whole, name))
