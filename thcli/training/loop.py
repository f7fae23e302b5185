"""The one training loop. A stage says what is trained and how a batch is scored; everything else is here.

All randomness of step k derives from (seed, k), so a run that is interrupted and resumed from its last look at the
held-out subjects follows the same loss curve without any generator's state being stored.

A run's folder holds ``STAGE.safetensors`` (the best so far), ``state.safetensors`` (to resume from) and
``log.jsonl`` (the loss curve). Of several processes (``training.distributed``) the first one writes them, and
measures on the held-out subjects; all read them, so the folder must be one that every process sees.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from thcli.checkpoints import Checkpoint, Header, load_checkpoint, load_weights, save_checkpoint, write_atomic
from thcli.config import Config, TrainOptions, to_yaml
from thcli.errors import ThgenError, UsageError
from thcli.records import Image
from thcli.training.distributed import ALONE, World
from thcli.training.journal import Journal

Batch = TypeVar("Batch")
Progress = Callable[[int, int, Mapping[str, float]], None]
"""Called after every step with the steps done, the steps in all, and the newest figures."""


@dataclass(frozen=True)
class Networks:
    """What is trained: the network of the checkpoint, and a critic beside it where a loss is adversarial.

    entry: the network's method that a stage's step calls; its inputs and outputs have a row for every example
    """

    network: nn.Module
    critic: nn.Module | None = None
    entry: str = "forward"


class Stage(Protocol[Batch]):
    """One kind of training: ``name`` is the checkpoint's stage, ``header`` its provenance, less step and metrics."""

    name: str
    header: Header

    def build(self) -> Networks:
        """Freshly initialised networks."""

    def batch(self, random: np.random.Generator) -> Batch:
        """One random batch, on the device: a tensor, or a dataclass of such, with a row for every example."""

    def step(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """Losses by name: ``total`` trains the network, ``critic`` the critic if there is one; others are logged.

        All chance in a step is the networks' own, so that several processes agree on everything else.
        """

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Figures on held-out subjects; the lower ``score``, the better."""


@runtime_checkable
class Illustrated(Protocol):
    """A stage that has something to show at every look, for TensorBoard."""

    def pictures(self, network: nn.Module) -> Mapping[str, Image]:
        """Pictures [H, W, 3] uint8 by name, of what the network makes of held-out subjects."""


@dataclass(frozen=True)
class TrainResult:
    """checkpoint: the best network's file; step and metrics: of that network."""

    checkpoint: Path
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class RunOptions:
    """Where a run happens, what it starts from, and who hears of it; what is learned is ``TrainOptions``' matter.

    device: as PyTorch names it
    resume: go on from the folder's state; one without starts anew
    init: a checkpoint of the same stage whose weights to start from, where nothing is resumed
    progress: called after every step
    world: the processes to train with; their number may change when a run is resumed
    """

    device: str = "cpu"
    resume: bool = False
    init: Path | None = None
    progress: Progress | None = None
    world: World = ALONE


AFRESH = RunOptions()
"""On the CPU, in one process, from the first step on."""


def train(
    stage: Stage[Any], options: TrainOptions, out: Path, running: RunOptions = AFRESH, config: Config | None = None
) -> TrainResult:
    """Train ``stage`` into the folder ``out``; the best checkpoint on held-out subjects is kept.

    config: noted in the folder as ``config.yaml``
    """
    world = running.world
    world.check_batch(options.batch_size, options.accumulate)
    out.mkdir(parents=True, exist_ok=True)
    run = Run(stage, options, out, torch.device(running.device), world)
    if running.resume and run.state_path.is_file():
        run.load_state()
    elif running.init is not None:
        run.start_from(running.init)
    if config is not None:
        world.first(lambda: write_atomic(out / "config.yaml", to_yaml(config).encode()))
    run.share()
    journal = Journal(out, run.done) if world.rank == 0 else None
    try:
        while run.done < options.steps and not run.stopped:
            figures = run.step()
            if run.done % options.val_every == 0 or run.done == options.steps:
                figures |= run.look()
                if journal is not None and journal.board is not None:
                    journal.show(run.done, run.pictures())
            if journal is not None:
                journal.write(run.done, figures)
                if running.progress is not None:
                    running.progress(run.done, options.steps, figures)
    finally:
        if journal is not None:
            journal.close()
    best = load_checkpoint(run.best_path, stage.name).header
    return TrainResult(run.best_path, best.step, best.metrics)


class Run(Generic[Batch]):
    """The moving parts of one training run; ``out`` is written to by ``look`` alone."""

    def __init__(
        self, stage: Stage[Batch], options: TrainOptions, out: Path, device: torch.device, world: World
    ) -> None:
        self.stage, self.options, self.device, self.world = stage, options, device, world
        self.best_path, self.state_path = out / f"{stage.name}.safetensors", out / "state.safetensors"
        torch.manual_seed(options.seed)
        self.networks = stage.build()
        for _, network in self._named():
            network.to(device)
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

    def start_from(self, init: Path) -> None:
        """Take the weights of a checkpoint of the same stage; WeightsError where they do not fit."""
        load_weights(self.networks.network, load_checkpoint(init, self.stage.name), init)
        self.average.load_state_dict(self.networks.network.state_dict())

    def share(self) -> None:
        """Share the work of the networks with other processes, from the same weights on."""
        self.world.share(self.networks.network, self.networks.entry)
        if self.networks.critic is not None:
            self.world.share(self.networks.critic, "forward")

    @property
    def stopped(self) -> bool:
        return 0 < self.options.patience <= self.looks_since_best

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine to zero."""
        o = self.options
        return o.lr * min((self.done + 1) / max(o.warmup, 1), 0.5 + 0.5 * math.cos(math.pi * self.done / o.steps))

    def step(self) -> dict[str, float]:
        """One optimiser step of every network."""
        torch.manual_seed(self.options.seed * 1_000_003 + self.done + (self.world.rank << 40))
        batch = self.stage.batch(np.random.default_rng([self.options.seed, self.done]))
        for _, network in self._named():
            network.train()
            network.zero_grad(set_to_none=True)
        parts = [self._learn(part) for part in _parts(batch, self.options.accumulate)]
        for _, network in self._named():
            self.world.add_gradients(network)
            nn.utils.clip_grad_norm_(network.parameters(), self.options.clip_norm)
        for optimizer in self.optimizers.values():
            optimizer.param_groups[0]["lr"] = self.learning_rate()
            optimizer.step()
        self.done += 1
        self._update_average()
        return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}

    def _learn(self, part: Batch) -> dict[str, float]:
        """Add a part of a batch to the gradients of all networks."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            losses = self.stage.step(self.networks, part)
        if not all(torch.isfinite(loss) for loss in losses.values()):
            broken = ", ".join(name for name, loss in losses.items() if not torch.isfinite(loss))
            raise ThgenError(f"training of {self.stage.name} diverged at step {self.done} ({broken}); lower the lr")
        for name, network in self._named():
            # The total's gradient also runs through the critic, which must not learn from it.
            own = [parameter for parameter in network.parameters() if parameter.requires_grad]
            torch.autograd.backward(losses[name] / self.options.accumulate, inputs=own)
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
        metrics = self.world.first(self.evaluate)
        better = metrics["score"] < self.best
        self.best = min(metrics["score"], self.best)
        self.looks_since_best = 0 if better else self.looks_since_best + 1
        self.world.first(lambda: self._save(metrics if better else None))
        return metrics

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Figures of the running mean on what the stage holds out."""
        return self.stage.evaluate(self.average.eval())

    @torch.no_grad()
    def pictures(self) -> Mapping[str, Image]:
        """What the stage has to show, if anything."""
        return self.stage.pictures(self.average.eval()) if isinstance(self.stage, Illustrated) else {}

    def _save(self, best: Mapping[str, float] | None) -> None:
        if best is not None:
            header = dataclasses.replace(self.stage.header, step=self.done, metrics=best)
            save_checkpoint(self.best_path, header, self.average.state_dict())
        self.save_state()

    def _settings(self) -> dict[str, Any]:
        """What a resumed run must have in common with the first, as it comes back from a file."""
        settings = {"options": dataclasses.asdict(self.options), "stage": self.stage.header.config}
        return dict(json.loads(json.dumps(settings)))

    def save_state(self) -> None:
        tensors = {f"average/{k}": v for k, v in self.average.state_dict().items()}
        for name, network in self._named():
            tensors |= {f"{name}/network/{k}": v for k, v in network.state_dict().items()}
            moments = self.optimizers[name].state_dict()["state"]
            tensors |= {f"{name}/adam/{i}/{k}": v for i, state in moments.items() for k, v in state.items()}
        progress = {"best": self.best, "looks_since_best": self.looks_since_best}
        config = {**self._settings(), "progress": progress}
        header = dataclasses.replace(self.stage.header, stage=f"{self.stage.name}-state", step=self.done, config=config)
        save_checkpoint(self.state_path, header, {k: v.clone() for k, v in tensors.items()})

    def load_state(self) -> None:
        state = load_checkpoint(self.state_path, f"{self.stage.name}-state")
        if {name: state.header.config.get(name) for name in self._settings()} != self._settings():
            raise UsageError(f"{self.state_path}: made with other options; resume with the same, or give another --out")
        if state.header.data != json.loads(json.dumps(self.stage.header.data)):
            raise UsageError(f"{self.state_path}: made from other clips; resume with the same, or give another --out")
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

    def _restore(self, network: nn.Module, state: Checkpoint, prefix: str) -> None:
        load_weights(network, Checkpoint(state.header, _under(state, prefix)), self.state_path)


def _parts(batch: Any, count: int) -> list[Any]:
    """A batch in ``count`` equal parts: a tensor's rows, or those of all tensors in a dataclass."""
    if count == 1:
        return [batch]
    if isinstance(batch, Tensor):
        return list(batch.chunk(count))
    columns = [_parts(getattr(batch, field.name), count) for field in dataclasses.fields(batch)]
    return [type(batch)(*row) for row in zip(*columns, strict=True)]


def _under(state: Checkpoint, prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in state.tensors.items() if name.startswith(prefix)}
