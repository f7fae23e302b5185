"""Training on a GPU, the machine's own or a pretended one: every stage takes a step as on the CPU, and resumes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from thcli.clips.encode import VideoWriter
from thcli.data.store import CROP, SPEECH, TRACK, ClipMeta, StoreWriter, save_track, write_index
from thcli.records import SAMPLE_RATE, SAMPLES_PER_FRAME, FaceTrack
from thcli.training import stages

FRAMES = 260
"""Frames of a clip; Φ needs as many."""
SETTINGS = {
    "expression": (),
    "adapter": (),
    "motion": (),
    "detection": ("detection.train.bf16=true", "detection.every=130"),
    "unprojection": ("unprojection.train.bf16=true", "unprojection.every=130"),
    "generator": ("generator.train.bf16=true", "generator.adversarial=0.1", "generator.train.accumulate=2"),
}
"""Settings by stage, beside those of the configuration ``tiny``."""
ENCODER = ("expression.network.front_end=encoder", "expression.network.closure=true", "expression.spoilt=0")
"""Settings of the shipped Ψ, which take long on a CPU."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, talking: Callable[[int, int], FaceTrack]) -> Path:
    """A store of four subjects that talk before noise."""
    root, random = tmp_path_factory.mktemp("store"), np.random.default_rng(0)
    for seed, subject in enumerate("abcd"):
        with StoreWriter(root).clip(ClipMeta(subject, subject, "train", FRAMES, 0)) as folder:
            image = random.integers(0, 255, (16, 16, 3), np.uint8).repeat(16, 0).repeat(16, 1)
            with VideoWriter(folder / CROP, (256, 256), None, FRAMES) as video:
                for _ in range(FRAMES):
                    video.write(image)
            sound = random.normal(0, 0.1, FRAMES * SAMPLES_PER_FRAME)
            soundfile.write(folder / SPEECH, sound, SAMPLE_RATE, subtype="PCM_16")
            save_track(folder / TRACK, talking(seed, FRAMES))
    write_index(root)
    return root


class Interrupted(Exception):
    pass


def steps(stage: str, data: Path, out: Path, device: str, resume: bool = False) -> list[dict[str, float]]:
    """Train a step of two, or the second one, and return the figures of all steps; nothing is exported."""

    def stop(done: int, *_: object) -> None:
        if done == 1 + resume:
            raise Interrupted

    train = f"{stage}.train."
    overrides = (*SETTINGS[stage], f"{train}steps=2", f"{train}val_every=1", f"{train}batch_size=2")
    with pytest.raises(Interrupted):
        stages.run(stage, data, out, config="tiny", overrides=overrides, device=device, resume=resume, progress=stop)
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


REAL = [pytest.param("real", stage, marks=pytest.mark.gpu) for stage in SETTINGS]


@pytest.mark.parametrize(
    ("gpu", "stage"),
    [
        *(("cuda:0", stage) for stage in ("expression", "motion", "unprojection")),
        ("mps:0", "generator"),
        *(pytest.param("cuda:0", stage, marks=pytest.mark.slow) for stage in ("detection", "generator")),
        *REAL,
    ],
    indirect=["gpu"],
)
def test_training_on_a_gpu_resumes(gpu: str, stage: str, store: Path, episodes: Path, tmp_path: Path) -> None:
    data = episodes if stage == "generator" else store
    begun = steps(stage, data, tmp_path, gpu)
    resumed = steps(stage, data, tmp_path, gpu, resume=True)
    assert [line["step"] for line in resumed] == [1, 2] and resumed[0] == begun[0]


@pytest.mark.parametrize(
    ("gpu", "stage"),
    [*(pytest.param("cuda:0", stage, marks=pytest.mark.slow) for stage in SETTINGS), *REAL],
    indirect=["gpu"],
)
def test_training_on_a_gpu_begins_with_the_figures_of_the_cpu(
    gpu: str, stage: str, store: Path, episodes: Path, tmp_path: Path
) -> None:
    data = episodes if stage == "generator" else store
    (found,), (expected,) = (steps(stage, data, tmp_path / device, device) for device in (gpu, "cpu"))
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=0.05, abs=0.02), name


@pytest.mark.slow
@pytest.mark.parametrize("stage", SETTINGS)
def test_train_on_a_gpu_ends_with_a_checkpoint(thgen, gpu: str, stage: str, store: Path, episodes: Path) -> None:
    data = episodes if stage == "generator" else store
    chosen = (*SETTINGS[stage], *(ENCODER if stage == "expression" else ()))
    settings = [argument for setting in chosen for argument in ("--set", setting)]
    given = ("train", stage, "--data", data, "--out", "run", "--config", "tiny", "--device", gpu, *settings)
    said = thgen(*given)
    assert said.code == 0, said.err
    assert {"run/log.jsonl", "run/state.safetensors"} < set(said.new)
    again = thgen(*given, "--resume")
    assert again.code == 0, again.err
