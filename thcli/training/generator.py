"""``thgen train generator``: Θ, the 3D-aware generative network (§3.4, §4.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from thcli.checkpoints import Header
from thcli.config import Config, GeneratorConfig, make_dims
from thcli.data.episodes import WINDOW, PackedTake, TakeMeta, read_index, read_take
from thcli.data.store import INDEX
from thcli.errors import MediaError
from thcli.export import exporters as export
from thcli.records import CROP_SIZE, Image
from thcli.render.detail import keep_detail
from thcli.render.landmark_maps import draw_features
from thcli.training.adversary import Adversary
from thcli.training.generator_batch import NO_CHANGE, GeneratorBatch, make_batch
from thcli.training.generator_loss import detail_error, roughness, sharpness, ssim, temporal_error, weighted_error
from thcli.training.held_out import hold_out
from thcli.training.loop import AFRESH, Networks, RunOptions, TrainResult
from thcli.training.perceptual import Perceptual, load_perceptual
from thcli.training.pictures import tile
from thgen_models.discriminator import DiscriminatorDims
from thgen_models.generator import Frames, Generator, GeneratorDims

LOOK_TAKES, LOOK_WINDOWS = 16, 2
"""At a look: held-out takes at most, and windows of each."""
LOOK_REFERENCES = 8
SHARP = 0.9
"""Sharpness of the mouth, over the real one's, that is asked for."""
MOUTH_SCALE = 64
"""Error of the mouth, of 255, that counts in the score as much as an SSIM of 0."""
SHOWN = 6
"""Of the held-out takes, in TensorBoard."""


def train_generator(
    data: Path, out: Path, config: Config, running: RunOptions = AFRESH, perceptual: Path | None = None
) -> TrainResult:
    """Train Θ on takes (``thgen preprocess takes``) of split ``train`` into ``out``, and export the best as ONNX.

    perceptual: weights of a network for the perceptual loss, see ``training.perceptual``; without, there is none
    """
    export.check_exporter()
    seen_by = None if perceptual is None else load_perceptual(perceptual, running.device)
    stage = GeneratorStage(load_takes(data), config.generator, running.device, seen_by)
    return export.train_and_export(
        stage, config.generator.train, out, config, running, lambda: Generator(stage.dims), _export
    )


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

    Of a single subject, as for fine-tuning to them, some takes are, or some windows of the only one; see ``hold_out``.
    """

    name = "generator"

    def __init__(
        self, takes: Sequence[PackedTake], config: GeneratorConfig, device: str, perceptual: Perceptual | None = None
    ) -> None:
        self.config, self.device, self.perceptual = config, device, perceptual
        self.dims = make_dims(GeneratorDims, config.network, "generator.network")
        self.takes, kept_apart = hold_out(takes, config.held_out, config.train.seed)
        self.held_out = kept_apart[:: -(-len(kept_apart) // LOOK_TAKES)]
        # every subject as often, however many takes there are of one
        times = Counter(take.meta.subject for take in self.takes)
        chances = np.array([1 / times[take.meta.subject] for take in self.takes])
        self.chances = chances / chances.sum()
        subjects = {take.meta.subject for take in takes}
        self.header = Header(
            stage=self.name,
            dims=asdict(self.dims),
            config=asdict(config) | ({} if perceptual is None else {"perceptual_weights": dict(perceptual.source)}),
            data={"takes": len(takes), "subjects": len(subjects), "held_out": sorted(subjects - set(times))},
        )

    def build(self) -> Networks:
        network = Generator(self.dims)
        # nn.Module.to has no overload for a memory format alone
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.config.compile:
            network.compile()  # its forward: all of Θ but the references' embedding
        critic = None
        if self.config.adversarial > 0:
            critic = Adversary(make_dims(DiscriminatorDims, self.config.discriminator, "generator.discriminator"))
        return Networks(network, critic, entry="from_tensors")

    def batch(self, random: np.random.Generator) -> GeneratorBatch:
        config = self.config
        chosen = [self.takes[i] for i in random.choice(len(self.takes), config.train.batch_size, p=self.chances)]
        firsts = [WINDOW * int(random.integers(len(take.landmarks) // WINDOW)) for take in chosen]
        count = int(random.choice(config.references))
        return self._on_device(make_batch(chosen, firsts, count, config.size, config.augment, random))

    def step(self, networks: Networks, batch: GeneratorBatch) -> dict[str, Tensor]:
        assert isinstance(networks.network, Generator)
        inputs = [getattr(batch.frames, field.name) for field in fields(Frames)]
        image, kept, shares, *warped = networks.network.from_tensors(*inputs, batch.references, batch.maps)
        with torch.autocast(torch.device(self.device).type, enabled=False):  # differences of squares need all digits
            image, kept = (_shown(picture, batch) for picture in (image, kept))
            losses = self._losses(image, kept, shares, warped, batch)
        if networks.critic is not None:
            judged = networks.critic(image, batch.real, batch.frames.target_map)
            fooled, matched, losses["critic"] = (rows.mean() for rows in judged)
            losses |= {"adversarial": fooled, "feature_matching": matched}
            losses["total"] = losses["total"] + self.config.adversarial * fooled
            losses["total"] = losses["total"] + self.config.feature_matching * matched
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(image, batch.real, batch.landmarks)
            losses["total"] = losses["total"] + self.config.perceptual * losses["perceptual"]
        return losses

    def _losses(
        self, image: Tensor, kept: Tensor, shares: Tensor, warped: Sequence[Tensor], batch: GeneratorBatch
    ) -> dict[str, Tensor]:
        """Those by pictures alone; ``geometric`` is the pixel loss of y_geo, to be compared with."""
        config, real = self.config, batch.real
        weight = 1 + (config.mouth - 1) * batch.mouth + (config.eyes - 1) * batch.eyes
        likeness = ssim(image, real)
        edge = (real.shape[-1] - likeness.shape[-1]) // 2
        inner = weight[..., edge:-edge, edge:-edge]
        losses = {
            "pixel": weighted_error(image, real, weight),
            "similarity": (inner * (1 - likeness)).sum() / inner.sum(),
            "detail": detail_error(image, kept, real, weight),
            "roughness": roughness(shares),
            "temporal": temporal_error(image, real, weight, WINDOW),
        }
        if warped:
            losses["flow"] = torch.stack([weighted_error(x, real, weight) for x in warped]).mean()
        total = sum((getattr(config, name) * loss for name, loss in losses.items()), start=image.new_zeros(()))
        with torch.no_grad():
            start = weighted_error(batch.frames.geometric, real, weight)
        return {"total": total, **losses, "geometric": start}

    @torch.no_grad()
    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Means over the held-out takes. A picture that is soft pays for it in the score, or SSIM would choose it."""
        assert isinstance(network, Generator)
        rows = [self._measure(network, take) for take in self.held_out]
        figures = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        soft = max(0.0, SHARP - figures["sharpness"])
        return {**figures, "score": 1 - figures["ssim"] + figures["mouth"] / MOUTH_SCALE + soft}

    def _measure(self, network: Generator, take: PackedTake) -> dict[str, float]:
        """Means over some frames: SSIM, mouth error (0..255), mouth's sharpness over the real one's; and y_geo's."""
        batch, made = self._look(network, take)
        figures = {}
        for name, picture in (("", made), ("geo_", batch.frames.geometric), ("proj_", batch.frames.projected)):
            ratio = sharpness(picture, batch.mouth) / sharpness(batch.real, batch.mouth).clamp(min=1e-6)
            figures[f"{name}ssim"] = float(ssim(picture, batch.real).mean())
            figures[f"{name}mouth"] = float(weighted_error(picture, batch.real, batch.mouth)) * 127.5
            figures[f"{name}sharpness"] = float(ratio.median())
        return figures

    def _look(self, network: Generator, take: PackedTake) -> tuple[GeneratorBatch, Tensor]:
        """Windows of a held-out take, and what comes of them as ``generate`` draws them, [F, 3, 256, 256]."""
        windows = np.linspace(0, len(take.landmarks) // WINDOW - 1, LOOK_WINDOWS).round().astype(int)
        random = np.random.default_rng(0)
        firsts = [WINDOW * int(window) for window in windows]
        batch = make_batch([take] * LOOK_WINDOWS, firsts, LOOK_REFERENCES, CROP_SIZE, NO_CHANGE, random)
        batch = self._on_device(batch)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.config.train.bf16):
            made = network.from_references(batch.frames, batch.references, batch.maps).image.clamp(-1, 1)
        return batch, _shown(made, batch)

    @torch.no_grad()
    def pictures(self, network: nn.Module) -> dict[str, Image]:
        """Of some held-out takes a frame each, in rows: y_geo, ỹ_t, what Θ makes of them, and the real one."""
        assert isinstance(network, Generator)
        rows = []
        for take in self.held_out[:SHOWN]:
            batch, made = self._look(network, take)
            shown = torch.stack([x[0] for x in (batch.frames.geometric, batch.frames.projected, made, batch.real)])
            rows.append(((shown + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy())
        return {"y_geo, projected, made, real": tile(np.concatenate(rows), columns=4)}

    def _on_device(self, batch: GeneratorBatch) -> GeneratorBatch:
        def move(x: Tensor) -> Tensor:
            return x.to(self.device, memory_format=torch.channels_last if x.dim() == 4 else torch.contiguous_format)

        return batch.each(move)


def _shown(made: Tensor, batch: GeneratorBatch) -> Tensor:
    """What is seen of pictures [F, 3, S, S] that Θ makes: ``generate`` keeps y_geo's fine detail in mouth and eyes."""
    geometric, size = batch.frames.geometric, made.shape[-1]
    return geometric + keep_detail(made - geometric, geometric, draw_features(batch.landmarks, size, size))
