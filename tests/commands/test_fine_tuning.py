"""``thgen train generator --init … --steps N`` and ``thgen generate --adapt STEPS`` fine-tune Θ to a person."""

from __future__ import annotations

import dataclasses
import json
import tempfile

import pytest
import torch

from thcli.checkpoints import Header, read_header, save_checkpoint, sha256
from thcli.config import load_config
from thcli.data.episodes import EpisodeMeta
from thcli.training import stages
from thcli.training.generator import GeneratorStage
from thcli.training.loop import TrainResult
from thcli.training.stages import sized_as
from thgen_models.generator import Generator, GeneratorDims


@pytest.fixture
def ran(monkeypatch):
    """Record what ``stages.run`` is called with, and train nothing."""
    asked = {}

    def run(stage, data, out, **options):
        asked.update(options, stage=stage)
        return TrainResult(out / "x.safetensors", 1, {})

    monkeypatch.setattr(stages, "run", run)
    return asked


@pytest.mark.parametrize("stage", ["expression", "adapter", "motion", "detection", "unprojection", "generator"])
def test_train_takes_steps_in_place_of_a_setting(thgen, ran, stage):
    said = thgen("train", stage, "--data", "d", "--out", "r", "--set", f"{stage}.train.steps=9", "--steps", "7")
    assert said.code == 0
    assert getattr(load_config(None, ran["overrides"]), stage).train.steps == 7


def test_train_without_steps_keeps_the_settings(thgen, ran):
    assert thgen("train", "motion", "--data", "d", "--out", "r").code == 0
    assert ran["overrides"] == ()


@pytest.mark.parametrize("stage", ["face-model", "mouth-interior"])
def test_train_refuses_steps_for_stages_that_have_none(thgen, stage):
    said = thgen("train", stage, "--data", "d", "--out", "r.safetensors", "--steps", "7")
    assert (said.code, said.new) == (2, ())
    assert f"train {stage}: has no steps; leave out --steps." in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize("steps", ["0", "-3", "many"])
def test_train_refuses_wrong_numbers_of_steps(thgen, steps):
    said = thgen("train", "motion", "--data", "d", "--out", "r", "--steps", steps)
    assert said.code == 2 and "'--steps'" in said.err


@pytest.fixture
def episodes(folder):
    """Make an index of episodes of one subject, whose files are empty; a dry run reads no more."""
    (folder / "own").mkdir()
    meta = EpisodeMeta("ada.0.safetensors", "ada", "train", 16, 4)
    (folder / "own" / meta.file).touch()
    (folder / "own/takes.jsonl").write_text(json.dumps(dataclasses.asdict(meta)) + "\n")
    return "own"


def test_train_takes_the_sizes_of_the_network_from_the_checkpoint(thgen, episodes, theta_weights):
    init = theta_weights / "generator.safetensors"
    given = ("train", "generator", "--data", episodes, "--out", "run", "--device", "cpu", "--init", init)
    said = thgen(*given, "--steps", "9", "--dry-run")
    assert (said.code, said.err, said.new) == (0, "", ())
    own = sum(p.numel() for p in Generator(GeneratorDims(**read_header(init).dims)).parameters())
    assert f"network    {own} weights" in said.out and "steps      9, batches of " in said.out
    same = thgen(*given, "--dry-run", "--set", "generator.network.widths=[8, 12, 16]")
    assert same.code == 0 and f"network    {own} weights" in same.out
    other = thgen(*given, "--dry-run", "--set", "generator.network.hidden=9")
    assert (other.code, other.new) == (2, ())
    assert other.err == (
        f"thgen: error: {init}: its network has hidden 8, and generator.network.hidden asks for 9; "
        "leave that setting out, or --init\n"
    )


def test_training_goes_on_at_another_size_of_the_image(theta_weights):
    init = theta_weights / "generator.safetensors"
    before = read_header(init).dims
    config = sized_as(init, "generator", load_config("lite", ["generator.network.side=64"]))
    assert before["side"] != 64 and config.generator.network == {**before, "side": 64}


def test_train_refuses_a_checkpoint_of_another_stage(thgen, folder, episodes):
    save_checkpoint(folder / "other.safetensors", Header("expression", {}), {"a": torch.zeros(1)})
    for dry in ([], ["--dry-run"]):
        said = thgen("train", "generator", "--data", episodes, "--out", "run", "--init", "other.safetensors", *dry)
        assert (said.code, said.new) == (5, ())
        assert said.err == (
            "thgen: error: other.safetensors: a checkpoint of 'expression', expected one of 'generator'\n"
        )


def adapt(thgen, weights, reference, sound, *options):
    """Run ``thgen generate --adapt 2`` with Θ of the folder ``weights``."""
    given = ("--renderer", "network", "--weights", weights, "--device", "cpu", "-o", "out.mp4")
    return thgen("generate", "--ref", reference, "--audio", sound, "--adapt", "2", *given, *options)


@pytest.fixture
def photo(folder, portrait_png):
    (folder / "photo.png").write_bytes(portrait_png.read_bytes())
    return "photo.png"


@pytest.fixture
def speech(media):
    return media("speech.wav", "-f", "lavfi", "-i", "sine=frequency=200:duration=0.2")


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_adapt_refuses_a_photo(thgen, theta_weights, photo, speech, dry):
    said = adapt(thgen, theta_weights, photo, speech, *dry)
    assert (said.code, said.out, said.new) == (2, "", ())
    assert said.err == (
        "thgen: error: --adapt: photo.png is a photo, expected a clip to learn from; leave out --adapt\n"
    )


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_adapt_refuses_a_clip_that_is_too_short(thgen, theta_weights, faceless_clip, speech, dry):
    said = adapt(thgen, theta_weights, faceless_clip, speech, "--start", "0.52", *dry)
    assert (said.code, said.out, said.new) == (2, "", ())
    assert said.err == (
        "thgen: error: --adapt: bars.mp4 has 37 frames to learn from, expected 50 or more (2 s); "
        "give a longer clip, or leave out --adapt\n"
    )


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_adapt_refuses_the_warp_renderer(thgen, photo, speech, dry):
    given = ("--renderer", "warp", "--adapt", "60")
    said = thgen("generate", "--ref", photo, "--audio", speech, *given, *dry)
    assert (said.code, said.out, said.new) == (2, "", ())
    assert said.err == (
        "thgen: error: --adapt 60 applies to --renderer network only, and the renderer is warp; leave out --adapt\n"
    )


def test_adapt_dry_run_names_the_steps(thgen, theta_weights, faceless_clip, speech):
    said = adapt(thgen, theta_weights, faceless_clip, speech, "--dry-run")
    assert (said.code, said.err, said.new) == (0, "", ())
    assert said.out.splitlines()[-1].endswith("renderer network, adapted in 2 steps")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Make an empty folder for temporary files."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    monkeypatch.setenv("TMPDIR", str(path))
    return path


@pytest.mark.usefixtures("nodding")
def test_adapt_makes_a_video_and_records_the_outcome(thgen, folder, theta_weights, faceless_clip, speech, temporary):
    said = adapt(thgen, theta_weights, faceless_clip, speech, "--references", "2", "--progress", "json")
    assert (said.code, said.new) == (0, ("out.mp4", "out.mp4.json")), said.err
    assert list(temporary.iterdir()) == []
    lines = [json.loads(line) for line in said.err.splitlines() if line.startswith("{")]
    names = [line["stage"] for line in lines]
    assert list(dict.fromkeys(names)) == ["listen", "track", "adapt", "move", "draw"]
    assert [(line["done"], line["total"]) for line in lines if line["stage"] == "adapt"][-1] == (2, 2)
    made = json.loads((folder / "out.mp4.json").read_text())
    record = made["adapt"]
    assert made["options"]["adapt"] == record["steps"] == 2 and "adapt" in made["seconds"]
    assert (record["kept"] == "adapted") == (record["after"]["score"] < record["before"]["score"])
    assert made["weights"]["generator.safetensors"] == sha256(theta_weights / "generator.safetensors")
    told = f"adapted in 2 steps: on held-out frames mouth error {record['before']['mouth']:.1f}, "
    assert said.err.splitlines()[-1].startswith(told if record["kept"] == "adapted" else "not adapted: 2 steps made ")


@pytest.mark.usefixtures("nodding")
@pytest.mark.parametrize(("fault", "code"), [(KeyboardInterrupt(), 130), (MemoryError(), 6)])
def test_adapt_leaves_nothing_when_broken_off(
    thgen, theta_weights, faceless_clip, speech, temporary, monkeypatch, fault, code
):  # fmt: skip
    def broken(self, networks, batch):
        raise fault

    monkeypatch.setattr(GeneratorStage, "step", broken)
    monkeypatch.setattr(GeneratorStage, "evaluate", lambda self, network: {"score": 1.0})
    said = adapt(thgen, theta_weights, faceless_clip, speech, "--references", "1")
    assert (said.code, said.out, said.new) == (code, "", ())
    assert list(temporary.iterdir()) == [] and said.err.count("\n") == 1
