"""The training loop, on a stage that learns within a second."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thcli.checkpoints import Header, load_checkpoint, read_header
from thcli.config import load_config
from thcli.configs.sections import Config, TrainOptions
from thcli.errors import ThgenError, UsageError, WeightsError
from thcli.training.loop import RunOptions, train
from thcli.training.protocol import Networks

OPTIONS = TrainOptions(steps=40, warmup=4, lr=0.05, val_every=10, ema=0.9)


class Toy:
    """A stage whose linear map learns the identity, with dropout as a source of chance, beside a critic."""

    name = "toy"
    header = Header("toy", {"width": 3}, config={"size": 3, "parts": [1, 2]}, data={"clips": 1})

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


def test_train_learns_and_keeps_the_best_network(tmp_path: Path) -> None:
    result = train(Toy(), OPTIONS, tmp_path)
    validations = [line for line in curve(tmp_path) if "score" in line]
    assert [line["step"] for line in validations] == [10, 20, 30, 40]
    assert validations[-1]["score"] < validations[0]["score"] / 2
    assert result.metrics["score"] == pytest.approx(min(line["score"] for line in validations), abs=1e-6)
    assert read_header(result.checkpoint) == dataclasses.replace(Toy.header, step=result.step, metrics=result.metrics)


def test_train_writes_the_best_network_in_half_precision_where_asked(tmp_path: Path) -> None:
    whole = load_checkpoint(train(Toy(), OPTIONS, tmp_path / "whole").checkpoint, "toy").tensors
    half = load_checkpoint(train(Toy(), dataclasses.replace(OPTIONS, half=True), tmp_path / "half").checkpoint, "toy")
    for name, tensor in half.tensors.items():
        assert torch.equal(tensor, whole[name].half())
    assert curve(tmp_path / "half") == curve(tmp_path / "whole")


@pytest.mark.parametrize("interrupted", [7, 20, 27])
def test_train_resumed_follows_the_same_curve(tmp_path: Path, interrupted: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(Toy(), OPTIONS, whole)
    with pytest.raises(Interrupted):
        train(Toy(), OPTIONS, parts, RunOptions(progress=interrupt_at(interrupted)))
    train(Toy(), OPTIONS, parts, RunOptions(resume=True))
    assert curve(parts) == curve(whole)
    assert (parts / "toy.safetensors").read_bytes() == (whole / "toy.safetensors").read_bytes()


def test_train_refuses_to_resume_with_other_options(tmp_path: Path) -> None:
    train(Toy(), OPTIONS, tmp_path)
    with pytest.raises(UsageError, match="made with other options"):
        train(Toy(), dataclasses.replace(OPTIONS, lr=0.1), tmp_path, RunOptions(resume=True))


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"config": {"size": 4, "parts": [1, 2]}}, "made with other options"), ({"data": {"clips": 2}}, "other clips")],
)
def test_train_refuses_to_resume_the_run_of_another_stage(
    tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    train(Toy(), OPTIONS, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    stage = Toy()
    stage.header = dataclasses.replace(Toy.header, **changed)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=message):
        train(stage, OPTIONS, tmp_path, RunOptions(resume=True), config=Config())
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


class Scripted(Toy):
    """A stage whose validations give the scores that are listed."""

    def __init__(self, *scores: float) -> None:
        super().__init__()
        self.scores = list(scores)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        return {"score": self.scores.pop(0)}


def test_train_keeps_the_best_network_and_not_the_last(tmp_path: Path) -> None:
    result = train(Scripted(3, 1, 2, 4), OPTIONS, tmp_path)
    assert (result.step, result.metrics) == (20, {"score": 1})
    with pytest.raises(Interrupted):
        train(Toy(), OPTIONS, tmp_path / "other", RunOptions(progress=interrupt_at(21)))
    best, then = (load_checkpoint(path / name, stage) for path, name, stage in (
        (tmp_path, "toy.safetensors", "toy"), (tmp_path / "other", "state.safetensors", "toy-state"),
    ))  # fmt: skip
    assert all(torch.equal(best.tensors[name], then.tensors[f"average/{name}"]) for name in best.tensors)


def test_train_resumed_remembers_the_best_score_and_patience(tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, patience=2)
    with pytest.raises(Interrupted):
        train(Scripted(3, 1, 2), options, tmp_path, RunOptions(progress=interrupt_at(32)))
    result = train(Scripted(1.5), options, tmp_path, RunOptions(resume=True))
    assert (result.step, result.metrics, curve(tmp_path)[-1]["step"]) == (20, {"score": 1}, 40)
    assert train(Scripted(), options, tmp_path, RunOptions(resume=True)) == result


def test_train_stops_early_after_patience(tmp_path: Path) -> None:
    result = train(Toy(score=1.0), dataclasses.replace(OPTIONS, patience=2), tmp_path)
    assert result.step == 10 and curve(tmp_path)[-1]["step"] == 30


def test_train_starts_from_the_weights_of_a_checkpoint(tmp_path: Path) -> None:
    first = train(Toy(), OPTIONS, tmp_path / "first")
    still = dataclasses.replace(OPTIONS, steps=1, lr=0.0, val_every=1, ema=0.0)
    second = train(Toy(), still, tmp_path / "second", RunOptions(init=first.checkpoint))
    before, after = load_checkpoint(first.checkpoint, "toy"), load_checkpoint(second.checkpoint, "toy")
    assert all(torch.equal(before.tensors[name], after.tensors[name]) for name in before.tensors)
    with pytest.raises(WeightsError):
        train(Toy(), still, tmp_path / "third", RunOptions(init=tmp_path / "nowhere.safetensors"))


@dataclasses.dataclass(frozen=True)
class Pair:
    rows: Tensor


@dataclasses.dataclass(frozen=True)
class Nested:
    """A batch with two rows of ``inner`` for each of ``own``."""

    own: Tensor
    inner: Pair


class Sure(Toy):
    """A stage without chance in its network; its batches are nested, and it counts the examples of each step."""

    def build(self) -> Networks:
        self.seen: list[int] = []
        return Networks(nn.Linear(3, 3), nn.Linear(3, 1))

    def batch(self, random: np.random.Generator) -> Nested:  # type: ignore[override]
        rows = super().batch(random)
        return Nested(rows, Pair(rows.repeat_interleave(2, 0)))

    def step(self, networks: Networks, batch: Nested) -> dict[str, Tensor]:  # type: ignore[override]
        assert torch.equal(batch.inner.rows[::2], batch.own) and torch.equal(batch.inner.rows[1::2], batch.own)
        self.seen.append(len(batch.own))
        return super().step(networks, batch.own)


def test_train_accumulates_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, batch_size=8)
    runs = {}
    for parts in (1, 4):
        stage, out = Sure(), tmp_path / str(parts)
        train(stage, dataclasses.replace(options, accumulate=parts), out)
        assert stage.seen == [8 // parts] * (40 * parts)
        runs[parts] = load_checkpoint(out / "state.safetensors", "toy-state").tensors
        for name in ("total", "critic"):
            assert [line[name] for line in curve(out)] == pytest.approx(
                [x[name] for x in curve(tmp_path / "1")], rel=1e-3
            )
    for name, value in runs[1].items():
        assert torch.allclose(runs[4][name], value, rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize("parts", [0, 3])
def test_train_refuses_a_batch_that_cannot_be_cut(tmp_path: Path, parts: int) -> None:
    options = dataclasses.replace(OPTIONS, batch_size=8, accumulate=parts)
    with pytest.raises(UsageError, match=f"batch_size 8: cannot be cut into {parts} parts"):
        train(Sure(), options, tmp_path)


def test_train_says_at_which_step_it_diverged(tmp_path: Path) -> None:
    class Broken(Toy):
        def step(self, networks: Networks, batch: Tensor) -> dict[str, Tensor]:
            return {name: loss * float("nan") for name, loss in super().step(networks, batch).items()}

    with pytest.raises(ThgenError, match=r"toy diverged at step 0 .*lower the lr"):
        train(Broken(), OPTIONS, tmp_path)


def test_train_does_not_move_the_critic_by_the_loss_of_the_network(tmp_path: Path) -> None:
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


def shown(out: Path) -> Any:
    """What TensorBoard shows of a run."""
    pytest.importorskip("tensorboard", reason="the extra 'train' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(out)).Reload()


class Illustrated(Toy):
    def validation_images(self, network: nn.Module) -> dict[str, np.ndarray]:
        assert not network.training and not torch.is_grad_enabled()
        return {"identity": np.zeros((2, 2, 3), np.uint8)}


def test_tensorboard_shows_every_figure_and_an_image_per_validation(tmp_path: Path) -> None:
    train(Illustrated(), OPTIONS, tmp_path)
    board, logged = shown(tmp_path), curve(tmp_path)
    assert set(board.Tags()["scalars"]) == {name for line in logged for name in line} - {"step"}
    for name in board.Tags()["scalars"]:
        expected = [(line["step"], line[name]) for line in logged if name in line]
        found = [(event.step, event.value) for event in board.Scalars(name)]
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected], abs=1e-6)
    assert [event.step for event in board.Images("identity")] == [10, 20, 30, 40]


def test_tensorboard_drops_the_steps_that_a_resumed_run_repeats(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(Toy(), OPTIONS, tmp_path, RunOptions(progress=interrupt_at(27)))
    assert [event.step for event in shown(tmp_path).Scalars("total")] == list(range(1, 28))
    train(Toy(), OPTIONS, tmp_path, RunOptions(resume=True))
    assert [event.step for event in shown(tmp_path).Scalars("total")] == list(range(1, 41))


def test_train_makes_no_images_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Idle(Toy):
        def validation_images(self, network: nn.Module) -> dict[str, np.ndarray]:
            raise AssertionError

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train(Idle(), OPTIONS, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "state.safetensors", "toy.safetensors"}


def test_train_notes_the_configuration(tmp_path: Path) -> None:
    config = load_config("tiny", ["motion.train.steps=7"])
    train(Toy(), OPTIONS, tmp_path, config=config)
    assert load_config(tmp_path / "config.yaml") == config


def test_train_learns_in_bfloat16(tmp_path: Path) -> None:
    train(Toy(), dataclasses.replace(OPTIONS, bf16=True), tmp_path)
    validations = [line for line in curve(tmp_path) if "score" in line]
    assert validations[-1]["score"] < validations[0]["score"]
