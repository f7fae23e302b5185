"""``thgen train generator``: Θ, the 3D-aware generative network (§3.4, §4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from thcli.checkpoints import MANIFEST, Header
from thcli.config import Config, GeneratorConfig, make_dims
from thcli.data.store import INDEX
from thcli.data.takes import WINDOW, PackedTake, TakeMeta, read_index, read_take
from thcli.errors import MediaError
from thcli.training import export
from thcli.training.distributed import ALONE, World
from thcli.training.generator_batch import NO_CHANGE, GeneratorBatch, make_batch
from thcli.training.generator_loss import detail_error, sharpness, ssim, temporal_error, weighted_error
from thcli.training.loop import Networks, Progress, TrainResult, train
from thgen_models.generator import Frames, Generator, GeneratorDims

LOOK_TAKES, LOOK_WINDOWS = 16, 2
"""At a look: held-out takes at most, and windows of each."""
LOOK_REFERENCES = 8


def train_generator(
    data: Path,
    out: Path,
    config: Config,
    progress: Progress | None = None,
    *,
    device: str = "cpu",
    resume: bool = False,
    init: Path | None = None,
    world: World = ALONE,
) -> TrainResult:
    """Train Θ on takes (``thgen preprocess takes``) of split ``train`` into ``out``, and export the best as ONNX."""
    export.check_exporter()
    stage = GeneratorStage(load_takes(data), config.generator, device)
    world.first(lambda: (out / MANIFEST).unlink(missing_ok=True))  # it holds no longer
    result = train(
        stage,
        config.generator.train,
        out,
        device=device,
        resume=resume,
        init=init,
        progress=progress,
        config=config,
        world=world,
    )
    world.first(lambda: export.finish(Generator(stage.dims), stage.name, result, _export))
    return result


def _export(network: Generator, path: Path) -> None:
    export.export_generator(network, path.parent)


def load_takes(data: Path) -> list[PackedTake]:
    """The takes to train on, their pictures still JPEGs in memory."""
    return [read_take(data / meta.file) for meta in list_takes(data)]


def list_takes(data: Path) -> list[TakeMeta]:
    """The takes of split ``train`` in a set; MediaError where there are none."""
    if (data / INDEX).is_file():
        raise MediaError(
            f"{data}: clips, expected takes; make takes of them with 'thgen preprocess takes {data} --out TAKES'"
        )
    takes = [meta for meta in read_index(data) if meta.split == "train"]
    if not takes:
        raise MediaError(f"{data}: no takes of split train there; make some with 'thgen preprocess takes'")
    return takes


class GeneratorStage:
    """Θ on takes; some subjects are held out to choose the best network by.

    Takes of a single subject, as for fine-tuning to them, are looked at themselves.
    """

    name = "generator"

    def __init__(self, takes: Sequence[PackedTake], config: GeneratorConfig, device: str) -> None:
        self.config, self.device = config, device
        self.dims = make_dims(GeneratorDims, config.network, "generator.network")
        subjects = sorted({take.meta.subject for take in takes})
        order = np.random.default_rng(config.train.seed).permutation(len(subjects))
        held_out = {subjects[i] for i in order[: min(config.held_out, len(subjects) - 1)]}
        self.takes = [take for take in takes if take.meta.subject not in held_out]
        kept_apart = [take for take in takes if take.meta.subject in held_out] or self.takes
        self.held_out = kept_apart[:: -(-len(kept_apart) // LOOK_TAKES)]
        # every subject as often, however many takes there are of one
        times = {subject: sum(take.meta.subject == subject for take in self.takes) for subject in subjects}
        chances = np.array([1 / times[take.meta.subject] for take in self.takes])
        self.chances = chances / chances.sum()
        self.header = Header(
            stage=self.name,
            dims=asdict(self.dims),
            config=asdict(config),
            data={"takes": len(takes), "subjects": len(subjects), "held_out": sorted(held_out)},
        )

    def build(self) -> Networks:
        network = Generator(self.dims).to(memory_format=torch.channels_last)
        return Networks(network, entry="from_tensors")

    def batch(self, random: np.random.Generator) -> GeneratorBatch:
        config = self.config
        chosen = [self.takes[i] for i in random.choice(len(self.takes), config.train.batch_size, p=self.chances)]
        firsts = [WINDOW * int(random.integers(len(take.landmarks) // WINDOW)) for take in chosen]
        count = int(random.choice(config.references))
        return self._on_device(make_batch(chosen, firsts, count, config.size, config.augment, random))

    def step(self, networks: Networks, batch: GeneratorBatch) -> dict[str, Tensor]:
        assert isinstance(networks.network, Generator)
        inputs = [getattr(batch.frames, field.name) for field in fields(Frames)]
        image, *warped = networks.network.from_tensors(*inputs, batch.references, batch.maps)
        with torch.autocast(torch.device(self.device).type, enabled=False):  # differences of squares need all digits
            return self._losses(image, warped, batch)

    def _losses(self, image: Tensor, warped: Sequence[Tensor], batch: GeneratorBatch) -> dict[str, Tensor]:
        config, real = self.config, batch.real
        weight = 1 + (config.mouth - 1) * batch.mouth + (config.eyes - 1) * batch.eyes
        likeness = ssim(image, real)
        edge = (real.shape[-1] - likeness.shape[-1]) // 2
        inner = weight[..., edge:-edge, edge:-edge]
        losses = {
            "pixel": weighted_error(image, real, weight),
            "similarity": (inner * (1 - likeness)).sum() / inner.sum(),
            "detail": detail_error(image, real, weight),
            "temporal": temporal_error(image, real, weight, WINDOW),
            "flow": torch.stack([weighted_error(x, real, weight) for x in warped]).mean()
            if warped
            else image.sum() * 0,
        }
        total = sum((getattr(config, name) * loss for name, loss in losses.items()), start=image.new_zeros(()))
        with torch.no_grad():
            start = weighted_error(batch.frames.geometric, real, weight)
        return {"total": total, **losses, "geometric": start}

    @torch.no_grad()
    def evaluate(self, network: nn.Module) -> dict[str, float]:
        assert isinstance(network, Generator)
        rows = [self._measure(network, take) for take in self.held_out]
        figures = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        soft = max(0.0, 0.9 - figures["sharpness"])
        return {**figures, "score": 1 - figures["ssim"] + figures["mouth"] / 64 + soft}

    def _measure(self, network: Generator, take: PackedTake) -> dict[str, float]:
        """Means over some frames: SSIM, mouth error (0..255), mouth's sharpness over the real one's; and y_geo's."""
        windows = np.linspace(0, len(take.landmarks) // WINDOW - 1, LOOK_WINDOWS).round().astype(int)
        random = np.random.default_rng(0)
        batch = make_batch([take] * LOOK_WINDOWS, list(WINDOW * windows), LOOK_REFERENCES, 256, NO_CHANGE, random)
        batch = self._on_device(batch)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.config.train.bf16):
            made = network.from_references(batch.frames, batch.references, batch.maps).image.clamp(-1, 1)
        figures = {}
        for name, picture in (("", made), ("geo_", batch.frames.geometric), ("proj_", batch.frames.projected)):
            ratio = sharpness(picture, batch.mouth) / sharpness(batch.real, batch.mouth).clamp(min=1e-6)
            figures[f"{name}ssim"] = float(ssim(picture, batch.real).mean())
            figures[f"{name}mouth"] = float(weighted_error(picture, batch.real, batch.mouth)) * 127.5
            figures[f"{name}sharpness"] = float(ratio.median())
        return figures

    def _on_device(self, batch: GeneratorBatch) -> GeneratorBatch:
        def move(x: Tensor) -> Tensor:
            return x.to(self.device, memory_format=torch.channels_last if x.dim() == 4 else torch.contiguous_format)

        frames = Frames(*(move(getattr(batch.frames, field.name)) for field in fields(Frames)))
        rest = {name: move(getattr(batch, name)) for name in ("references", "maps", "real", "mouth", "eyes")}
        return GeneratorBatch(frames, **rest)
