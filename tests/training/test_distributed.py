"""Training in two processes on the CPU, as torchrun starts them, compared with one process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import wave
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from thcli.checkpoints import load_checkpoint, read_header, shipped_weights
from thcli.clips.encode import VideoWriter
from thcli.config import load_config
from thcli.data.store import CROP, SPEECH, TRACK, ClipMeta, StoreWriter, save_track, write_index
from thcli.errors import UsageError
from thcli.face_model import FaceModel
from thcli.records import FaceTrack
from thcli.training import stages
from thcli.training.distributed import ALONE, Processes

FRAMES = 240
SHARED = """
import sys
from pathlib import Path
from thcli.training import matting, stages
from thcli.training.distributed import processes
matting.check_teacher, matting.mediapipe_masks = lambda: None, lambda images: images[..., 0]
with processes() as world:
    for run in sys.argv[4:]:
        stage, out, *overrides = run.split()
        data = sys.argv[2 if stage == "generator" else 1]
        stages.run(stage, Path(data), Path(sys.argv[3]) / out, config="tiny", overrides=overrides, device="cpu",
                   world=world)
"""
"""Script with arguments STORE EPISODES OUT RUN…: trains several stages in turn in the same processes.

MediaPipe, the teacher of the matting network, is not installed; the red of an image stands for its masks."""
SAME = {
    "expression": ("expression.network.dropout=0", "expression.train.batch_size=4", "expression.train.clip_norm=0.1"),
    "adapter": ("adapter.train.batch_size=4",),
    "motion": ("motion.train.batch_size=4",),
    "detection": ("detection.train.batch_size=4",),
    "unprojection": ("unprojection.train.batch_size=4",),
    "matting": ("matting.train.batch_size=4",),
    "generator": ("generator.train.batch_size=4", "generator.train.accumulate=2", "generator.adversarial=0.1"),
}
"""Options under which a stage has no chance inside its network, so that it is the same in one process as in two."""
DROPOUT = ("expression.network.dropout=0.35", "expression.train.batch_size=4")
OUT_OF_MEMORY = """
import os
from thcli.commands.main import main
from thcli.training.head_motion import HeadMotionStage
make, calls = HeadMotionStage.batch, []
def batch(self, random):
    calls.append(1)
    if os.environ["RANK"] == "1" and len(calls) == 3:
        raise MemoryError
    return make(self, random)
HeadMotionStage.batch = batch
main()
"""
"""``thgen`` whose second process fails in the third step, after the first validation."""
CHECKPOINT = {"motion": "head_motion", "adapter": "speech_adapter"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store of four subjects with audio, a moving head and face, and images of one colour."""
    root = tmp_path_factory.mktemp("data") / "store"
    model = FaceModel.load(shipped_weights() / "face_model.safetensors")
    for number, subject in enumerate("abcd"):
        random = np.random.default_rng(number)
        slow = np.cumsum(random.normal(size=(FRAMES, 26)), axis=0).astype(np.float32)
        slow = slow - slow.mean(0)
        mesh = (model.canonical + model.displacement(0.1 * slow[:, :20])) * 60 + 128
        pose, zeros = 0.01 * slow[:, 20:], np.zeros((FRAMES, 4), np.float32)
        mesh, ones = mesh.astype(np.float32), np.ones(FRAMES, np.float32)
        track = FaceTrack(zeros, mesh, mesh[:, :68], pose, 60.0, ones, (256, 256), "made up")
        with StoreWriter(root).clip(ClipMeta(subject, subject, "train", FRAMES, av_lag=0)) as folder:
            save_track(folder / TRACK, track)
            with wave.open(str(folder / SPEECH), "wb") as file:
                file.setparams((1, 2, 16000, 0, "NONE", ""))
                file.writeframes(random.integers(-9999, 9999, FRAMES * 640).astype("<i2").tobytes())
            with VideoWriter(folder / CROP, (256, 256), None, 8) as video:
                for _ in range(8):
                    video.write(np.full((256, 256, 3), 40 * (number + 1), np.uint8))
    write_index(root)
    return root


def two(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``torchrun --nproc-per-node 2`` with ``arguments``."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def both(store: Path, episodes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same runs by ``one`` process and by ``two``, and one with dropout; the two train Φ by the command."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("one", "two")}
    script = folders["two"] / "shared.py"
    script.write_text(SHARED)
    runs = [(stage, stage, given) for stage, given in SAME.items()] + [("expression", "dropout", DROPOUT)]
    in_python = [" ".join((stage, out, *given)) for stage, out, given in runs if stage != "motion"]
    done = two(script, store, episodes, folders["two"], *in_python)
    assert done.returncode == 0, done.stderr
    done = two("-m", "thcli", *command("motion", store, folders["two"] / "motion"))
    assert done.returncode == 0, done.stderr
    (folders["two"] / "said").write_text(done.stdout + done.stderr)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thcli.training.matting.check_teacher", lambda: None)
        patch.setattr("thcli.training.matting.mediapipe_masks", lambda images: images[..., 0])
        for stage, out, given in runs:
            data = episodes if stage == "generator" else store
            stages.run(stage, data, folders["one"] / out, config="tiny", overrides=given, device="cpu")
    return folders


def command(stage: str, store: Path, out: Path, *changes: str) -> list[str | Path]:
    """Arguments of ``thgen train``."""
    given = [part for change in (*SAME[stage], *changes) for part in ("--set", change)]
    return ["train", stage, "--data", store, "--out", out, "--config", "tiny", "--device", "cpu", *given]


def curve(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def files(run: Path) -> set[str]:
    return {path.name for path in run.iterdir() if not path.name.startswith("events.")}


@pytest.mark.parametrize("stage", SAME)
def test_two_processes_follow_the_loss_curve_of_one(both: dict[str, Path], stage: str) -> None:
    one, two = (curve(both[name] / stage) for name in ("one", "two"))
    assert [line["step"] for line in one] == [1, 2, 3, 4]
    for alone, shared in zip(one, two, strict=True):
        assert shared == pytest.approx(alone, rel=1e-3, abs=2e-4)  # correlations of so few steps are near 0
    assert files(both["one"] / stage) == files(both["two"] / stage)


@pytest.mark.parametrize("stage", SAME)
def test_two_processes_end_with_the_weights_of_one(both: dict[str, Path], stage: str) -> None:
    name = CHECKPOINT.get(stage, stage)
    alone, shared = (load_checkpoint(both[n] / stage / f"{name}.safetensors", name) for n in ("one", "two"))
    assert alone.header.step == shared.header.step and alone.header.config == shared.header.config
    # The crops of the refinement are misplaced at random, see ``coarse_and_refined``.
    keys = [key for key in alone.tensors if not key.startswith(("mouth.", "eye."))]
    made, expected = (torch.cat([c.tensors[key].float().flatten() for key in keys]) for c in (shared, alone))
    # Adam takes a full step for any gradient, so a few weights whose gradient is mostly rounding differ.
    assert torch.isclose(made, expected, rtol=1e-3, atol=2e-4).float().mean() > 0.998


@pytest.mark.parametrize("stage", SAME)
def test_run_notes_its_configuration_whatever_the_number_of_processes(both: dict[str, Path], stage: str) -> None:
    section = getattr(load_config("tiny", SAME[stage]), stage)
    for run in (both[name] / stage for name in ("one", "two")):
        assert getattr(load_config(run / "config.yaml"), stage) == section
        name = CHECKPOINT.get(stage, stage)
        assert read_header(run / f"{name}.safetensors").config == json.loads(json.dumps(asdict(section)))


def test_dropout_of_two_processes_changes_the_loss_a_little(both: dict[str, Path]) -> None:
    """Each process draws its own dropout masks; everything else in a step is the same."""
    one, two = (curve(both[name] / "dropout")[0] for name in ("one", "two"))
    assert two["position"] != one["position"] and two["position"] == pytest.approx(one["position"], rel=0.1)


def test_two_processes_report_the_result_once(both: dict[str, Path]) -> None:
    assert (both["two"] / "said").read_text().count("head_motion.safetensors: step ") == 1


def test_one_process_out_of_memory_ends_both_and_one_process_resumes_the_run(
    both: dict[str, Path], store: Path, tmp_path: Path
) -> None:
    (tmp_path / "cut.py").write_text(OUT_OF_MEMORY)
    done = two(tmp_path / "cut.py", *command("motion", store, tmp_path / "run"))
    assert done.returncode != 0
    assert re.findall("^thgen: .*$", done.stderr, re.MULTILINE) == [
        "thgen: error: out of memory; use a shorter or smaller clip, or --device cpu"
    ]
    stages.run("motion", store, tmp_path / "run", config="tiny", overrides=SAME["motion"], device="cpu", resume=True)
    resumed, whole = curve(tmp_path / "run"), curve(both["one"] / "motion")
    assert [line["step"] for line in resumed] == [1, 2, 3, 4]
    for line, expected in zip(resumed, whole, strict=True):
        assert line == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_two_processes_report_a_mistake_once(store: Path, tmp_path: Path) -> None:
    done = two("-m", "thcli", *command("motion", store, tmp_path / "run", "motion.train.batch_size=3"))
    assert done.returncode != 0
    assert re.findall("^thgen: .*$", done.stderr, re.MULTILINE) == [
        "thgen: error: batch_size 3: cannot be shared by 2 processes; give a multiple of it"
    ]
    assert not (tmp_path / "run").exists()


def test_one_process_alone_shares_nothing() -> None:
    layer = torch.nn.BatchNorm1d(3)
    before = dict(vars(layer))
    ALONE.share(layer, "forward")
    ALONE.check_batch(7)
    assert vars(layer) == before and ALONE.first(lambda: 5) == 5 and ALONE.fails_first()


def test_processes_refuse_a_numbered_gpu() -> None:
    with pytest.raises(UsageError, match=r"--device cuda:1: 2 processes need a GPU each; give --device cuda"):
        Processes(0, 2, None).device("cuda:1")  # type: ignore[arg-type]
