"""From a photo, or a clip made of one, and a synthetic voice to a video: with the tracker and the weights that ship."""

from __future__ import annotations

import json
import wave
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from thcli.checkpoints import sha256
from thcli.clips.decode import read_clip
from thcli.clips.encode import VideoWriter
from thcli.clips.probe import probe
from thcli.errors import MediaError, NoFaceError, UsageError, WeightsError
from thcli.motion.curves import read_curves
from thcli.pipeline import GenerateOptions, generate, plan

WIDTH, HEIGHT = 301, 257
"""Of the photo: odd, so that the video's sides are one pixel longer."""


def say(path: Path, seconds: float, loudness: float = 0.4) -> Path:
    """Something like speech: a buzz whose formants and loudness change four times a second."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    pitch = 2 * np.pi * np.cumsum(130 + 20 * np.sin(2 * np.pi * time)) / 16_000
    vowel = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * time)
    voice = sum(np.sin(n * pitch) / n * np.exp(-((n * 130 - 500 - 600 * vowel) ** 2) / 4e5) for n in range(1, 20))
    samples = loudness * vowel * voice / max(float(np.abs(voice).max()), 1e-9)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """photo.png, second.wav of a second, word.wav of 0.4 s, clip.mp4 of 1.5 s made from the photo."""
    folder = tmp_path_factory.mktemp("inputs")
    Image.fromarray(astronaut()[:HEIGHT, 70 : 70 + WIDTH]).save(folder / "photo.png")
    say(folder / "second.wav", 1.0)
    say(folder / "word.wav", 0.4)
    options = GenerateOptions(seed=7, blink="0.6", device="cpu")
    generate(folder / "photo.png", say(folder / "sentence.wav", 1.5), folder / "clip.mp4", options)
    return folder


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
    return {path.name for path in folder.iterdir()}


class Watched:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.done = 0

    def stage(self, name, total):
        self.stages.append((name, total))

    def advance(self, frames=1):
        self.done += frames


def test_a_second_of_a_photo(inputs, tmp_path):
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
    assert set(sidecar["options"]) == {field.name for field in fields(GenerateOptions)}
    assert (sidecar["options"]["seed"], sidecar["options"]["motion_scale"]) == (3, 0.5)
    for name, file in (("ref", "photo.png"), ("audio", "second.wav")):
        assert sidecar["inputs"][name] == {"path": str(inputs / file), "sha256": sha256(inputs / file)}
    assert {"face_model.safetensors", "expression.safetensors", "unprojection.onnx"} <= set(sidecar["weights"])
    assert set(sidecar["seconds"]) == {"listen", "track", "move", "draw"} == set(result.seconds)
    assert (sidecar["frames"], sidecar["size"], sidecar["device"]) == (25, [256, 256], "cpu")
    assert sidecar["frames_per_second"] > 0
    assert b"trainedAlgorithmicMedia" in output.read_bytes()


def test_the_seed_and_nothing_else_decides(make):
    first = make(seed=1)
    assert len(first) == 10
    assert first.tobytes() == make(seed=1).tobytes()
    assert first.tobytes() != make(seed=2).tobytes()


def test_the_whole_frame_has_the_photo_s_size(inputs, make, tmp_path):
    made = make(frame="full")
    assert made.shape == (10, HEIGHT + 1, WIDTH + 1, 3)
    photo = np.asarray(Image.open(inputs / "photo.png"))
    assert json.loads((tmp_path / "0.mp4.json").read_text())["size"] == [WIDTH, HEIGHT]
    # in the corners nothing moves; what differs is the encoder's
    for rows, columns in ((slice(-40, None), slice(0, 12)), (slice(-40, None), slice(-12, None))):
        difference = made[:, :HEIGHT, :WIDTH].astype(int)[:, rows, columns] - photo[rows, columns]
        assert np.abs(difference).mean() < 8


def test_a_clip_and_its_own_sound(make, inputs, tmp_path):
    made = make("clip.mp4", "word.wav", references=3)
    assert made.shape == (10, 256, 256, 3)
    # the first frame goes on from the clip's last one: the same person in the same place
    last = read_clip(inputs / "clip.mp4").frames[-1]
    assert np.abs(made[0].astype(int) - last).mean() < 12
    assert json.loads((tmp_path / "0.mp4.json").read_text())["inputs"]["ref"]["path"].endswith("clip.mp4")


def test_one_reference_and_more_than_there_are(make):
    for references in (1, 32):
        assert make("clip.mp4", references=references).shape == (10, 256, 256, 3)


def test_a_still_head(make):
    still, moving = (make(motion=motion, expression_scale=0.0, blink="none", seed=5) for motion in ("still", "audio"))

    def unrest(frames):
        return np.abs(np.diff(frames.astype(int), axis=0)).mean()

    assert unrest(still) < 0.5
    assert unrest(moving) > 2 * unrest(still)


def test_still_motion_does_not_depend_on_the_seed(make):
    given = {"motion": "still", "blink": "none"}
    assert make(seed=1, **given).tobytes() == make(seed=2, **given).tobytes()


def test_curves_there_and_back(make, tmp_path):
    curves = tmp_path / "curves.csv"
    first = make("clip.mp4", seed=4, blink="0.35", save_curves=curves)
    drive = read_curves(curves)
    assert len(drive) == 10
    again = tmp_path / "again.csv"
    given = str(curves)
    second = make("clip.mp4", seed=99, motion=given, expression=given, save_curves=again)
    assert again.read_bytes() == curves.read_bytes()
    assert first.tobytes() == second.tobytes()


def test_motion_and_expression_of_another_video(make, inputs, tmp_path):
    clip = str(inputs / "clip.mp4")
    made = make(motion=clip, expression=clip, save_curves=tmp_path / "curves.csv")
    assert made.shape == (10, 256, 256, 3)
    drive = read_curves(tmp_path / "curves.csv")
    assert np.ptp(drive.pose, axis=0).max() > 0 and np.ptp(drive.expression, axis=0).max() > 0
    sidecar = json.loads((tmp_path / "0.mp4.json").read_text())
    assert sidecar["inputs"]["motion"]["sha256"] == sha256(inputs / "clip.mp4")


def test_sources_shorter_and_longer_than_the_speech(make, inputs, tmp_path):
    curves = str(tmp_path / "curves.csv")
    make(sound="word.wav", save_curves=Path(curves))
    assert len(make(sound="second.wav", motion=curves, expression=curves)) == 25
    make(sound="second.wav", save_curves=Path(curves), overwrite=True)
    assert len(make(sound="word.wav", motion=curves, expression=curves)) == 10


def test_silence_and_scales_of_nothing(make, tmp_path, inputs):
    say(inputs / "silence.wav", 0.4, loudness=0.0)
    made = make(sound="silence.wav", motion_scale=0.0, expression_scale=0.0, blink="none", frame="full")
    assert np.abs(made[-1].astype(int) - made[0]).mean() < 1


def test_the_network_draws(make, tmp_path, theta_weights, no_theta_shipped):
    given = {"renderer": "network", "weights": theta_weights, "seed": 3}
    made = make(**given)
    assert made.shape == (10, 256, 256, 3)
    sidecar = json.loads((tmp_path / "0.mp4.json").read_text())
    assert sidecar["options"]["renderer"] == "network"
    assert sidecar["weights"]["generator.safetensors"] == sha256(theta_weights / "generator.safetensors")
    assert made.tobytes() == make(**given).tobytes()
    # Φ and Ψ move both alike: what differs is what Θ does
    warp = make(renderer="warp", seed=3)
    assert np.abs(made.astype(int) - warp).mean() > 2
    weights = json.loads((tmp_path / "2.mp4.json").read_text())["weights"]
    assert not any(name.startswith("generator") for name in weights)


def test_without_weights_of_the_network(refused, tmp_path, inputs, theta_weights, no_theta_shipped):
    refused(WeightsError, "generator.safetensors: no such weights in", renderer="network")
    damaged = tmp_path / "weights"
    damaged.mkdir()
    (damaged / "generator.safetensors").write_bytes((theta_weights / "generator.safetensors").read_bytes())
    (damaged / "SHA256SUMS").write_text("0" * 64 + "  generator.safetensors\n")
    refused(WeightsError, "generator.safetensors: SHA-256 is", renderer="network", weights=damaged)
    for renderer, weights in (("warp", None), ("network", theta_weights)):
        options = GenerateOptions(device="cpu", renderer=renderer, weights=weights)
        planned = plan(inputs / "photo.png", inputs / "word.wav", tmp_path / "out.mp4", options)
        assert planned.uses[-1] == f"renderer {renderer}"


def test_standard_output(inputs, capfd):
    result = generate(inputs / "photo.png", inputs / "word.wav", "-", GenerateOptions(device="cpu"))
    assert (result.output, result.frames) == ("-", 10)
    capfd.readouterr()


def test_plan_is_kept(inputs, tmp_path):
    output = tmp_path / "out.mp4"
    planned = plan(inputs / "photo.png", inputs / "second.wav", output, GenerateOptions(device="cpu"))
    assert (planned.frames, planned.device) == (25, "cpu")
    assert f"photo.png ({WIDTH}x{HEIGHT}, photo)" in str(planned)
    assert "25 frames at 25 a second" in str(planned)
    assert not files(tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_nothing_is_left_of_what_breaks_off(inputs, tmp_path, monkeypatch, error):
    write, count = VideoWriter.write, iter(range(100))

    def broken(self, frame):
        write(self, frame)
        if next(count) == 3:
            raise error

    monkeypatch.setattr(VideoWriter, "write", broken)
    options = GenerateOptions(device="cpu", save_curves=tmp_path / "curves.csv")
    with pytest.raises(error):
        generate(inputs / "photo.png", inputs / "word.wav", tmp_path / "out.mp4", options)
    assert not files(tmp_path)


def test_what_was_there_survives_what_breaks_off(inputs, tmp_path, monkeypatch):
    def broken(self, frame):
        raise KeyboardInterrupt

    (tmp_path / "out.mp4").write_text("mine")
    monkeypatch.setattr(VideoWriter, "write", broken)
    with pytest.raises(KeyboardInterrupt):
        generate(inputs / "photo.png", inputs / "word.wav", tmp_path / "out.mp4", GenerateOptions(overwrite=True))
    assert (tmp_path / "out.mp4").read_text() == "mine"
    assert files(tmp_path) == {"out.mp4"}


@pytest.fixture
def refused(inputs, tmp_path):
    """refused(error, words, …): generate and plan both refuse, in one line, before a file is made or changed."""

    def check(error, words, reference=None, sound=None, output=None, both=True, **options):
        before = {path: path.read_bytes() for path in [*tmp_path.iterdir(), *inputs.iterdir()] if path.is_file()}
        chosen = GenerateOptions(device="cpu", **options)
        for call in (generate, plan) if both else (generate,):
            with pytest.raises(error) as caught:
                call(
                    reference or inputs / "photo.png",
                    sound or inputs / "word.wav",
                    output or tmp_path / "o.mp4",
                    chosen,
                )
            assert words in str(caught.value) and "\n" not in str(caught.value)
        assert before == {p: p.read_bytes() for p in [*tmp_path.iterdir(), *inputs.iterdir()] if p.is_file()}

    return check


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["photo.png", "word.wav"])
def test_output_that_is_an_input(refused, inputs, tmp_path, name, overwrite):
    refused(UsageError, "is also an input", output=inputs / name, overwrite=overwrite)
    (tmp_path / "link.mp4").symlink_to(inputs / name)
    refused(UsageError, "is also an input", output=tmp_path / "link.mp4", overwrite=overwrite)
    refused(UsageError, "is also an input", save_curves=inputs / name, overwrite=overwrite)


def test_output_that_is_a_source_of_motion(refused, inputs):
    clip = inputs / "clip.mp4"
    refused(UsageError, "is also an input", output=clip, motion=str(clip), overwrite=True)
    refused(UsageError, "is also an input", output=clip, expression=str(clip), overwrite=True)


def test_outputs_that_exist(refused, tmp_path):
    (tmp_path / "there.mp4").write_text("mine")
    (tmp_path / "there.csv").write_text("mine")
    refused(UsageError, "there.mp4: exists already; add --overwrite", output=tmp_path / "there.mp4")
    refused(UsageError, "there.csv: exists already; add --overwrite", save_curves=tmp_path / "there.csv")
    refused(UsageError, "there.csv: exists already", output="-", save_curves=tmp_path / "there.csv")


def test_outputs_in_no_folder_or_that_are_folders(refused, tmp_path):
    refused(MediaError, "no such folder", output=tmp_path / "gone" / "out.mp4")
    refused(MediaError, "no such folder", save_curves=tmp_path / "gone" / "curves.csv")
    refused(UsageError, "is a folder", output=tmp_path, overwrite=True)
    refused(UsageError, "is a folder", save_curves=tmp_path, overwrite=True)


def test_curves_over_the_video(refused, tmp_path):
    refused(UsageError, "cannot hold both", output=tmp_path / "a.mp4", save_curves=tmp_path / "a.mp4")


@pytest.mark.parametrize("option", ["motion", "expression"])
def test_sources_that_are_not_there(refused, tmp_path, option):
    refused(UsageError, f"--{option} nod.mp4: no such file; expected audio", **{option: "nod.mp4"})
    refused(MediaError, "gone.csv: no such file", **{option: str(tmp_path / "gone.csv")})
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    refused(MediaError, "wrong.csv: row 1 lacks the columns", **{option: str(tmp_path / "wrong.csv")})


def test_expressions_cannot_stand_still(refused):
    refused(UsageError, "--expression still: no such file; expected audio, a video", expression="still")


def test_media_that_are_not_what_they_should_be(refused, inputs, tmp_path):
    refused(MediaError, "no such file", reference=tmp_path / "gone.mp4")
    refused(MediaError, "no such file", sound=tmp_path / "gone.wav")
    refused(MediaError, "word.wav: no picture in it", reference=inputs / "word.wav")
    refused(MediaError, "photo.png: no audio stream", sound=inputs / "photo.png")
    (tmp_path / "text.mp4").write_text("this is no video")
    refused(MediaError, "text.mp4: not a video", reference=tmp_path / "text.mp4")
    say(tmp_path / "short.wav", 0.02)
    refused(MediaError, "expected at least 0.1 s", sound=tmp_path / "short.wav", both=False)


def test_nobody_there(refused, tmp_path, inputs):
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    refused(NoFaceError, "noise.png", reference=tmp_path / "noise.png", both=False)
    refused(NoFaceError, "no face 5", both=False, face="5")


def test_start_beyond_the_end(refused, inputs):
    refused(MediaError, "clip.mp4", reference=inputs / "clip.mp4", both=False, start=60.0)
