"""What ``generate`` refuses before any work, and what is left of a video that breaks off: nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thcli import GenerateOptions, generate
from thcli.clips.encode import VideoWriter
from thcli.errors import MediaError, NoFaceError, UsageError, WeightsError
from thcli.generation.checks import plan


@pytest.fixture
def refused(inputs, tmp_path):
    """refused(error, words, …): generate and plan both refuse in one line, before a file is made or changed."""

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


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_generate_leaves_nothing_of_a_video_that_breaks_off(inputs, tmp_path, monkeypatch, error):
    write, count = VideoWriter.write, iter(range(100))

    def broken(self, frame):
        write(self, frame)
        if next(count) == 3:
            raise error

    monkeypatch.setattr(VideoWriter, "write", broken)
    options = GenerateOptions(device="cpu", save_curves=tmp_path / "curves.csv")
    with pytest.raises(error):
        generate(inputs / "photo.png", inputs / "word.wav", tmp_path / "out.mp4", options)
    assert not list(tmp_path.iterdir())


def test_generate_keeps_the_old_video_where_the_new_one_breaks_off(inputs, tmp_path, monkeypatch):
    def broken(self, frame):
        raise KeyboardInterrupt

    (tmp_path / "out.mp4").write_text("mine")
    monkeypatch.setattr(VideoWriter, "write", broken)
    with pytest.raises(KeyboardInterrupt):
        generate(inputs / "photo.png", inputs / "word.wav", tmp_path / "out.mp4", GenerateOptions(overwrite=True))
    assert (tmp_path / "out.mp4").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["photo.png", "word.wav"])
def test_generate_refuses_outputs_that_are_inputs(refused, inputs, tmp_path, name, overwrite):
    refused(UsageError, "is also an input", output=inputs / name, overwrite=overwrite)
    (tmp_path / "link.mp4").symlink_to(inputs / name)
    refused(UsageError, "is also an input", output=tmp_path / "link.mp4", overwrite=overwrite)
    refused(UsageError, "is also an input", save_curves=inputs / name, overwrite=overwrite)


def test_generate_refuses_an_output_that_is_a_source_of_motion(refused, inputs):
    clip = inputs / "clip.mp4"
    refused(UsageError, "is also an input", output=clip, motion=str(clip), overwrite=True)
    refused(UsageError, "is also an input", output=clip, expression=str(clip), overwrite=True)


def test_generate_refuses_outputs_that_exist(refused, tmp_path):
    (tmp_path / "there.mp4").write_text("mine")
    (tmp_path / "there.csv").write_text("mine")
    refused(UsageError, "there.mp4: exists already; add --overwrite", output=tmp_path / "there.mp4")
    refused(UsageError, "there.csv: exists already; add --overwrite", save_curves=tmp_path / "there.csv")
    refused(UsageError, "there.csv: exists already", output="-", save_curves=tmp_path / "there.csv")


def test_generate_refuses_outputs_in_no_folder_and_folders(refused, tmp_path):
    refused(MediaError, "no such folder", output=tmp_path / "gone" / "out.mp4")
    refused(MediaError, "no such folder", save_curves=tmp_path / "gone" / "curves.csv")
    refused(UsageError, "is a folder", output=tmp_path, overwrite=True)
    for nothing in (".", ""):
        refused(UsageError, ".: is a folder; give -o the name of a file in it", output=Path(nothing))
    refused(UsageError, "is a folder", save_curves=tmp_path, overwrite=True)


@pytest.mark.parametrize("name", ["out.gif", "out.mkv", "out.webm", "out.wav"])
def test_generate_refuses_names_of_other_containers(refused, tmp_path, name):
    refused(UsageError, f"{name}: expected a name that ends in .mp4 or .m4v or .mov", output=tmp_path / name)


def test_generate_refuses_standard_output_for_what_is_no_video(refused, tmp_path):
    refused(UsageError, "--save-curves -: only the video can be written to standard output", save_curves=Path("-"))


def test_generate_refuses_links_to_nothing_without_overwrite(refused, tmp_path):
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    refused(UsageError, "link.mp4: exists already; add --overwrite", output=tmp_path / "link.mp4")


def test_generate_refuses_a_box_without_a_face(refused, inputs):
    for reference, box in (("photo.png", "2000,2000,10,10"), ("clip.mp4", "1,1,9,9")):
        words = f"{reference}: no face at --face {box} (X,Y,W,H in pixels); choose a box around a face"
        refused(NoFaceError, words, both=False, reference=inputs / reference, face=box)


def test_generate_refuses_curves_and_video_of_one_name(refused, tmp_path):
    refused(UsageError, "cannot hold both", output=tmp_path / "a.mp4", save_curves=tmp_path / "a.mp4")
    refused(UsageError, "cannot hold both", save_curves=tmp_path / "a.glb", mesh=tmp_path / "a.glb")


def test_generate_refuses_a_mesh_of_another_format(refused, tmp_path):
    refused(UsageError, "a.gltf: expected a name that ends in .glb", mesh=tmp_path / "a.gltf")


def test_generate_refuses_a_certificate_that_cannot_sign(refused, certify, tmp_path):
    (good, key), (expired, its_key) = certify(tmp_path / "good"), certify(tmp_path / "old", days=-1)
    refused(MediaError, "C2PA does not sign with it", sign=expired, key=its_key)
    refused(MediaError, "C2PA does not sign with it", sign=good, key=its_key)
    refused(UsageError, "so -o - cannot have one; give a file", sign=good, key=key, output="-")
    refused(UsageError, "is also an input", sign=good, key=key, output=key, overwrite=True)


def test_generate_options_take_certificate_and_key_together():
    for given, named in (({"sign": Path("a.pem")}, "--sign"), ({"key": Path("k.pem")}, "--key")):
        with pytest.raises(UsageError, match=f"{named}: --sign CERT.pem and --key KEY.pem need each other"):
            GenerateOptions(**given)


@pytest.mark.parametrize("option", ["motion", "expression"])
def test_generate_refuses_sources_that_are_missing_or_wrong(refused, inputs, tmp_path, option):
    refused(UsageError, f"--{option} nod.mp4: no such file; expected audio", **{option: "nod.mp4"})
    refused(MediaError, "gone.csv: no such file", **{option: str(tmp_path / "gone.csv")})
    refused(MediaError, "word.wav: no video stream, only sound", **{option: str(inputs / "word.wav")})
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n")
    refused(MediaError, "wrong.csv: row 1 lacks the columns", **{option: str(tmp_path / "wrong.csv")})


def test_generate_refuses_an_expression_that_stands_still(refused):
    refused(UsageError, "--expression still: no such file; expected audio, a video", expression="still")


def test_generate_refuses_media_that_are_not_what_they_should_be(refused, inputs, tmp_path, say):
    refused(MediaError, "no such file", reference=tmp_path / "gone.mp4")
    refused(MediaError, "no such file", sound=tmp_path / "gone.wav")
    refused(MediaError, "word.wav: no picture in it", reference=inputs / "word.wav")
    refused(MediaError, "photo.png: no audio stream", sound=inputs / "photo.png")
    (tmp_path / "text.mp4").write_text("this is no video")
    refused(MediaError, "text.mp4: not a video", reference=tmp_path / "text.mp4")
    say(tmp_path / "short.wav", 0.02)
    refused(MediaError, "expected at least 0.1 s", sound=tmp_path / "short.wav")


def test_generate_refuses_references_without_the_face_asked_for(refused, tmp_path, inputs):
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    refused(NoFaceError, "noise.png", reference=tmp_path / "noise.png", both=False)
    refused(NoFaceError, "no face 5", both=False, face="5")


def test_generate_refuses_a_start_beyond_the_end(refused, inputs):
    refused(MediaError, "but --start is 60 s", reference=inputs / "clip.mp4", start=60.0)


def test_network_is_refused_without_weights_and_with_damaged_ones(
    refused, tmp_path, inputs, theta_weights, no_theta_shipped
):
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


@pytest.mark.parametrize("name", ["head_motion.safetensors", "speech_encoder.safetensors", "matting.onnx"])
def test_damaged_weights_are_refused_before_any_work_and_by_a_dry_run(refused, tmp_path, inputs, name):
    damaged = tmp_path / "weights"
    damaged.mkdir()
    (damaged / name).write_bytes(b"damaged")
    (damaged / "SHA256SUMS").write_text("0" * 64 + f"  {name}\n")
    refused(WeightsError, f"{name}: SHA-256 is", weights=damaged)
    with pytest.raises(WeightsError, match=f"{name}: SHA-256 is"):
        plan(inputs / "photo.png", inputs / "word.wav", tmp_path / "out.mp4", GenerateOptions(weights=damaged))
