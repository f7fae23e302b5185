"""Training of Θ on episodes: it learns, repeats itself exactly, and resumes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from thcli.checkpoints import load_checkpoint, read_header
from thcli.config import load_config
from thcli.configs.sections import GeneratorConfig
from thcli.data.episodes import PackedEpisode
from thcli.errors import MediaError
from thcli.pipeline.models import load_generator
from thcli.render.frames import keep_detail
from thcli.training import stages
from thcli.training.generator import SHOWN, GeneratorStage, list_episodes, load_takes
from thcli.training.generator_batch import NO_CHANGE
from thcli.training.loop import RunOptions, train
from thcli.training.protocol import LogsImages

RUN = ("generator.adversarial=0.1",)


def tiny(**changes: object) -> GeneratorConfig:
    config = load_config("tiny").generator
    options = {name: changes.pop(name) for name in list(changes) if hasattr(config.train, name)}
    return replace(config, train=replace(config.train, **options), **changes)  # type: ignore[arg-type]


def curve(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, episodes: Path) -> tuple[Path, GeneratorStage]:
    """A run of 40 steps in which there is much to learn, as y_geo is too dark."""
    out = tmp_path_factory.mktemp("learning")
    config = tiny(steps=40, lr=5e-3, val_every=10, ema=0.5, augment=NO_CHANGE)
    stage = GeneratorStage(load_takes(episodes), config, "cpu")
    train(stage, config.train, out)
    return out, stage


def test_generator_stage_learns_to_improve_on_the_geometric_image(learned: tuple[Path, GeneratorStage]) -> None:
    log = curve(learned[0])
    assert log[0]["pixel"] == pytest.approx(log[0]["geometric"], rel=1e-4)  # It starts from the geometric image.
    late = log[-5:]
    assert np.mean([x["pixel"] / x["geometric"] for x in late]) < 0.6
    first, *_, last = (line for line in log if "score" in line)
    assert last["score"] < first["score"] and last["ssim"] > last["geo_ssim"]


def test_generator_stage_has_finite_gradients_in_every_weight(episodes: Path) -> None:
    config = tiny(adversarial=0.1)
    stage = GeneratorStage(load_takes(episodes), config, "cpu")
    torch.manual_seed(0)
    networks = stage.build()
    for _, parameter in networks.network.named_parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.05)
    stage.step(networks, stage.batch(np.random.default_rng(1)))["total"].backward()
    for name, parameter in networks.network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.fixture(scope="module")
def whole(episodes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, as ``thgen train generator`` leaves it."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        stages.run("generator", episodes, out, config="tiny", overrides=RUN, device="cpu")
    assert said.getvalue() == ""
    return out


def test_training_of_theta_leaves_a_checkpoint(whole: Path) -> None:
    header = read_header(whole / "generator.safetensors")
    assert header.stage == "generator" and header.data["subjects"] == 3 and header.data["takes"] == 3
    assert len(header.data["held_out"]) == 1 and "perceptual_weights" not in header.config
    assert load_generator(whole / "generator.safetensors").dims.side == 64


def test_training_of_theta_resumed_follows_the_same_curve_to_the_same_bytes(
    whole: Path, episodes: Path, tmp_path: Path
) -> None:
    """It is cut off twice; once it has ended, a run that is resumed has nothing left to do."""

    class Killed(Exception):
        pass

    def kill(done: int, *_: object) -> None:
        if done in stops:
            stops.remove(done)
            raise Killed

    config, stops = load_config("tiny", RUN), [1, 3]
    stage = GeneratorStage(load_takes(episodes), config.generator, "cpu")
    for _ in range(2):
        with pytest.raises(Killed):
            train(stage, config.generator.train, tmp_path, RunOptions(resume=True, progress=kill), config)
    for _ in range(2):
        train(stage, config.generator.train, tmp_path, RunOptions(resume=True), config)
        assert curve(tmp_path) == curve(whole)
        for name in ("generator.safetensors", "state.safetensors"):
            assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_training_of_theta_starts_from_the_weights_of_a_checkpoint(whole: Path, episodes: Path) -> None:
    config = tiny(steps=1, lr=0.0, val_every=1, ema=0.0)
    stage, out = GeneratorStage(load_takes(episodes), config, "cpu"), whole.parent / "again"
    train(stage, config.train, out, RunOptions(init=whole / "generator.safetensors"))
    before, after = (load_checkpoint(path / "generator.safetensors", "generator").tensors for path in (whole, out))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_of_theta_accumulates_nearly_the_gradient_of_the_whole_batch(episodes: Path, tmp_path: Path) -> None:
    losses = {}
    for parts in (1, 2):
        config = tiny(steps=2, batch_size=4, accumulate=parts, clip_norm=1e9, augment=NO_CHANGE)
        out = tmp_path / str(parts)
        train(GeneratorStage(load_takes(episodes), config, "cpu"), config.train, out)
        losses[parts] = load_checkpoint(out / "state.safetensors", "generator-state").tensors
    moments = [name for name in losses[1] if name.endswith("exp_avg") and losses[1][name].any()]
    own, other = (torch.cat([losses[parts][name].flatten() for name in moments]) for parts in (1, 2))
    # The mean over parts of means over weighted pixels is nearly their mean over the whole batch.
    assert torch.nn.functional.cosine_similarity(own, other, dim=0) > 0.99
    assert float(own.norm() / other.norm()) == pytest.approx(1, abs=0.05)


def test_validation_images_of_theta_stand_in_rows(learned: tuple[Path, GeneratorStage]) -> None:
    stage = learned[1]
    assert isinstance(stage, LogsImages) and len(stage.held_out) == 1 <= SHOWN
    ((name, image),) = stage.validation_images(stage.build().network.eval()).items()
    assert name == "y_geo, projected, made, real"
    geometric, projected, made, real = np.split(image, 4, axis=1)
    assert geometric.shape == (256, 256, 3)
    episode = stage.held_out[0]
    for field, shown in (("geometric", geometric), ("projected", projected), ("real", real)):
        assert np.array_equal(shown, episode.image(field, 0)), field
    # The network is untrained, so it changes nothing but the detail that it makes up for.
    flat = torch.from_numpy(geometric).permute(2, 0, 1)[None] / 127.5 - 1
    detail = flat + keep_detail(torch.zeros_like(flat), flat, torch.zeros_like(flat[:, :1]))
    expected = ((detail.clamp(-1, 1) + 1) * 127.5)[0].permute(1, 2, 0).numpy()
    assert np.abs(made - expected).max() <= 1


def test_generator_stage_draws_subjects_equally_often_whatever_their_episodes(
    make_episode: Callable[..., PackedEpisode],
) -> None:
    episodes = [make_episode("a", number) for number in range(3)] + [make_episode("b"), make_episode("c")]
    stage = GeneratorStage(episodes, tiny(held_out=1, seed=1), "cpu")
    chances: dict[str, float] = {}
    for episode, chance in zip(stage.episodes, stage.chances, strict=True):
        chances[episode.meta.subject] = chances.get(episode.meta.subject, 0) + chance
    assert len(chances) == 2 and list(chances.values()) == pytest.approx([0.5, 0.5])
    assert not {episode.meta.subject for episode in stage.held_out} & set(chances)


def test_list_episodes_refuses_a_store_and_a_set_without_training_episodes(episodes: Path, tmp_path: Path) -> None:
    store, own = tmp_path / "store", tmp_path / "own"
    store.mkdir()
    (store / "index.jsonl").write_text("")
    own.mkdir()
    lines = (episodes / "takes.jsonl").read_text().splitlines()
    (own / "takes.jsonl").write_text("\n".join(line for line in lines if '"val"' in line))
    for data, message in (
        (store, f"clips, expected episodes; make some with 'thgen preprocess episodes {store} --out EPISODES'"),
        (own, "no episodes of split train there; make some with 'thgen preprocess episodes'"),
        (tmp_path, "no takes.jsonl there, expected episodes; make them with 'thgen preprocess episodes'"),
    ):
        with pytest.raises(MediaError) as caught:
            list_episodes(data)
        assert str(caught.value) == f"{data}: {message}"
