"""``thgen train``: its errors, and what it reports of a run."""

import pytest

from thcli.training import stages
from thcli.training.loop import TrainResult


@pytest.mark.parametrize("stage", ["expression", "motion", "face-model"])
def test_missing_store(thgen, stage):
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
def test_wrong_configuration(thgen, options, message):
    said = thgen("train", "expression", "--data", "gone", "--out", "run", *options)
    assert (said.code, said.new) == (2, ())
    assert message in said.err


def test_command_offers_every_stage():
    from thcli.commands.train import STAGES

    assert set(STAGES) == set(stages.STAGES)


@pytest.mark.parametrize(("stage", "name"), [("face-model", "face_model"), ("mouth-interior", "mouth_interior")])
def test_stage_without_steps_writes_a_file(thgen, stage, name):
    said = thgen("train", stage, "--data", "gone", "--out", "run")
    assert (said.code, said.new) == (2, ())
    assert said.err == f"thgen: error: run: expected a file, such as weights/{name}.safetensors\n"


def test_face_model_of_few_subjects_is_refused(thgen, folder):
    (folder / "store").mkdir()
    (folder / "store/index.jsonl").write_text('{"clip": "a", "subject": "a", "split": "train", "frames": 9}')
    said = thgen("train", "face-model", "--data", "store", "--out", "face_model.safetensors")
    assert (said.code, said.new) == (3, ())
    assert said.err == ("thgen: error: store: training clips of 1 subjects, expected at least 5; preprocess more\n")


def test_unknown_device(thgen):
    said = thgen("train", "expression", "--data", "gone", "--out", "run", "--device", "cuda:99")
    assert (said.code, said.new) == (6, ())
    assert said.err == "thgen: error: --device cuda:99: no such device here; use --device cpu\n"


def test_run_is_reported(thgen, folder, monkeypatch):
    def run(stage, data, out, *, progress, **options):
        assert (stage, str(data), options["resume"], options["overrides"]) == ("motion", "d", True, ("a=1", "b=2"))
        progress(1, 2, {"total": 0.5})
        progress(2, 2, {"total": 0.25})
        return TrainResult(out / "head_motion.safetensors", 2, {"score": 0.25})

    monkeypatch.setattr(stages, "run", run)
    said = thgen(
        "train", "motion", "--data", "d", "--out", "r", "--resume", "--set", "a=1", "--set", "b=2", "--progress", "json"
    )
    assert said.code == 0
    assert '"stage": "motion", "done": 2, "total": 2' in said.err
    assert said.err.endswith("r/head_motion.safetensors: step 2, score 0.25\n")
