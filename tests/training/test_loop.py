import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thcli.checkpoints import Header, load_checkpoint, read_header
from thcli.config import TrainOptions
from thcli.errors import ThgenError, UsageError, WeightsError
from thcli.training.loop import Networks, train

OPTIONS = TrainOptions(steps=40, warmup=4, lr=0.05, val_every=10, ema=0.9)


class Toy:
    """A linear map learns the identity, with dropout as a source of chance, beside a critic."""

    name = "toy"
    header = Header("toy", {"width": 3}, data={"clips": 1})

    def __init__(self, score: float | None = None) -> None:
        self.score = score

    def build(self) -> Networks:
        return Networks(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.1)), nn.Linear(3, 1))

    def batch(self, random: np.random.Generator) -> Tensor:
        return torch.from_numpy(random.normal(size=(8, 3)).astype(np.float32))

    def step(self, networks: Networks, batch: Tensor) -> dict[str, Tensor]:
        assert networks.critic is not None
        out = networks.network(batch)
        real, fake = networks.critic(batch), networks.critic(out.detach())
        total = (out - batch).square().mean() - 0.01 * networks.critic(out).mean()
        return {"total": total, "critic": (real - 1).square().mean() + fake.square().mean()}

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        assert not network.training
        return {
            "score": float((network(torch.eye(3)) - torch.eye(3)).square().mean()) if self.score is None else self.score
        }


class Interrupted(Exception):
    pass


def interrupt_at(step: int):
    def progress(done: int, steps: int, figures: object) -> None:
        if done == step:
            raise Interrupted

    return progress


def curve(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_it_learns_and_keeps_the_best(tmp_path: Path) -> None:
    result = train(Toy(), OPTIONS, tmp_path)
    looks = [line for line in curve(tmp_path) if "score" in line]
    assert [line["step"] for line in looks] == [10, 20, 30, 40]
    assert looks[-1]["score"] < looks[0]["score"] / 2
    assert result.metrics["score"] == pytest.approx(min(line["score"] for line in looks), abs=1e-6)
    assert read_header(result.checkpoint) == dataclasses.replace(Toy.header, step=result.step, metrics=result.metrics)


@pytest.mark.parametrize("interrupted", [7, 20, 27])
def test_resumed_run_follows_the_same_curve(tmp_path: Path, interrupted: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(Toy(), OPTIONS, whole)
    with pytest.raises(Interrupted):
        train(Toy(), OPTIONS, parts, progress=interrupt_at(interrupted))
    train(Toy(), OPTIONS, parts, resume=True)
    assert curve(parts) == curve(whole)
    assert (parts / "toy.safetensors").read_bytes() == (whole / "toy.safetensors").read_bytes()


def test_resume_with_other_options_is_refused(tmp_path: Path) -> None:
    train(Toy(), OPTIONS, tmp_path)
    with pytest.raises(UsageError, match="made with other options"):
        train(Toy(), dataclasses.replace(OPTIONS, lr=0.1), tmp_path, resume=True)


def test_early_stop_after_patience(tmp_path: Path) -> None:
    result = train(Toy(score=1.0), dataclasses.replace(OPTIONS, patience=2), tmp_path)
    assert result.step == 10 and curve(tmp_path)[-1]["step"] == 30


def test_start_from_a_checkpoint(tmp_path: Path) -> None:
    first = train(Toy(), OPTIONS, tmp_path / "first")
    still = dataclasses.replace(OPTIONS, steps=1, lr=0.0, val_every=1, ema=0.0)
    second = train(Toy(), still, tmp_path / "second", init=first.checkpoint)
    before, after = load_checkpoint(first.checkpoint, "toy"), load_checkpoint(second.checkpoint, "toy")
    assert all(torch.equal(before.tensors[name], after.tensors[name]) for name in before.tensors)
    with pytest.raises(WeightsError):
        train(Toy(), still, tmp_path / "third", init=tmp_path / "nowhere.safetensors")


def test_divergence_is_said(tmp_path: Path) -> None:
    class Broken(Toy):
        def step(self, networks: Networks, batch: Tensor) -> dict[str, Tensor]:
            return {name: loss * float("nan") for name, loss in super().step(networks, batch).items()}

    with pytest.raises(ThgenError, match=r"toy diverged at step 0 .*lower the lr"):
        train(Broken(), OPTIONS, tmp_path)


def test_critic_is_not_moved_by_the_networks_loss(tmp_path: Path) -> None:
    class Idle(Toy):
        def step(self, networks: Networks, batch: Tensor) -> dict[str, Tensor]:
            assert networks.critic is not None
            losses = super().step(networks, batch)
            self.critic = {name: p.detach().clone() for name, p in networks.critic.named_parameters()}
            return {**losses, "critic": 0 * losses["critic"]}

    stage = Idle()
    torch.manual_seed(0)
    options = dataclasses.replace(OPTIONS, weight_decay=0.0)
    train(stage, options, tmp_path)
    torch.manual_seed(options.seed)
    initial = stage.build().critic
    assert initial is not None
    assert all(torch.equal(stage.critic[name], p) for name, p in initial.named_parameters())


def test_bfloat16(tmp_path: Path) -> None:
    train(Toy(), dataclasses.replace(OPTIONS, bf16=True), tmp_path)
    looks = [line for line in curve(tmp_path) if "score" in line]
    assert looks[-1]["score"] < looks[0]["score"]
