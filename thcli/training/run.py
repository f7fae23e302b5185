"""One training run: its steps, the running mean of its weights, validation, and the state to resume from."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor, nn

from thcli.checkpoints import (
    Checkpoint,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from thcli.configs.sections import TrainOptions
from thcli.errors import ThgenError, UsageError
from thcli.records import Image
from thcli.training.distributed import World
from thcli.training.protocol import Batch, LogsImages, Stage


class Run(Generic[Batch]):
    """State of a training run; only ``validate`` writes to the folder ``out``.

    average: the network with running means of its weights, which is validated and saved
    done: number of steps done
    best: lowest score so far
    validations_since_best: number of validations since the lowest score
    """

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
        self.done, self.best, self.validations_since_best = 0, math.inf, 0

    def _named(self) -> list[tuple[str, nn.Module]]:
        """Networks that are trained, each with the name of its loss."""
        pairs = [("total", self.networks.network), ("critic", self.networks.critic)]
        return [(name, network) for name, network in pairs if network is not None]

    def start_from(self, init: Path) -> None:
        """Load the weights of a checkpoint of the same stage. Raises WeightsError where they do not fit."""
        load_weights(self.networks.network, load_checkpoint(init, self.stage.name), init)
        self.average.load_state_dict(self.networks.network.state_dict())

    def share(self) -> None:
        """Share the networks' work with the other processes, starting from the first process's weights."""
        self.world.share(self.networks.network, self.networks.entry)
        if self.networks.critic is not None:
            self.world.share(self.networks.critic, "forward")

    @property
    def stopped(self) -> bool:
        """Whether the score has not improved for ``patience`` validations."""
        return 0 < self.options.patience <= self.validations_since_best

    def learning_rate(self) -> float:
        """Learning rate of the next step: a linear warm-up, then a cosine that falls to zero."""
        o = self.options
        return o.lr * min((self.done + 1) / max(o.warmup, 1), 0.5 + 0.5 * math.cos(math.pi * self.done / o.steps))

    def step(self) -> dict[str, float]:
        """Make one optimiser step of every network, and return the losses by name."""
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
        """Add the gradients of a part of a batch to those of all networks, and return the losses by name."""
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
        """Update the running mean of the weights."""
        # The decay is smaller in the first steps, so that the mean does not keep the initial weights.
        decay = min(self.options.ema, self.done / (self.done + 10))
        current = self.networks.network.state_dict()
        for name, value in self.average.state_dict().items():
            value.lerp_(current[name], 1 - decay) if value.is_floating_point() else value.copy_(current[name])

    def validate(self) -> dict[str, float]:
        """Measure the network on held-out subjects, save it if it is the best so far, and write the state."""
        metrics = self.world.first(self.evaluate)
        better = metrics["score"] < self.best
        self.best = min(metrics["score"], self.best)
        self.validations_since_best = 0 if better else self.validations_since_best + 1
        self.world.first(lambda: self._save(metrics if better else None))
        return metrics

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return the figures of the running mean of the weights on the stage's held-out data."""
        return self.stage.evaluate(self.average.eval())

    @torch.no_grad()
    def images(self) -> Mapping[str, Image]:
        """Return the stage's images for TensorBoard; none for a stage without images."""
        return self.stage.validation_images(self.average.eval()) if isinstance(self.stage, LogsImages) else {}

    def _save(self, best: Mapping[str, float] | None) -> None:
        if best is not None:
            header = dataclasses.replace(self.stage.header, step=self.done, metrics=best)
            tensors = self.average.state_dict()
            if self.options.half:
                tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
            save_checkpoint(self.best_path, header, tensors)
        self.save_state()

    def _settings(self) -> dict[str, Any]:
        """Settings that a resumed run must share with the original one, as JSON returns them."""
        settings = {"options": dataclasses.asdict(self.options), "stage": self.stage.header.config}
        return dict(json.loads(json.dumps(settings)))

    def save_state(self) -> None:
        """Write everything that a resumed run needs: networks, running mean, optimisers and progress."""
        tensors = {f"average/{k}": v for k, v in self.average.state_dict().items()}
        for name, network in self._named():
            tensors |= {f"{name}/network/{k}": v for k, v in network.state_dict().items()}
            moments = self.optimizers[name].state_dict()["state"]
            tensors |= {f"{name}/adam/{i}/{k}": v for i, state in moments.items() for k, v in state.items()}
        progress = {"best": self.best, "looks_since_best": self.validations_since_best}
        config = {**self._settings(), "progress": progress}
        header = dataclasses.replace(self.stage.header, stage=f"{self.stage.name}-state", step=self.done, config=config)
        save_checkpoint(self.state_path, header, {k: v.clone() for k, v in tensors.items()})

    def load_state(self) -> None:
        """Restore what ``save_state`` wrote. Raises UsageError where it is of other options or other clips."""
        state = load_checkpoint(self.state_path, f"{self.stage.name}-state")
        if {name: state.header.config.get(name) for name in self._settings()} != self._settings():
            raise UsageError(f"{self.state_path}: made with other options; resume with the same, or give another --out")
        if state.header.data != json.loads(json.dumps(self.stage.header.data)):
            raise UsageError(f"{self.state_path}: made from other clips; resume with the same, or give another --out")
        self.done = state.header.step
        self.best = state.header.config["progress"]["best"]
        self.validations_since_best = state.header.config["progress"]["looks_since_best"]
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
    """Cut a batch into ``count`` equal parts, by the rows of a tensor or of all tensors of a dataclass."""
    if count == 1:
        return [batch]
    if isinstance(batch, Tensor):
        return list(batch.chunk(count))
    columns = [_parts(getattr(batch, field.name), count) for field in dataclasses.fields(batch)]
    return [type(batch)(*row) for row in zip(*columns, strict=True)]


def _under(state: Checkpoint, prefix: str) -> dict[str, Tensor]:
    """Tensors of a checkpoint whose names begin with ``prefix``, by the rest of the name."""
    return {name[len(prefix) :]: value for name, value in state.tensors.items() if name.startswith(prefix)}
