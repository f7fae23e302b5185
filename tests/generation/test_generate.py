"""From a photo, or a clip made of one, and a synthetic voice to a video: with the tracker and the weights that ship."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pygltflib import GLTF2

from thcli import GenerateOptions, generate
from thcli.checkpoints import sha256
from thcli.clips.decode import read_clip
from thcli.clips.probe import probe
from thcli.generation.checks import plan
from thcli.motion.curves import read_curves


@pytest.fixture
def make(inputs, tmp_path):
    """make(reference, sound, **options): the decoded frames of a new video."""
    count = iter(range(100))

    def run(reference="photo.png", sound="word.wav", **options):
        output = tmp_path / f"{next(count)}.mp4"
        generate(inputs / reference, inputs / sound, output, GenerateOptions(device="cpu", **options))
        return read_clip(output).frames

    return run


def files(folder: Path) -> set[str]:
    """The names of all that is in a folder."""
    return {path.name for path in folder.iterdir()}


class Watched:
    """Progress that remembers the stages and counts the frames."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.done = 0

    def stage(self, name, total):
        self.stages.append((name, total))

    def advance(self, frames=1):
        self.done += frames


def test_generate_makes_video_sidecar_and_progress_from_a_photo(inputs, tmp_path):
    output, watched = tmp_path / "out.mp4", Watched()
    options = GenerateOptions(device="cpu", seed=3, motion_scale=0.5)
    result = generate(inputs / "photo.png", inputs / "second.wav", output, options, watched)
    assert (result.output, result.frames, result.size, result.device) == (output, 25, (256, 256), "cpu")
    assert files(tmp_path) == {"out.mp4", "out.mp4.json"}
    video = read_clip(output)
    assert video.frames.shape == (25, 256, 256, 3)
    seen = probe(output)
    assert seen.audio and seen.fps == 25 and seen.duration == pytest.approx(1, abs=0.05)
    assert watched.stages == [("listen", None), ("track", None), ("move", None), ("draw", 25)]
    assert watched.done == 25
    assert video.frames.std() > 20
    steps = np.abs(np.diff(video.frames.astype(int), axis=0)).mean((1, 2, 3))
    assert 0 < steps.max() < 8

    sidecar = json.loads((tmp_path / "out.mp4.json").read_text())
    assert sidecar["synthetic"] and sidecar["digital_source_type"] == "trainedAlgorithmicMedia"
    assert set(sidecar["options"]) == {field.name for field in fields(GenerateOptions)} - {"key"}
    assert (sidecar["options"]["seed"], sidecar["options"]["motion_scale"]) == (3, 0.5)
    for name, file in (("ref", "photo.png"), ("audio", "second.wav")):
        assert sidecar["inputs"][name] == {"path": str(inputs / file), "sha256": sha256(inputs / file)}
    assert {"face_model.safetensors", "expression.safetensors", "unprojection.onnx"} <= set(sidecar["weights"])
    assert set(sidecar["seconds"]) == {"listen", "track", "move", "draw"} == set(result.seconds)
    assert (sidecar["frames"], sidecar["size"], sidecar["device"]) == (25, [256, 256], "cpu")
    assert sidecar["frames_per_second"] > 0
    assert b"trainedAlgorithmicMedia" in output.read_bytes()


def test_generate_makes_the_same_frames_from_the_same_seed_alone(make):
    first = make(seed=1)
    assert len(first) == 10
    assert first.tobytes() == make(seed=1).tobytes()
    assert first.tobytes() != make(seed=2).tobytes()


def test_full_frame_keeps_the_photo_s_size_and_its_corners(inputs, make, tmp_path):
    made = make(frame="full")
    assert made.shape == (10, 258, 302, 3)  # even sides
    photo = np.asarray(Image.open(inputs / "photo.png"))
    assert json.loads((tmp_path / "0.mp4.json").read_text())["size"] == [301, 257]
    # Nothing moves in the corners; the encoder alone makes a difference.
    for rows, columns in ((slice(-40, None), slice(0, 12)), (slice(-40, None), slice(-12, None))):
        difference = made[:, :257, :301].astype(int)[:, rows, columns] - photo[rows, columns]
        assert np.abs(difference).mean() < 8


def test_generate_goes_on_from_the_last_frame_of_a_clip(make, inputs, tmp_path):
    made = make("clip.mp4", "word.wav", references=3)
    assert made.shape == (10, 256, 256, 3)
    # The same person in the same place: the first frame follows the clip's last one.
    last = read_clip(inputs / "clip.mp4").frames[-1]
    assert np.abs(made[0].astype(int) - last).mean() < 12
    assert json.loads((tmp_path / "0.mp4.json").read_text())["inputs"]["ref"]["path"].endswith("clip.mp4")


def test_generate_takes_one_reference_and_more_than_there_are(make):
    for references in (1, 32):
        assert make("clip.mp4", references=references).shape == (10, 256, 256, 3)


def test_still_motion_moves_far_less_than_motion_from_audio(make):
    still, moving = (make(motion=motion, expression_scale=0.0, blink="none", seed=5) for motion in ("still", "audio"))

    def unrest(frames):
        return np.abs(np.diff(frames.astype(int), axis=0)).mean()

    assert unrest(still) < 0.5
    assert unrest(moving) > 2 * unrest(still)


def test_still_motion_does_not_depend_on_the_seed(make):
    given = {"motion": "still", "blink": "none"}
    assert make(seed=1, **given).tobytes() == make(seed=2, **given).tobytes()


def test_saved_curves_given_back_make_the_same_video(make, tmp_path):
    curves = tmp_path / "curves.csv"
    first = make("clip.mp4", seed=4, blink="0.35", save_curves=curves)
    drive = read_curves(curves)
    assert len(drive) == 10
    again = tmp_path / "again.csv"
    given = str(curves)
    second = make("clip.mp4", seed=99, motion=given, expression=given, save_curves=again)
    assert again.read_bytes() == curves.read_bytes()
    assert first.tobytes() == second.tobytes()


def test_generate_moves_head_and_face_as_another_video_does(make, inputs, tmp_path):
    clip = str(inputs / "clip.mp4")
    made = make(motion=clip, expression=clip, save_curves=tmp_path / "curves.csv", mesh=tmp_path / "mesh.glb")
    assert made.shape == (10, 256, 256, 3)
    mesh = GLTF2.load_from_bytes((tmp_path / "mesh.glb").read_bytes())
    assert mesh.accessors[mesh.animations[0].samplers[0].input].count == 10
    drive = read_curves(tmp_path / "curves.csv")
    assert np.ptp(drive.pose, axis=0).max() > 0 and np.ptp(drive.expression, axis=0).max() > 0
    sidecar = json.loads((tmp_path / "0.mp4.json").read_text())
    assert sidecar["inputs"]["motion"]["sha256"] == sha256(inputs / "clip.mp4")


def test_curves_shorter_and_longer_than_the_speech_follow_its_length(make, inputs, tmp_path):
    curves = str(tmp_path / "curves.csv")
    make(sound="word.wav", save_curves=Path(curves))
    assert len(make(sound="second.wav", motion=curves, expression=curves)) == 25
    make(sound="second.wav", save_curves=Path(curves), overwrite=True)
    assert len(make(sound="word.wav", motion=curves, expression=curves)) == 10


def test_silence_with_scales_of_zero_stands_still(make, inputs, say):
    say(inputs / "silence.wav", 0.4, loudness=0.0)
    made = make(sound="silence.wav", motion_scale=0.0, expression_scale=0.0, blink="none", frame="full")
    assert np.abs(made[-1].astype(int) - made[0]).mean() < 1


def test_network_of_given_weights_draws_otherwise_than_the_warp(make, tmp_path, theta_weights, no_theta_shipped):
    given = {"renderer": "network", "weights": theta_weights, "seed": 3}
    made = make(**given)
    assert made.shape == (10, 256, 256, 3)
    sidecar = json.loads((tmp_path / "0.mp4.json").read_text())
    assert sidecar["options"]["renderer"] == "network" and sidecar["precision"] in ("fp32", "bf16")
    assert sidecar["weights"]["generator.safetensors"] == sha256(theta_weights / "generator.safetensors")
    assert made.tobytes() == make(**given).tobytes()
    # Φ and Ψ move both alike, so that Θ alone makes the difference.
    warp = make(renderer="warp", seed=3)
    assert np.abs(made.astype(int) - warp).mean() > 2
    by_warp = json.loads((tmp_path / "2.mp4.json").read_text())
    assert not any(name.startswith("generator") for name in by_warp["weights"])
    assert by_warp["precision"] is None


def test_generate_writes_to_standard_output(inputs, capfd):
    result = generate(inputs / "photo.png", inputs / "word.wav", "-", GenerateOptions(device="cpu"))
    assert (result.output, result.frames) == ("-", 10)
    capfd.readouterr()


def test_plan_tells_frames_and_reference_and_writes_nothing(inputs, tmp_path):
    output = tmp_path / "out.mp4"
    planned = plan(inputs / "photo.png", inputs / "second.wav", output, GenerateOptions(device="cpu"))
    assert (planned.frames, planned.device) == (25, "cpu")
    assert "photo.png (301x257, photo)" in str(planned)
    assert "25 frames at 25 a second" in str(planned)
    assert not files(tmp_path)
