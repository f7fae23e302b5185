"""``thgen train`` refuses wrong use, plans a run, and reports one."""

from __future__ import annotations

import json
import re

import pytest

from thcli.training import stages
from thcli.training.loop import TrainResult
from thgen_models.detection import DetectionDims, DetectionNetwork
from thgen_models.expression import ExpressionDims, ExpressionLearner
from thgen_models.generator import Generator, GeneratorDims
from thgen_models.head_motion import HeadMotionDims, HeadMotionLearner
from thgen_models.speech_adapter import SpeechAdapter, SpeechAdapterDims
from thgen_models.unprojection import UnprojectionDims, UnprojectionNetwork


@pytest.mark.parametrize("stage", ["expression", "motion", "face-model"])
def test_train_refuses_a_missing_store(thgen, stage):
    said = thgen("train", stage, "--data", "gone", "--out", "run.safetensors", "--device", "cpu")
    assert (said.code, said.new) == (3, ())
    assert said.err == (
        "thgen: error: gone: no index.jsonl there, expected preprocessed clips; make them with 'thgen preprocess all'\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "big"], "big: no such configuration; give a YAML file or one of lite, tiny, paper"),
        (["--set", "expression.train.step=1"], "did you mean 'expression.train.steps'?"),
        (["--set", "expression.train.steps=many"], "'expression.train.steps' is 'many', expected int"),
    ],
)
def test_train_refuses_a_wrong_configuration(thgen, options, message):
    said = thgen("train", "expression", "--data", "gone", "--out", "run", *options)
    assert (said.code, said.new) == (2, ())
    assert message in said.err


def test_train_offers_every_stage():
    from thcli.commands.train import STAGES

    assert set(STAGES) == set(stages.STAGES)


@pytest.mark.parametrize(("stage", "name"), [("face-model", "face_model"), ("mouth-interior", "mouth_interior")])
def test_train_of_a_stage_without_steps_refuses_a_folder(thgen, stage, name):
    said = thgen("train", stage, "--data", "gone", "--out", "run")
    assert (said.code, said.new) == (2, ())
    assert said.err == f"thgen: error: run: expected a file, such as weights/{name}.safetensors\n"


def test_train_refuses_a_face_model_of_few_subjects(thgen, folder):
    (folder / "store").mkdir()
    (folder / "store/index.jsonl").write_text('{"clip": "a", "subject": "a", "split": "train", "frames": 9}')
    said = thgen("train", "face-model", "--data", "store", "--out", "face_model.safetensors")
    assert (said.code, said.new) == (3, ())
    assert said.err == ("thgen: error: store: training clips of 1 subjects, expected at least 5; preprocess more\n")


def test_train_refuses_an_unknown_device(thgen):
    said = thgen("train", "expression", "--data", "gone", "--out", "run", "--device", "cuda:99")
    assert (said.code, said.new) == (6, ())
    assert said.err == "thgen: error: --device cuda:99: no such device here; use --device cpu\n"


def store(folder, name="store", clips=(("a", 0), ("b", None), ("c", 2))):
    """Make the index of a store, and the files that it lists, empty."""
    lines = [{"clip": c, "subject": c, "split": "train", "frames": 300, "av_lag": lag} for c, lag in clips]
    (folder / name).mkdir()
    for clip, _ in clips:
        (folder / name / clip).mkdir()
        for file in ("speech.flac", "crop.mp4", "track.npz"):
            (folder / name / clip / file).write_bytes(b"")
    (folder / name / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


NETWORKS = {
    "expression": (ExpressionLearner, ExpressionDims),
    "adapter": (SpeechAdapter, SpeechAdapterDims),
    "motion": (HeadMotionLearner, HeadMotionDims),
    "detection": (DetectionNetwork, DetectionDims),
    "unprojection": (UnprojectionNetwork, UnprojectionDims),
}


@pytest.mark.parametrize(("stage", "clips", "steps"), [
    ("expression", 2, 800), ("adapter", 3, 2500), ("motion", 2, 2500), ("detection", 3, 2500),
    ("unprojection", 3, 5500),
])  # fmt: skip
def test_train_dry_run_says_what_would_be_done(thgen, folder, stage, clips, steps):
    store(folder)
    said = thgen("train", stage, "--data", "store", "--out", "run", "--device", "cpu", "--dry-run")
    assert (said.code, said.err, said.new) == (0, "", ())
    lines = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert list(lines) == ["stage", "data", "steps", "network", "memory", "device", "curves"]
    assert lines["stage"] == stage and lines["device"] == "cpu"
    assert lines["data"] == f"{clips} clips of {clips} subjects, {300 * clips} frames"
    assert lines["steps"].startswith(f"{steps}, batches of ")
    kind, dims = NETWORKS[stage]
    own = sum(p.numel() for p in kind(dims()).parameters())
    found = int(lines["network"].split()[0])
    assert found == own if stage != "motion" else own < found < 2 * own  # Its discriminator counts too.
    total, *parts = map(int, re.findall(r"(\d+) MB", lines["memory"]))
    assert total == pytest.approx(sum(parts), abs=2) and parts[0] > 0 and parts[1] > 10


def episodes(folder, name="episodes", splits=("train", "train", "val")):
    """Make an index of episodes, and the files that it lists, of half a megabyte each."""
    (folder / name).mkdir()
    lines = []
    for number, split in enumerate(splits):
        file = f"{number}.0.safetensors"
        (folder / name / file).write_bytes(bytes(1 << 19))
        lines.append({"file": file, "subject": f"s{number}", "split": split, "frames": 16, "references": 4})
    (folder / name / "takes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def planned(thgen, *options):
    """Return the lines of a dry run, the weights of its network, and MB of weights, of a step and of data."""
    said = thgen("train", "generator", "--data", "episodes", "--out", "run", "--device", "cpu", "--dry-run", *options)
    assert (said.code, said.err, said.new) == (0, "", ())
    lines = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    _, weights, step, data = map(int, re.findall(r"(\d+) MB", lines["memory"]))
    return lines, int(lines["network"].split()[0]), weights, step, data


def test_train_dry_run_of_theta_says_what_would_be_done(thgen, folder):
    episodes(folder)
    lines, network, weights, step, data = planned(thgen)
    assert lines["data"] == "2 episodes of 2 subjects, 32 frames" and "1 MB episodes" in lines["memory"]
    assert network == sum(p.numel() for p in Generator(GeneratorDims()).parameters())
    assert data == 1 and weights == pytest.approx(20 * network / (1 << 20), abs=1)
    judged = planned(thgen, "--set", "generator.adversarial=0.1")
    assert judged[1] > network and judged[3] > step
    halved = planned(thgen, "--set", "generator.train.accumulate=2")
    assert halved[1] == network and halved[3] == pytest.approx(step / 2, rel=0.05)
    paper = planned(thgen, "--config", "paper", "--set", "generator.adversarial=0")
    assert paper[1] == pytest.approx(124.3e6, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "gone"], 3, "no takes.jsonl there, expected episodes; make them with 'thgen preprocess episodes'"),
        (["--data", "store"], 3, "store: clips, expected episodes; make some with 'thgen preprocess episodes store"),
        (["--data", "held"], 3, "held: no episodes of split train there"),
        (["--data", "lost"], 3, "lost/1.0.safetensors: no such file, though the index lists it"),
        (["--data", "episodes", "--set", "generator.network.width=3"], 2, "unknown key 'width'"),
        (
            ["--data", "episodes", "--set", "generator.train.accumulate=3"],
            2,
            "batch_size 8: cannot be cut into 3 parts",
        ),
        (["--data", "episodes", "--perceptual-weights", "gone"], 5, "gone: no such file; expected VGG19"),
        (["--data", "episodes", "--perceptual-weights", "episodes/takes.jsonl"], 5, "neither safetensors nor ONNX"),
    ],
)
def test_train_dry_run_of_theta_finds_mistakes(thgen, folder, arguments, code, message):
    store(folder)
    episodes(folder)
    episodes(folder, "held", ("val",))
    episodes(folder, "lost")
    (folder / "lost/1.0.safetensors").unlink()
    said = thgen("train", "generator", *arguments, "--out", "run", "--dry-run")
    assert (said.code, said.out, said.new) == (code, "", ())
    assert message in said.err and said.err.count("\n") == 1


def test_train_takes_perceptual_weights_for_theta_only(thgen, folder):
    said = thgen("train", "motion", "--data", "store", "--out", "run", "--perceptual-weights", "vgg.safetensors")
    assert said.code == 2 and "--perceptual-weights is for 'train generator'." in said.err


def test_train_dry_run_estimates_memory_by_the_batch(thgen, folder):
    store(folder)
    sizes = []
    for batch in (24, 48):
        said = thgen("train", "unprojection", "--data", "store", "--out", "run", "--dry-run", "--device", "cpu",
                     "--set", f"unprojection.train.batch_size={batch}")  # fmt: skip
        sizes.append(int(re.findall(r"(\d+) MB a step", said.out)[0]))
    assert sizes[1] == pytest.approx(2 * sizes[0], rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["expression", "--data", "gone"], 3, "gone: no index.jsonl there"),
        (["expression", "--data", "deaf"], 3, "deaf: no training clips whose sound is known to fit the face (av_lag)"),
        (["adapter", "--data", "mute"], 3, "mute: no training clips; preprocess some"),
        (["adapter", "--data", "store", "--set", "adapter.network.ranks=3"], 2, "did you mean 'rank'?"),
        (["detection", "--data", "one"], 3, "one: training clips of one subject, expected two or more"),
        (["motion", "--data", "store", "--set", "motion.network.breadth=3"], 2, "unknown key 'breadth'"),
        (["expression", "--data", "store", "--weights", "gone"], 5, "gone: no such folder of weights"),
        (["expression", "--data", "store", "--device", "cuda:99"], 6, "--device cuda:99: no such device here"),
        (["face-model", "--data", "store"], 2, "train face-model: has no steps; leave out --dry-run."),
        (["motion", "--data", "store", "--init", "gone"], 5, "gone: no such checkpoint"),
    ],
)
def test_train_dry_run_finds_mistakes(thgen, folder, arguments, code, message):
    store(folder)
    store(folder, "deaf", [("a", None), ("b", None)])
    store(folder, "one", [("a", 0)])
    store(folder, "mute", [])
    said = thgen("train", *arguments, "--out", "run", "--dry-run")
    assert (said.code, said.out, said.new) == (code, "", ())
    assert message in said.err and said.err.count("\n") == 1


def test_train_dry_run_finds_lost_files(thgen, folder):
    store(folder)
    (folder / "store/c/speech.flac").unlink()
    said = thgen("train", "motion", "--data", "store", "--out", "run", "--dry-run")
    assert said.code == 3 and "store/c/speech.flac: no such file, though the index lists its clip" in said.err


@pytest.mark.parametrize(("installed", "told"), [(True, 0), (False, 1)])
def test_train_says_once_that_tensorboard_is_missing(thgen, monkeypatch, installed, told):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(stages, "run", lambda stage, data, out, **_: TrainResult(out / "x.safetensors", 1, {}))
    said = thgen("train", "motion", "--data", "d", "--out", "r")
    assert said.code == 0 and said.err.count("without TensorBoard") == told
    assert "without TensorBoard" not in thgen("train", "face-model", "--data", "d", "--out", "r.safetensors").err


def test_train_reports_progress_and_the_checkpoint(thgen, folder, monkeypatch):
    def run(stage, data, out, *, progress, **options):
        assert (stage, str(data), options["resume"], options["overrides"]) == ("motion", "d", True, ("a=1", "b=2"))
        assert str(options["init"]) == "i"
        progress(1, 2, {"total": 0.5})
        progress(2, 2, {"total": 0.25})
        return TrainResult(out / "head_motion.safetensors", 2, {"score": 0.25})

    monkeypatch.setattr(stages, "run", run)
    said = thgen("train", "motion", "--data", "d", "--out", "r", "--resume", "--init", "i", "--set", "a=1",
                 "--set", "b=2", "--progress", "json")  # fmt: skip
    assert said.code == 0
    assert '"stage": "motion", "done": 2, "total": 2' in said.err
    assert said.err.endswith("r/head_motion.safetensors: step 2, score 0.25\n")
