"""Training of Θ, the 3D-aware generative network (§3.4, §4.4), by ``thgen train generator``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from thcli.checkpoints import Header
from thcli.config import make_dims
from thcli.configs.sections import Config, GeneratorConfig
from thcli.data.episodes import WINDOW, EpisodeMeta, PackedEpisode, read_episode, read_index
from thcli.data.store import INDEX
from thcli.errors import MediaError
from thcli.images import resized
from thcli.records import CROP_SIZE, Image
from thcli.render.frames import keep_detail
from thcli.render.landmark_maps import draw_features
from thcli.training.adversary import Adversary
from thcli.training.generator_batch import NO_CHANGE, GeneratorBatch, make_batch
from thcli.training.generator_loss import detail_error, roughness, sharpness, ssim, temporal_error, weighted_error
from thcli.training.held_out import hold_out
from thcli.training.images import tile
from thcli.training.loop import DEFAULT_RUN, RunOptions, TrainResult, train
from thcli.training.perceptual import Perceptual, load_perceptual
from thcli.training.protocol import Networks
from thgen_models.blocks import reduced
from thgen_models.discriminator import DiscriminatorDims
from thgen_models.generator import Generator, GeneratorDims

VAL_EPISODES, VAL_WINDOWS = 16, 2
"""Most held-out episodes of a validation, and windows of each."""
VAL_REFERENCES = 8
"""References K of each episode of a validation."""
SHARP = 0.9
"""Sharpness of the mouth, over that of the real mouth, below which the score gets worse."""
MOUTH_SCALE = 64
"""Error of the mouth, of 255, that adds as much to the score as an SSIM of 0."""
SHOWN = 6
"""Held-out episodes shown in TensorBoard."""


def train_generator(
    data: Path, out: Path, config: Config, running: RunOptions = DEFAULT_RUN, perceptual: Path | None = None
) -> TrainResult:
    """Train Θ on the episodes of split ``train`` into the folder ``out``.

    data: set of episodes, as ``thgen preprocess episodes`` writes it
    perceptual: weights of a network for the perceptual loss, see ``training.perceptual``; None leaves the loss out
    """
    network = None if perceptual is None else load_perceptual(perceptual, running.device)
    stage = GeneratorStage(load_takes(data), config.generator, running.device, network)
    return train(stage, config.generator.train, out, running, config)


def load_takes(data: Path) -> list[PackedEpisode]:
    """Read the episodes of split ``train``; their images stay JPEGs in memory. Raises MediaError."""
    return [read_episode(data / meta.file) for meta in list_episodes(data)]


def list_episodes(data: Path) -> list[EpisodeMeta]:
    """Return the records of a set's episodes of split ``train``. Raises MediaError where there are none."""
    if (data / INDEX).is_file():
        raise MediaError(
            f"{data}: clips, expected episodes; make some with 'thgen preprocess episodes {data} --out EPISODES'"
        )
    episodes = [meta for meta in read_index(data) if meta.split == "train"]
    if not episodes:
        raise MediaError(f"{data}: no episodes of split train there; make some with 'thgen preprocess episodes'")
    return episodes


class GeneratorStage:
    """Training stage of Θ, on windows of episodes.

    Some subjects are held out, and the best network is chosen by them. Of a single subject, as in fine-tuning, some
    episodes are held out, or some windows of a single episode; see ``hold_out``.
    """

    name = "generator"

    def __init__(
        self,
        episodes: Sequence[PackedEpisode],
        config: GeneratorConfig,
        device: str,
        perceptual: Perceptual | None = None,
    ) -> None:
        self.config, self.device, self.perceptual = config, device, perceptual
        self.dims = make_dims(GeneratorDims, config.network, "generator.network")
        self.episodes, kept_apart = hold_out(episodes, config.held_out, config.train.seed)
        self.held_out = kept_apart[:: -(-len(kept_apart) // VAL_EPISODES)]
        # Every subject is drawn equally often, however many episodes it has.
        times = Counter(episode.meta.subject for episode in self.episodes)
        chances = np.array([1 / times[episode.meta.subject] for episode in self.episodes])
        self.chances = chances / chances.sum()
        subjects = {episode.meta.subject for episode in episodes}
        self.header = Header(
            stage=self.name,
            dims=asdict(self.dims),
            config=asdict(config) | ({} if perceptual is None else {"perceptual_weights": dict(perceptual.source)}),
            data={"takes": len(episodes), "subjects": len(subjects), "held_out": sorted(subjects - set(times))},
        )

    def build(self) -> Networks:
        network = Generator(self.dims)
        # nn.Module.to has no overload for a memory format alone
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.config.compile:
            network.compile()  # compiles ``forward``, which is all of Θ but the embedding of the references
        critic = None
        if self.config.adversarial > 0:
            critic = Adversary(make_dims(DiscriminatorDims, self.config.discriminator, "generator.discriminator"))
        return Networks(network, critic, entry="from_tensors")

    def batch(self, random: np.random.Generator) -> GeneratorBatch:
        config = self.config
        chosen = [self.episodes[i] for i in random.choice(len(self.episodes), config.train.batch_size, p=self.chances)]
        firsts = [WINDOW * int(random.integers(len(episode.landmarks) // WINDOW)) for episode in chosen]
        count = int(random.choice(config.references))
        return self._on_device(make_batch(chosen, firsts, count, config.size, config.augment, random))

    def step(self, networks: Networks, batch: GeneratorBatch) -> dict[str, Tensor]:
        assert isinstance(networks.network, Generator)
        image, kept, shares, *warped = networks.network.from_tensors(*batch.inputs())
        with torch.autocast(torch.device(self.device).type, enabled=False):  # differences of squares need all digits
            image, kept = (_shown(image - batch.frames.geometric, batch) for image in (image, kept))
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
        """Losses that compare images directly, and their sum; ``geometric`` is the pixel loss of y_geo, for comparison.

        kept: image without the decoder's change
        shares, warped: as ``Generator.from_tensors`` returns them
        """
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
            small = [reduced(x, real.shape[-1] // warped[0].shape[-1]) for x in (real, weight)]
            losses["flow"] = torch.stack([weighted_error(x, *small) for x in warped]).mean()
        total = sum((getattr(config, name) * loss for name, loss in losses.items()), start=image.new_zeros(()))
        with torch.no_grad():
            start = weighted_error(batch.frames.geometric, real, weight)
        return {"total": total, **losses, "geometric": start}

    @torch.no_grad()
    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Means of the figures over the held-out episodes.

        The score is worse for images that are soft, which SSIM alone would prefer.
        """
        assert isinstance(network, Generator)
        rows = [self._measure(network, episode) for episode in self.held_out]
        figures = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        soft = max(0.0, SHARP - figures["sharpness"])
        return {**figures, "score": 1 - figures["ssim"] + figures["mouth"] / MOUTH_SCALE + soft}

    def _measure(self, network: Generator, episode: PackedEpisode) -> dict[str, float]:
        """Measure some frames of an episode: SSIM, mouth error (0..255), and the mouth's sharpness over the real one's.

        The prefixes ``geo_`` and ``proj_`` mark the figures of y_geo and of ỹ_t.
        """
        batch, made = self._validate(network, episode)
        figures = {}
        for name, image in (("", made), ("geo_", batch.frames.geometric), ("proj_", batch.frames.projected)):
            ratio = sharpness(image, batch.mouth) / sharpness(batch.real, batch.mouth).clamp(min=1e-6)
            figures[f"{name}ssim"] = float(ssim(image, batch.real).mean())
            figures[f"{name}mouth"] = float(weighted_error(image, batch.real, batch.mouth)) * 127.5
            figures[f"{name}sharpness"] = float(ratio.median())
        return figures

    def _validate(self, network: Generator, episode: PackedEpisode) -> tuple[GeneratorBatch, Tensor]:
        """Return windows of a held-out episode, and images [F, 3, 256, 256] of Θ as ``thgen generate`` shows them."""
        windows = np.linspace(0, len(episode.landmarks) // WINDOW - 1, VAL_WINDOWS).round().astype(int)
        firsts = [WINDOW * int(window) for window in windows]
        batch, given = (
            self._on_device(
                make_batch([episode] * VAL_WINDOWS, firsts, VAL_REFERENCES, size, NO_CHANGE, np.random.default_rng(0))
            )
            for size in (CROP_SIZE, network.dims.side)
        )
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.config.train.bf16):
            made = network.from_tensors(*given.inputs())[0].clamp(-1, 1)
        return batch, _shown(made - given.frames.geometric, batch)

    @torch.no_grad()
    def validation_images(self, network: nn.Module) -> dict[str, Image]:
        """Show one frame of some held-out episodes, a row each: y_geo, ỹ_t, the image of Θ, and the real image."""
        assert isinstance(network, Generator)
        rows = []
        for episode in self.held_out[:SHOWN]:
            batch, made = self._validate(network, episode)
            shown = torch.stack([x[0] for x in (batch.frames.geometric, batch.frames.projected, made, batch.real)])
            rows.append(((shown.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy())
        return {"y_geo, projected, made, real": tile(np.concatenate(rows), columns=4)}

    def _on_device(self, batch: GeneratorBatch) -> GeneratorBatch:
        def move(x: Tensor) -> Tensor:
            return x.to(self.device, memory_format=torch.channels_last if x.dim() == 4 else torch.contiguous_format)

        return batch.each(move)


def _shown(change: Tensor, batch: GeneratorBatch) -> Tensor:
    """Return images [F, 3, S, S] with Θ's change as ``thgen generate`` shows them, with y_geo's fine detail."""
    geometric = batch.frames.geometric
    size = geometric.shape[-1]
    return geometric + keep_detail(resized(change, size), geometric, draw_features(batch.landmarks, size, size))
