"""Θ is trained on takes: it learns, the same again, and goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from thcli.checkpoints import load_checkpoint, read_header, read_manifest
from thcli.config import GeneratorConfig, load_config
from thcli.data.episodes import PackedTake
from thcli.errors import MediaError, UsageError
from thcli.export import exporters as export
from thcli.training import stages
from thcli.training.generator import SHOWN, GeneratorStage, load_takes
from thcli.training.generator_batch import NO_CHANGE
from thcli.training.loop import Illustrated, RunOptions, train

RUN = ("generator.adversarial=0.1",)


def tiny(**changes: object) -> GeneratorConfig:
    config = load_config("tiny").generator
    options = {name: changes.pop(name) for name in list(changes) if hasattr(config.train, name)}
    return replace(config, train=replace(config.train, **options), **changes)  # type: ignore[arg-type]


def curve(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def unexported(tmp_path_factory: pytest.TempPathFactory, takes: Path) -> tuple[Path, GeneratorStage]:
    """A run of 30 steps in which there is much to learn: y_geo is too dark."""
    out = tmp_path_factory.mktemp("learning")
    config = tiny(steps=30, lr=5e-3, val_every=15, ema=0.5, augment=NO_CHANGE)
    stage = GeneratorStage(load_takes(takes), config, "cpu")
    train(stage, config.train, out)
    return out, stage


def test_it_learns(unexported: tuple[Path, GeneratorStage]) -> None:
    log = curve(unexported[0])
    assert log[0]["pixel"] == pytest.approx(log[0]["geometric"], rel=1e-4)  # it starts from the geometric picture
    late = log[-5:]
    assert np.mean([x["pixel"] / x["geometric"] for x in late]) < 0.6
    first, last = (line for line in log if "score" in line)
    assert last["score"] < first["score"] and last["ssim"] > last["geo_ssim"]


def test_gradients_are_finite_everywhere_and_reach_every_weight(takes: Path) -> None:
    config = tiny(adversarial=0.1)
    stage = GeneratorStage(load_takes(takes), config, "cpu")
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
def whole(takes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command leaves behind."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    stages.run("generator", takes, out, config="tiny", overrides=RUN, device="cpu")
    return out


def test_a_run_leaves_checkpoint_and_exported_networks(whole: Path) -> None:
    named = {"generator.safetensors", "generator.onnx", "generator_embedding.onnx"}
    assert named <= {path.name for path in whole.iterdir()} and named <= set(read_manifest(whole))
    header = read_header(whole / "generator.safetensors")
    assert header.stage == "generator" and header.data["subjects"] == 3 and header.data["takes"] == 3
    assert len(header.data["held_out"]) == 1 and "perceptual_weights" not in header.config


def test_cut_off_again_and_again_it_follows_the_same_curve(
    whole: Path, takes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends with the same bytes, as a run does that is begun anew."""
    monkeypatch.setattr(export, "export_generator", lambda network, folder: None)

    class Killed(Exception):
        pass

    def kill(done: int, *_: object) -> None:
        if done in stops:
            stops.remove(done)
            raise Killed

    stops = [1, 3]
    for _ in range(2):
        with pytest.raises(Killed):
            stages.run(
                "generator", takes, tmp_path, config="tiny", overrides=RUN, device="cpu", resume=True, progress=kill
            )
    for _ in range(2):  # once more after the end: nothing is left to do
        stages.run("generator", takes, tmp_path, config="tiny", overrides=RUN, device="cpu", resume=True)
        assert curve(tmp_path) == curve(whole)
        for name in ("generator.safetensors", "state.safetensors"):
            assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_it_goes_on_from_a_checkpoint(whole: Path, takes: Path) -> None:
    config = tiny(steps=1, lr=0.0, val_every=1, ema=0.0)
    stage, out = GeneratorStage(load_takes(takes), config, "cpu"), whole.parent / "again"
    train(stage, config.train, out, RunOptions(init=whole / "generator.safetensors"))
    before, after = (load_checkpoint(path / "generator.safetensors", "generator").tensors for path in (whole, out))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_batch_in_parts_has_the_gradient_of_the_whole(takes: Path, tmp_path: Path) -> None:
    losses = {}
    for parts in (1, 2):
        config = tiny(steps=2, batch_size=4, accumulate=parts, clip_norm=1e9, augment=NO_CHANGE)
        out = tmp_path / str(parts)
        train(GeneratorStage(load_takes(takes), config, "cpu"), config.train, out)
        losses[parts] = load_checkpoint(out / "state.safetensors", "generator-state").tensors
    moments = [name for name in losses[1] if name.endswith("exp_avg") and losses[1][name].any()]
    own, other = (torch.cat([losses[parts][name].flatten() for name in moments]) for parts in (1, 2))
    # means over parts of what is a mean over weighted pixels: nearly the same
    assert torch.nn.functional.cosine_similarity(own, other, dim=0) > 0.99
    assert float(own.norm() / other.norm()) == pytest.approx(1, abs=0.05)


def test_held_out_pictures_stand_in_rows(unexported: tuple[Path, GeneratorStage]) -> None:
    stage = unexported[1]
    assert isinstance(stage, Illustrated) and len(stage.held_out) == 1 <= SHOWN
    ((name, picture),) = stage.pictures(stage.build().network.eval()).items()
    assert name == "y_geo, projected, made, real"
    geometric, projected, made, real = np.split(picture, 4, axis=1)
    assert geometric.shape == (256, 256, 3)
    take = stage.held_out[0]
    for field, shown in (("geometric", geometric), ("projected", projected), ("real", real)):
        assert np.array_equal(shown, take.picture(field, 0)), field
    assert np.abs(made.astype(int) - geometric).max() <= 1  # untrained


def test_subjects_are_drawn_as_often_however_many_takes_they_have(a_take: Callable[..., PackedTake]) -> None:
    takes = [a_take("a", number) for number in range(3)] + [a_take("b"), a_take("c")]
    stage = GeneratorStage(takes, tiny(held_out=1, seed=1), "cpu")
    chances: dict[str, float] = {}
    for take, chance in zip(stage.takes, stage.chances, strict=True):
        chances[take.meta.subject] = chances.get(take.meta.subject, 0) + chance
    assert len(chances) == 2 and list(chances.values()) == pytest.approx([0.5, 0.5])
    assert not {take.meta.subject for take in stage.held_out} & set(chances)


def test_exporter_is_asked_for_before_hours_of_training(
    takes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UsageError, match=r"needs onnxscript; install .* 'thgen\[train\]'"):
        stages.run("generator", takes, tmp_path / "run", config="tiny", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_store_and_a_set_without_training_takes_are_refused(takes: Path, tmp_path: Path) -> None:
    store, own = tmp_path / "store", tmp_path / "own"
    store.mkdir()
    (store / "index.jsonl").write_text("")
    own.mkdir()
    lines = (takes / "takes.jsonl").read_text().splitlines()
    (own / "takes.jsonl").write_text("\n".join(line for line in lines if '"val"' in line))
    for data, message in (
        (store, f"clips, expected takes; make takes of them with 'thgen preprocess takes {store} --out TAKES'"),
        (own, "no takes of split train there"),
        (tmp_path, "no takes.jsonl there, expected takes; make them with 'thgen preprocess takes'"),
    ):
        with pytest.raises(MediaError) as caught:
            load_takes(data)
        assert str(caught.value).startswith(f"{data}: {message}")
