"""Fine-tuning in memory: the better of before and after is kept, and nothing else changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thcli.checkpoints import Header, save_checkpoint
from thcli.configs.sections import TrainOptions
from thcli.errors import ThgenError, WeightsError
from thcli.training.fine_tune import fine_tune
from thcli.training.protocol import Networks

OPTIONS = TrainOptions(steps=12, warmup=2, lr=0.02, val_every=5, ema=0.9)


class Shrinking:
    """A linear map that learns to return zero; its validations give the scores that are listed, then measured ones."""

    name = "toy"
    header = Header("toy", {})

    def __init__(self, *scores: float) -> None:
        self.scores, self.validations = list(scores), list[dict[str, float]]()

    def build(self) -> Networks:
        return Networks(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.1)))

    def batch(self, random: np.random.Generator) -> Tensor:
        return torch.from_numpy(random.normal(size=(8, 3)).astype(np.float32))

    def step(self, networks: Networks, batch: Tensor) -> dict[str, Tensor]:
        return {"total": networks.network(batch).square().mean()}

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        score = self.scores.pop(0) if self.scores else float(network(torch.eye(3)).square().mean())
        self.validations.append({"score": score})
        return self.validations[-1]


@pytest.fixture
def start(tmp_path: Path) -> Path:
    torch.manual_seed(5)
    save_checkpoint(tmp_path / "toy.safetensors", Header("toy", {}), Shrinking().build().network.state_dict())
    return tmp_path / "toy.safetensors"


def answer(network: nn.Module) -> Tensor:
    return network.eval()(torch.eye(3))


def at_start(start: Path) -> Tensor:
    return answer(fine_tune(Shrinking(), dataclasses.replace(OPTIONS, steps=0), start).network)


def test_fine_tune_improves_the_score(start: Path) -> None:
    stage = Shrinking()
    tuned = fine_tune(stage, OPTIONS, start)
    assert len(stage.validations) == 4  # They come before, after steps 5 and 10, and at the end.
    assert (tuned.before, tuned.after, tuned.step) == (stage.validations[0], stage.validations[3], 12)
    assert tuned.after["score"] < 0.9 * tuned.before["score"]
    assert float(answer(tuned.network).square().mean()) == pytest.approx(tuned.after["score"])


@pytest.mark.parametrize(
    ("scores", "step", "after"),
    [((3, 1, 2, 2), 5, 1), ((3, 2, 1, 2), 10, 1), ((3, 4, 5, 6), 0, 4), ((3, 3, 3, 3), 0, 3), ((3, 5, 4, 6), 0, 4)],
)
def test_fine_tune_keeps_the_best_network_be_it_the_first(
    start: Path, scores: tuple[float, ...], step: int, after: float
) -> None:
    tuned = fine_tune(Shrinking(*scores), OPTIONS, start)
    assert (tuned.step, tuned.before["score"], tuned.after["score"]) == (step, 3, after)
    same = torch.equal(answer(tuned.network), at_start(start))
    assert same == (step == 0)


def test_fine_tune_depends_on_its_seed_alone_and_leaves_torchs_generator_as_it_was(start: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = answer(fine_tune(Shrinking(), OPTIONS, start).network)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, answer(fine_tune(Shrinking(), OPTIONS, start).network))
    other = dataclasses.replace(OPTIONS, seed=1)
    assert not torch.equal(first, answer(fine_tune(Shrinking(), other, start).network))


def test_fine_tune_reports_every_step_and_writes_nothing(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    calls: list[int] = []
    fine_tune(Shrinking(), OPTIONS, start, advance=lambda: calls.append(1))
    assert len(calls) == 12
    assert [path.name for path in tmp_path.iterdir()] == ["toy.safetensors"]


def test_fine_tune_refuses_a_missing_checkpoint_and_says_that_it_diverged(start: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such checkpoint"):
        fine_tune(Shrinking(), OPTIONS, tmp_path / "gone")
    with pytest.raises(ThgenError, match="diverged"):
        fine_tune(Shrinking(), dataclasses.replace(OPTIONS, lr=1e30, clip_norm=1e30), start)
