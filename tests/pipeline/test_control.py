"""Fig. 16: head motion from one source, expression from another; each is the same wherever it is combined.

What is compared is what the picture is drawn from: the target's de-posed faces and its head poses.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage.data import astronaut

from thcli.checkpoints import shipped_weights
from thcli.clips.audio import read_speech
from thcli.commands.main import main
from thcli.face_model import LANDMARKS_68, FaceModel
from thcli.faces.crop import CropBox
from thcli.faces.pose import deposed, to_pixels
from thcli.motion.curves import read_curves, write_curves
from thcli.pipeline import GenerateOptions
from thcli.pipeline import curves as driving
from thcli.pipeline.curves import make_drive
from thcli.pipeline.person import Person, person_of
from thcli.pipeline.target import Driven
from thcli.records import FPS, Clip, Drive, FaceTrack, Speech
from thcli.rotations import apply_pose, placement

FRAMES, SIZE, SCALE = 40, (256, 256), 1 / 60
EVERYTHING = slice(None)


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load(shipped_weights() / "face_model.safetensors")


def moving(model: FaceModel, seed: int, size: float = 1.0, frames: int = FRAMES) -> FaceTrack:
    """A face that turns a few degrees and talks, each seed in its own way."""
    random = np.random.default_rng(seed)
    time = np.arange(frames)[:, None] / frames * 2 * np.pi
    turns = np.sin(time * random.integers(1, 4, 6) + random.uniform(0, 6, 6)) * [0.05, 0.08, 0.03, 0.02, 0.02, 0.0]
    says = np.sin(time * random.integers(2, 6, 20) + random.uniform(0, 6, 20)) * random.uniform(0.2, 0.8, 20)
    pose = placement(size * turns).astype(np.float32)
    faces = model.canonical + model.displacement(says.astype(np.float32))
    mesh = to_pixels(apply_pose(faces, pose), SCALE, SIZE).astype(np.float32)
    box, ones = np.tile(np.float32([60, 60, 200, 200]), (frames, 1)), np.ones(frames, np.float32)
    return FaceTrack(box, mesh, mesh[:, LANDMARKS_68], pose, SCALE, ones, SIZE, "made up")


@pytest.fixture(scope="module")
def person(model: FaceModel) -> Person:
    """Who is driven: another face than those of the sources, with movements of its own."""
    clip = Clip(np.zeros((FRAMES, 256, 256, 3), np.uint8), Path("made up"))
    return person_of(clip, moving(model, 0), CropBox(0, 0, 256), None, GenerateOptions())


@pytest.fixture(scope="module")
def speech(speech_wav: Path) -> Speech:
    """Of as many frames as the sources have."""
    return read_speech(speech_wav, 1.0, FRAMES / FPS)


@pytest.fixture
def videos(model: FaceModel, monkeypatch: pytest.MonkeyPatch) -> dict[str, FaceTrack]:
    """Faces of the videos ``a.mp4`` and ``b.mp4``."""
    tracks = {"a.mp4": moving(model, 1), "b.mp4": moving(model, 2, size=0.6)}
    monkeypatch.setattr(driving, "read_face", lambda path, *_: (None, tracks[path.name], None))
    return tracks


@pytest.fixture
def curves(person: Person, speech: Speech, tmp_path: Path) -> dict[str, str]:
    """Curves ``a.csv`` and ``b.csv``, as --save-curves writes them."""
    for seed, name in enumerate("ab"):
        random = np.random.default_rng(seed)
        pose = person.track.pose + 0.02 * random.normal(size=(FRAMES, 6)).astype(np.float32)
        expression = random.normal(size=(FRAMES, 20)).astype(np.float32)
        drive = Drive(pose, expression, random.uniform(0, 1, FRAMES).astype(np.float32))
        write_curves(tmp_path / f"{name}.csv", drive)
    return {name: str(tmp_path / f"{name}.csv") for name in "ab"}


Drives = Callable[..., Driven]


@pytest.fixture
def driven(person: Person, speech: Speech) -> Drives:
    """driven(motion, expression, **options): the target of a video."""

    def make(motion: str, expression: str, **given: object) -> Driven:
        options = GenerateOptions(motion=motion, expression=expression, device="cpu", **given)  # type: ignore[arg-type]
        return Driven(person, make_drive(person, speech, options, "cpu"))

    return make


@pytest.mark.parametrize("expression", ["audio", "a.csv", "a.mp4"])
def test_same_expression_with_other_motion(driven, videos, curves, tmp_path, expression):
    source = str(tmp_path / expression) if expression.endswith(".csv") else expression
    motions = ["still", "audio", curves["a"], curves["b"], "a.mp4", "b.mp4"]
    targets = [driven(motion, source) for motion in motions]
    faces = targets[0].faces(EVERYTHING)
    assert np.ptp(faces, axis=0).max() > 0.01
    for target in targets[1:]:
        np.testing.assert_array_equal(target.faces(EVERYTHING), faces)
    for i, target in enumerate(targets):
        assert all(np.abs(target.pose - other.pose).max() > 1e-3 for other in targets[:i])


@pytest.mark.parametrize("motion", ["still", "audio", "a.csv", "a.mp4"])
def test_same_motion_with_other_expression(driven, videos, curves, tmp_path, motion):
    source = str(tmp_path / motion) if motion.endswith(".csv") else motion
    targets = [driven(source, expression) for expression in ("audio", curves["a"], curves["b"], "a.mp4", "b.mp4")]
    for i, target in enumerate(targets):
        np.testing.assert_array_equal(target.pose, targets[0].pose)
        faces = target.faces(EVERYTHING)
        assert all(np.abs(faces - other.faces(EVERYTHING)).max() > 0.01 for other in targets[:i])


def test_curves_are_followed_to_the_bit(driven, curves):
    target = driven(curves["a"], curves["b"])
    motion, expression = (read_curves(Path(curves[name])) for name in "ab")
    np.testing.assert_array_equal(target.pose, motion.pose)
    np.testing.assert_allclose(target.drive.expression, expression.expression, atol=1e-6)
    np.testing.assert_array_equal(target.drive.blink, expression.blink)


def test_expression_of_a_video_moves_this_face_as_it_moves_the_other(driven, videos, person, model):
    """De-posed, the change from the usual face is the other's; whose head it is and how it is held do not matter."""
    target = driven("still", "a.mp4", blink="none").faces(EVERYTHING)
    theirs = deposed(videos["a.mp4"])
    usual = np.median(model.expression(theirs), axis=0)
    expected = theirs - (model.canonical + model.displacement(usual[None])[0])
    lips = [61, 291, 13, 14, 0, 17, 78, 308, 82, 87]
    np.testing.assert_allclose((target - person.neutral)[:, lips], expected[:, lips], atol=2e-3)
    assert np.abs(expected[:, lips]).max() > 0.02


def test_motion_of_a_video_turns_this_head_as_the_other_turns(driven, videos, person):
    """Around where this person holds the head, within what the reference supports, in the other's rhythm."""
    target = driven("b.mp4", "audio")
    made, theirs = (placement(pose.astype(np.float64))[:, :3] for pose in (target.pose, videos["b.mp4"].pose))
    for axis in range(3):
        assert np.corrcoef(made[:, axis], theirs[:, axis])[0, 1] > 0.95
    own = placement(person.track.pose.astype(np.float64))[:, :3]
    assert np.abs(made.mean(0) - own.mean(0)).max() < 0.02


def test_landmarks_of_one_video_drive_head_and_face(driven, videos):
    """``--motion VIDEO --expression VIDEO``: as motion and as expression from it alone."""
    both = driven("a.mp4", "a.mp4")
    np.testing.assert_array_equal(both.pose, driven("a.mp4", "audio").pose)
    np.testing.assert_array_equal(both.faces(EVERYTHING), driven("still", "a.mp4").faces(EVERYTHING))
    assert len(both.pose) == FRAMES


def test_through_the_command(tmp_path: Path, speech_wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two videos' curves, mixed both ways: what lies on disk then is motion of the one, expression of the other."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(astronaut()[:256, 96:352]).save("photo.png")
    with wave.open(str(speech_wav), "rb") as whole, wave.open("word.wav", "wb") as word:
        word.setparams((1, 2, 16_000, 0, "NONE", ""))
        whole.setpos(16_000)
        word.writeframes(whole.readframes(16_000 // 5))

    def generate(name: str, *arguments: str) -> Drive:
        given = ["--ref", "photo.png", "--audio", "word.wav", "-o", f"{name}.mp4", "--save-curves", f"{name}.csv"]
        said = CliRunner().invoke(main, ["generate", *given, "--device", "cpu", *arguments])
        assert said.exit_code == 0, said.stderr
        return read_curves(Path(f"{name}.csv"))

    a, b = generate("a", "--seed", "1", "--blink", "0.35"), generate("b", "--seed", "2", "--expression-scale", "2")
    ab = generate("ab", "--motion", "a.csv", "--expression", "b.csv")
    ba = generate("ba", "--motion", "b.csv", "--expression", "a.csv")
    for motion, expression, mixed in ((a, b, ab), (b, a, ba)):
        np.testing.assert_array_equal(mixed.pose, motion.pose)
        np.testing.assert_array_equal(mixed.blink, expression.blink)
        np.testing.assert_allclose(mixed.expression, expression.expression, atol=1e-6)
    assert not np.array_equal(a.pose, b.pose) and not np.allclose(a.expression, b.expression, atol=1e-3)
