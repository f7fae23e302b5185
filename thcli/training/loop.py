"""The one training loop. A stage says what is trained and how a batch is scored; everything else is here.

All randomness of step k derives from (seed, k), so a run that is interrupted and resumed from its last look at the
held-out subjects follows the same loss curve without any generator's state being stored.

A run's folder holds ``STAGE.safetensors`` (the best so far), ``state.safetensors`` (to resume from) and
``log.jsonl`` (the loss curve).
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from thcli.checkpoints import Checkpoint, Header, load_checkpoint, load_weights, save_checkpoint
from thcli.config import TrainOptions
from thcli.errors import ThgenError, UsageError

Batch = TypeVar("Batch")
Progress = Callable[[int, int, Mapping[str, float]], None]
"""Called after every step with the steps done, the steps in all, and the newest figures."""


@dataclass(frozen=True)
class Networks:
    """What is trained: the network of the checkpoint, and a critic beside it where a loss is adversarial."""

    network: nn.Module
    critic: nn.Module | None = None


class Stage(Protocol[Batch]):
    """One kind of training: ``name`` is the checkpoint's stage, ``header`` its provenance, less step and metrics."""

    name: str
    header: Header

    def build(self) -> Networks:
        """Freshly initialised networks."""

    def batch(self, random: np.random.Generator) -> Batch:
        """One random batch, on the device."""

    def step(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """Losses by name: ``total`` trains the network, ``critic`` the critic if there is one; others are logged."""

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Figures on held-out subjects; the lower ``score``, the better."""


@dataclass(frozen=True)
class TrainResult:
    """checkpoint: the best network's file; step and metrics: of that network."""

    checkpoint: Path
    step: int
    metrics: Mapping[str, float]


def train(
    stage: Stage[Any],
    options: TrainOptions,
    out: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    init: Path | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Train ``stage`` into the folder ``out``; the best checkpoint on held-out subjects is kept.

    resume: go on from ``out``'s state; a folder without one starts anew
    init: a checkpoint of the same stage whose weights to start from
    """
    out.mkdir(parents=True, exist_ok=True)
    run = _Run(stage, options, out, torch.device(device))
    if resume and run.state_path.is_file():
        run.load_state()
    elif init is not None:
        load_weights(run.networks.network, load_checkpoint(init, stage.name), init)
        run.average.load_state_dict(run.networks.network.state_dict())
    run.log_path.touch() if run.done else run.log_path.write_text("")
    with _tensorboard(out) as board:
        while run.done < options.steps and not run.stopped:
            figures = run.step()
            if run.done % options.val_every == 0 or run.done == options.steps:
                figures |= run.look()
            run.log(figures, board)
            if progress is not None:
                progress(run.done, options.steps, figures)
    best = load_checkpoint(run.best_path, stage.name).header
    return TrainResult(run.best_path, best.step, best.metrics)


class _Run(Generic[Batch]):
    """The moving parts of one training run."""

    def __init__(self, stage: Stage[Batch], options: TrainOptions, out: Path, device: torch.device) -> None:
        self.stage, self.options, self.device = stage, options, device
        self.best_path = out / f"{stage.name}.safetensors"
        self.state_path, self.log_path = out / "state.safetensors", out / "log.jsonl"
        torch.manual_seed(options.seed)
        networks = stage.build()
        self.networks = Networks(networks.network.to(device), networks.critic and networks.critic.to(device))
        self.average = copy.deepcopy(self.networks.network).requires_grad_(False)
        self.optimizers = {
            name: torch.optim.AdamW(
                net.parameters(), lr=options.lr, weight_decay=options.weight_decay, betas=(0.9, 0.99)
            )
            for name, net in self._named()
        }
        self.done, self.best, self.looks_since_best = 0, math.inf, 0

    def _named(self) -> list[tuple[str, nn.Module]]:
        pairs = [("total", self.networks.network), ("critic", self.networks.critic)]
        return [(name, network) for name, network in pairs if network is not None]

    @property
    def stopped(self) -> bool:
        return 0 < self.options.patience <= self.looks_since_best

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine to zero."""
        o = self.options
        return o.lr * min((self.done + 1) / max(o.warmup, 1), 0.5 + 0.5 * math.cos(math.pi * self.done / o.steps))

    def step(self) -> dict[str, float]:
        """One optimiser step of every network."""
        torch.manual_seed(self.options.seed * 1_000_003 + self.done)
        batch = self.stage.batch(np.random.default_rng([self.options.seed, self.done]))
        for _, network in self._named():
            network.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            losses = self.stage.step(self.networks, batch)
        if not all(torch.isfinite(loss) for loss in losses.values()):
            broken = ", ".join(name for name, loss in losses.items() if not torch.isfinite(loss))
            raise ThgenError(f"training of {self.stage.name} diverged at step {self.done} ({broken}); lower the lr")
        for name, network in self._named():
            # The total's gradient also runs through the critic, which must not learn from it.
            network.zero_grad(set_to_none=True)
            losses[name].backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), self.options.clip_norm)
        for optimizer in self.optimizers.values():
            optimizer.param_groups[0]["lr"] = self.learning_rate()
            optimizer.step()
        self.done += 1
        self._update_average()
        return {name: float(loss.detach()) for name, loss in losses.items()}

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on the mean must not remember the initial weights.
        decay = min(self.options.ema, self.done / (self.done + 10))
        current = self.networks.network.state_dict()
        for name, value in self.average.state_dict().items():
            value.lerp_(current[name], 1 - decay) if value.is_floating_point() else value.copy_(current[name])

    def look(self) -> dict[str, float]:
        """Evaluate on held-out subjects, keep the network if it is the best so far, and write the state."""
        self.average.eval()
        with torch.no_grad():
            metrics = self.stage.evaluate(self.average)
        self.looks_since_best += 1
        if metrics["score"] < self.best:
            self.best, self.looks_since_best = metrics["score"], 0
            header = dataclasses.replace(self.stage.header, step=self.done, metrics=metrics)
            save_checkpoint(self.best_path, header, self.average.state_dict())
        self.save_state()
        return metrics

    def save_state(self) -> None:
        tensors = {f"average/{k}": v for k, v in self.average.state_dict().items()}
        for name, network in self._named():
            tensors |= {f"{name}/network/{k}": v for k, v in network.state_dict().items()}
            moments = self.optimizers[name].state_dict()["state"]
            tensors |= {f"{name}/adam/{i}/{k}": v for i, state in moments.items() for k, v in state.items()}
        progress = {"best": self.best, "looks_since_best": self.looks_since_best}
        config = {"options": dataclasses.asdict(self.options), "progress": progress}
        header = dataclasses.replace(self.stage.header, stage=f"{self.stage.name}-state", step=self.done, config=config)
        save_checkpoint(self.state_path, header, {k: v.clone() for k, v in tensors.items()})

    def load_state(self) -> None:
        state = load_checkpoint(self.state_path, f"{self.stage.name}-state")
        if state.header.config["options"] != dataclasses.asdict(self.options):
            raise UsageError(f"{self.state_path}: made with other options; resume with the same, or give another --out")
        self.done = state.header.step
        self.best = state.header.config["progress"]["best"]
        self.looks_since_best = state.header.config["progress"]["looks_since_best"]
        self._restore(self.average, state, "average/")
        for name, network in self._named():
            self._restore(network, state, f"{name}/network/")
            moments: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(state, f"{name}/adam/").items():
                index, _, entry = key.partition("/")
                moments.setdefault(int(index), {})[entry] = value
            groups = self.optimizers[name].state_dict()["param_groups"]
            self.optimizers[name].load_state_dict({"state": moments, "param_groups": groups})
        lines = self.log_path.read_text().splitlines() if self.log_path.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.done]
        self.log_path.write_text("".join(line + "\n" for line in kept))

    def _restore(self, network: nn.Module, state: Checkpoint, prefix: str) -> None:
        load_weights(network, Checkpoint(state.header, _under(state, prefix)), self.state_path)

    def log(self, figures: Mapping[str, float], board: Any) -> None:
        with self.log_path.open("a") as file:
            file.write(json.dumps({"step": self.done, **{k: round(v, 6) for k, v in figures.items()}}) + "\n")
        if board is not None:
            for name, value in figures.items():
                board.add_scalar(name, value, self.done)


def _under(state: Checkpoint, prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in state.tensors.items() if name.startswith(prefix)}


@contextlib.contextmanager
def _tensorboard(out: Path) -> Iterator[Any]:
    """A TensorBoard writer where the extra ``train`` is installed, else None."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield None
        return
    writer = SummaryWriter(str(out))
    try:
        yield writer
    finally:
        writer.close()
