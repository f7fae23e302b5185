"""The join of the stages as the package's docstring shows it, and the public names that it is made of."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import thcli
from thcli import (
    GenerateOptions,
    MotionOptions,
    ReferenceOptions,
    load_models,
    predict_curves,
    read_person,
    read_speech,
    render_frames,
)
from thcli.generation.session import Session
from thcli.pipeline.models import Models
from thcli.pipeline.progress import Quiet
from thcli.pipeline.target import DrivenTarget
from thcli.records import FPS, MotionCurves, Person
from thcli.render.frames import TargetRenderer

FRAMES = round(0.4 * FPS)
"""Frames of a video that lasts as long as word.wav."""


@pytest.fixture(scope="module")
def models(theta_weights: Path) -> Models:
    return load_models(theta_weights, device="cpu")


@pytest.fixture(scope="module")
def person(models: Models, inputs: Path) -> Person:
    return read_person(models, inputs / "photo.png")


@pytest.fixture(scope="module")
def curves(models: Models, person: Person, inputs: Path) -> MotionCurves:
    return predict_curves(models, person, read_speech(inputs / "word.wav"))


def frames_of(rendered: Iterator[np.ndarray]) -> np.ndarray:
    return np.stack(list(rendered))


def test_lines_of_the_docstring_give_a_frame_for_every_25th_of_a_second(inputs, tmp_path, monkeypatch):
    """They are run as they stand there, with a clip, whose own sound and motion count."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mp4").symlink_to(inputs / "clip.mp4")
    (tmp_path / "speech.wav").symlink_to(inputs / "word.wav")
    lines = [line.strip() for line in (thcli.__doc__ or "").splitlines() if line.startswith("    ")]
    assert len(lines) == 4 and lines[3].endswith(": ...")
    frames: list[np.ndarray] = []
    code = "\n".join(["from thcli import *", *lines]).replace(": ...", ": frames.append(frame)")
    exec(code, {"frames": frames})
    assert len(frames) == FRAMES
    assert {(frame.shape, frame.dtype) for frame in frames} == {((256, 256, 3), np.dtype(np.uint8))}
    assert np.stack(frames).std(axis=0).max() > 1, "nothing moves"


def test_render_frames_yields_whole_frames_of_a_person_read_with_the_full_frame(models, curves, inputs):
    person = read_person(models, inputs / "photo.png", ReferenceOptions(frame="full"))
    first = next(render_frames(models, person, curves, renderer="warp"))
    assert first.shape == (257, 301, 3)


@pytest.mark.parametrize("renderer", ["network", "warp"])
def test_render_frames_gives_the_frames_of_the_target_renderer(models, person, curves, renderer):
    theta = models.theta if renderer == "network" else None
    target = DrivenTarget(person, models.face_model, curves)
    expected = frames_of(TargetRenderer(models, person, target, theta=theta).frames()).astype(int)
    made = [frames_of(render_frames(models, person, curves, renderer, workers)) for workers in (None, 1, 3)]
    # This process may compute on several threads, which round otherwise.
    assert np.abs(made[0] - expected).max() <= 1 and (made[0] != expected).mean() < 1e-3
    for other in made[1:]:
        np.testing.assert_array_equal(other, made[0])


def test_renderers_differ(models, person, curves):
    network, warp = (next(render_frames(models, person, curves, renderer)) for renderer in ("network", "warp"))
    assert np.abs(network.astype(int) - warp).max() > 2


@pytest.mark.parametrize("given", [{}, {"seed": 3, "blink": "0.4", "frame": "full"}], ids=str)
def test_join_gives_what_a_session_renders_with_the_same_options(models, inputs, given):
    """The video's frames before they are encoded: the same person, the same curves, the same renderer."""
    options = GenerateOptions(renderer="warp", device="cpu", weights=models.weights, **given)
    reference, audio = inputs / "photo.png", inputs / "word.wav"
    job = Session().prepare(reference, audio, options, Quiet())
    with job.forks:
        theirs = np.concatenate(list(job.forks.map(job.renderer.parts)))
    person = read_person(models, reference, options.reference_options)
    curves = predict_curves(models, person, read_speech(audio), options.motion_options)
    for name in ("pose", "expression", "blink"):
        np.testing.assert_array_equal(getattr(curves, name), getattr(job.target.curves, name))
    np.testing.assert_array_equal(frames_of(render_frames(models, person, curves, renderer="warp")), theirs)


def test_predict_curves_follows_its_options(models, person, inputs):
    speech = read_speech(inputs / "word.wav")
    still = predict_curves(models, person, speech, MotionOptions(motion="still", blink="none"))
    moving = predict_curves(models, person, speech, MotionOptions(blink="0.4"))
    assert not still.blink.any() and moving.blink.max() > 0.9
    assert np.abs(still.pose - moving.pose).max() > 1e-3


def test_generate_is_the_function_after_its_package_was_imported():
    """In a process of its own: there, nothing else has imported any of it."""
    lines = (
        "import thcli.generation",
        "from thcli import generate",
        "print(type(generate).__name__, generate.__module__)",
    )
    said = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["function", "thcli.generation"]
