"""Fig. 16: head motion from one source, expression from another; each is the same whatever it is combined with.

What is compared is what frames are rendered from: the target's meshes without head pose, and its head poses.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage.data import astronaut

from thcli.clips.audio import read_speech
from thcli.commands.main import main
from thcli.face_model import LANDMARKS_68, FaceModel
from thcli.motion.curves import read_curves, write_curves
from thcli.pipeline import curves as pipeline_curves
from thcli.pipeline.curves import predict_curves, reach_notes, source_notes
from thcli.pipeline.models import Models, load_models
from thcli.pipeline.options import MotionOptions, ReferenceOptions
from thcli.pipeline.person import person_from_track
from thcli.pipeline.target import DrivenTarget
from thcli.records import FPS, WHOLE_CROP, Clip, FaceTrack, MotionCurves, Person, Speech
from thcli.rotations import apply_pose, placement, to_pixels

FRAMES, SIZE, SCALE = 40, (256, 256), 1 / 60
EVERYTHING = slice(None)


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models(device="cpu")


@pytest.fixture(scope="module")
def model(models: Models) -> FaceModel:
    return models.face_model


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
    """The person who is driven: another face than those of the sources, with movements of its own."""
    clip = Clip(np.zeros((FRAMES, 256, 256, 3), np.uint8), Path("made up"))
    return person_from_track(model, clip, moving(model, 0), WHOLE_CROP, None, ReferenceOptions())


@pytest.fixture(scope="module")
def speech(speech_wav: Path) -> Speech:
    """A recording of as many frames as the sources have."""
    return read_speech(speech_wav, 1.0, FRAMES / FPS)


@pytest.fixture
def videos(model: FaceModel, monkeypatch: pytest.MonkeyPatch) -> dict[str, FaceTrack]:
    """The tracks that are found in ``a.mp4`` and ``b.mp4``, which need not be there: tracking is tested elsewhere."""
    tracks = {"a.mp4": moving(model, 1), "b.mp4": moving(model, 2, size=0.6)}

    def track_driver(_: Models, source: str, seconds: float, *__: object) -> FaceTrack:
        assert seconds == FRAMES / FPS
        return tracks[source]

    monkeypatch.setattr(pipeline_curves, "track_driver", track_driver)
    return tracks


@pytest.fixture
def curves(person: Person, speech: Speech, tmp_path: Path) -> dict[str, str]:
    """Curves ``a.csv`` and ``b.csv``, as --save-curves writes them."""
    for seed, name in enumerate("ab"):
        random = np.random.default_rng(seed)
        pose = person.track.pose + 0.02 * random.normal(size=(FRAMES, 6)).astype(np.float32)
        expression = random.normal(size=(FRAMES, 20)).astype(np.float32)
        made = MotionCurves(pose, expression, random.uniform(0, 1, FRAMES).astype(np.float32))
        write_curves(tmp_path / f"{name}.csv", made)
    return {name: str(tmp_path / f"{name}.csv") for name in "ab"}


@pytest.fixture
def driven(models: Models, person: Person, speech: Speech) -> Callable[..., DrivenTarget]:
    """driven(motion, expression, **options): the target of a video."""

    def make(motion: str, expression: str, **given: object) -> DrivenTarget:
        options = MotionOptions(motion=motion, expression=expression, **given)  # type: ignore[arg-type]
        return DrivenTarget(person, models.face_model, predict_curves(models, person, speech, options))

    return make


@pytest.mark.parametrize("expression", ["audio", "a.csv", "a.mp4"])
def test_unposed_meshes_do_not_depend_on_the_source_of_motion(driven, videos, curves, tmp_path, expression):
    source = str(tmp_path / expression) if expression.endswith(".csv") else expression
    motions = ["still", "audio", curves["a"], curves["b"], "a.mp4", "b.mp4"]
    targets = [driven(motion, source) for motion in motions]
    meshes = targets[0].unposed_meshes(EVERYTHING)
    assert np.ptp(meshes, axis=0).max() > 0.01
    for target in targets[1:]:
        np.testing.assert_array_equal(target.unposed_meshes(EVERYTHING), meshes)
    for i, target in enumerate(targets):
        assert all(np.abs(target.pose - other.pose).max() > 1e-3 for other in targets[:i])


@pytest.mark.parametrize("motion", ["still", "audio", "a.csv", "a.mp4"])
def test_head_poses_do_not_depend_on_the_source_of_expression(driven, videos, curves, tmp_path, motion):
    source = str(tmp_path / motion) if motion.endswith(".csv") else motion
    targets = [driven(source, expression) for expression in ("audio", curves["a"], curves["b"], "a.mp4", "b.mp4")]
    for i, target in enumerate(targets):
        np.testing.assert_array_equal(target.pose, targets[0].pose)
        meshes = target.unposed_meshes(EVERYTHING)
        assert all(np.abs(meshes - other.unposed_meshes(EVERYTHING)).max() > 0.01 for other in targets[:i])


def test_source_notes_tell_of_sources_that_end_before_the_speech(curves, portrait_png, speech_wav, tmp_path, ffmpeg):
    """The curves have ``FRAMES`` frames, the video 25; half a second of rest is not worth a note."""
    path = tmp_path / "driver.mkv"
    ffmpeg("-loop", 1, "-r", FPS, "-i", portrait_png, "-t", 1, "-vf", "scale=32:32", path)
    assert source_notes(MotionOptions(), 1000) == ()
    assert source_notes(MotionOptions(motion="still", expression=curves["a"]), FRAMES + 12) == ()
    assert source_notes(MotionOptions(motion=str(path), expression=curves["a"]), FRAMES + 13) == (
        f"--motion {path}: ends after 1.0 of 2.1 s; the head comes to rest there",
        f"--expression {curves['a']}: ends after 1.6 of 2.1 s; the face comes to rest there",
    )
    assert source_notes(MotionOptions(motion=str(portrait_png)), FRAMES) == (
        f"--motion {portrait_png}: ends after 0.0 of 1.6 s; the head comes to rest there",
    )


def test_predict_curves_returns_curves_of_files_unchanged(driven, curves):
    target = driven(curves["a"], curves["b"])
    motion, expression = (read_curves(Path(curves[name])) for name in "ab")
    np.testing.assert_array_equal(target.pose, motion.pose)
    np.testing.assert_allclose(target.curves.expression, expression.expression, atol=1e-6)
    np.testing.assert_array_equal(target.curves.blink, expression.blink)


def test_expression_of_a_video_adds_its_changes_to_the_neutral_mesh(driven, videos, person, model):
    """Without head pose, the change from the median face is the other's, whoever it is and however the head is held."""
    target = driven("still", "a.mp4", blink="none").unposed_meshes(EVERYTHING)
    theirs = videos["a.mp4"].unposed()
    median = np.median(model.expression(theirs), axis=0)
    expected = theirs - (model.canonical + model.displacement(median[None])[0])
    lips = [61, 291, 13, 14, 0, 17, 78, 308, 82, 87]
    np.testing.assert_allclose((target - person.neutral_mesh)[:, lips], expected[:, lips], atol=2e-3)
    assert np.abs(expected[:, lips]).max() > 0.02


def test_motion_of_a_video_is_followed_around_the_persons_own_mean(driven, videos, person):
    """Around where this person holds the head, within what the reference supports, in the other's rhythm."""
    target = driven("b.mp4", "audio")
    made, theirs = (placement(pose.astype(np.float64))[:, :3] for pose in (target.pose, videos["b.mp4"].pose))
    for axis in range(3):
        assert np.corrcoef(made[:, axis], theirs[:, axis])[0, 1] > 0.95
    own = placement(person.track.pose.astype(np.float64))[:, :3]
    assert np.abs(made.mean(0) - own.mean(0)).max() < 0.02


def test_an_exact_video_gives_pose_and_expression_as_they_are(driven, videos, person, model):
    """Whatever the scale at which its track was fitted, which a video of the same framing shares but for noise."""
    exact = videos["a.mp4"] = replace(moving(model, 3, size=4.0), scale=SCALE * 1.02)
    target = driven("a.mp4", "a.mp4", retarget="exact")
    made, theirs = (placement(pose.astype(np.float64)) for pose in (target.pose, exact.pose))
    np.testing.assert_allclose(made[:, :3], theirs[:, :3], atol=1e-6)
    there = (to_pixels(origin[:, 3:], scale, SIZE) for origin, scale in ((made, SCALE), (theirs, exact.scale)))
    np.testing.assert_allclose(*there, atol=1e-3)
    np.testing.assert_allclose(target.curves.expression, model.expression(exact.unposed()), atol=1e-6)
    limited = driven("a.mp4", "a.mp4")
    assert np.abs(limited.pose - target.pose).max() > 0.05
    for made_of, retarget, noted in ((target, "exact", True), (limited, "person", False)):
        notes = reach_notes(person, made_of.curves, MotionOptions(motion="a.mp4", retarget=retarget))
        assert [note.startswith("--retarget exact: in ") for note in notes] == [True] * noted


def test_an_exact_video_of_the_persons_own_movement_is_no_reason_for_a_note(person):
    own = MotionCurves(person.track.pose, np.zeros((FRAMES, 20), np.float32), np.zeros(FRAMES, np.float32))
    assert reach_notes(person, own, MotionOptions(motion="a.mp4", retarget="exact")) == ()


def test_no_note_promises_what_retarget_would_do_for_a_file_of_curves(person):
    """A file's poses are taken as they are; ``--retarget`` is about the video that gives the expression."""
    far = MotionCurves(3 * person.track.pose + 0.5, np.zeros((FRAMES, 20), np.float32), np.zeros(FRAMES, np.float32))
    for motion, noted in (("far.csv", False), ("still", False), ("far.mp4", True)):
        options = MotionOptions(motion=motion, expression="other.mp4", retarget="exact")
        assert bool(reach_notes(person, far, options)) == noted


def test_one_video_drives_both_motion_and_expression(driven, videos):
    """``--motion VIDEO --expression VIDEO``: as motion and as expression from it alone."""
    both = driven("a.mp4", "a.mp4")
    np.testing.assert_array_equal(both.pose, driven("a.mp4", "audio").pose)
    np.testing.assert_array_equal(both.unposed_meshes(EVERYTHING), driven("still", "a.mp4").unposed_meshes(EVERYTHING))
    assert len(both.pose) == FRAMES


def test_generate_command_mixes_saved_curves_of_two_videos(
    tmp_path: Path, speech_wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two videos' curves, mixed both ways, the saved ones have the motion of one and the expression of the other."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(astronaut()[:256, 96:352]).save("photo.png")
    with wave.open(str(speech_wav), "rb") as whole, wave.open("word.wav", "wb") as word:
        word.setparams((1, 2, 16_000, 0, "NONE", ""))
        whole.setpos(16_000)
        word.writeframes(whole.readframes(16_000 // 5))

    def generate(name: str, *arguments: str) -> MotionCurves:
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
