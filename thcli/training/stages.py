"""What ``thgen train STAGE`` runs: the stages by name, their configuration, and the device."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from thcli.checkpoints import load_checkpoint
from thcli.config import Config, load_config
from thcli.data.store import ClipMeta, Store
from thcli.errors import MediaError, UsageError
from thcli.training.distributed import ALONE, World
from thcli.training.loop import Progress, RunOptions, TrainResult

LEAST_SUBJECTS = 5
"""A face model of fewer is theirs, not everybody's."""
FITTED = ("face-model", "mouth-interior")
"""Stages without steps, which write a file."""
STAGES = ("face-model", "mouth-interior", "expression", "motion", "detection", "unprojection", "generator")


def run(
    stage: str,
    data: Path,
    out: Path,
    *,
    config: str | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    init: Path | None = None,
    device: str = "auto",
    weights: Path | None = None,
    perceptual: Path | None = None,
    progress: Progress | None = None,
    world: World = ALONE,
) -> TrainResult:
    """Train one stage on the store ``data`` into the folder ``out`` (``face-model``: into the file ``out``).

    ``generator`` takes a set of takes for ``data``.

    config: a shipped name or a YAML file; overrides: ``a.b=value``, applied after it
    init: a checkpoint of the same stage to start from, where nothing is resumed; the network has its sizes
    weights: where to look first for weights that the stage builds on, such as the face model
    perceptual: weights of a network for the perceptual loss of ``generator``, see ``training.perceptual``
    world: the processes that share the work, see ``training.distributed``
    Raises UsageError, MediaError, WeightsError, DeviceError.
    """
    chosen = load_config(config, overrides)
    if stage in FITTED:
        return world.first(lambda: (_face_model if stage == "face-model" else _mouth_interior)(data, out))
    if stage not in STAGES:
        raise UsageError(f"train {stage}: no such stage, expected one of {', '.join(STAGES)}")
    chosen = sized_as(init, stage, chosen)
    running = RunOptions(world.device(device), resume, init, progress, world)
    if stage == "generator":
        from thcli.training.generator import train_generator

        return train_generator(data, out, chosen, running, perceptual)
    return _network(stage, data, out, chosen, running, weights)


def sized_as(init: Path | None, stage: str, config: Config) -> Config:
    """The configuration of a stage with the sizes of the network that it is to start from, if any.

    Raises UsageError where the configuration asks for others, WeightsError where ``init`` is none of the stage.
    """
    if init is None:
        return config
    dims = load_checkpoint(init, "head_motion" if stage == "motion" else stage).header.dims
    section = getattr(config, stage)
    for name, asked in json.loads(json.dumps(dict(section.network))).items():
        if name in dims and dims[name] != asked:
            raise UsageError(
                f"{init}: its network has {name} {dims[name]}, and {stage}.network.{name} asks for {asked}; "
                "leave that setting out, or --init"
            )
    return dataclasses.replace(config, **{stage: dataclasses.replace(section, network={**section.network, **dims})})


def _network(
    stage: str, data: Path, out: Path, config: Config, running: RunOptions, weights: Path | None
) -> TrainResult:
    if stage == "expression":
        from thcli.training.expression import train_expression

        return train_expression(data, out, config, running, weights)
    if stage == "motion":
        from thcli.training.head_motion import train_head_motion

        return train_head_motion(data, out, config.motion, running)
    if stage == "detection":
        from thcli.training.detection import train_detection

        return train_detection(data, out, config, running)
    from thcli.training.unprojection import train_unprojection

    return train_unprojection(data, out, config, running, weights)


def _face_model(data: Path, out: Path) -> TrainResult:
    """Canonical face, topology and expression basis from a store's training tracks; there are no steps to resume."""
    from thcli.training.face_model import MeshTrack, fit_face_model

    store, clips = _training_clips(data, out, "face_model")
    subjects = len({meta.subject for meta in clips})
    if subjects < LEAST_SUBJECTS:
        raise MediaError(
            f"{data}: training clips of {subjects} subjects, expected at least {LEAST_SUBJECTS}; preprocess more"
        )
    model, report = fit_face_model(MeshTrack(meta.subject, store.track(meta.clip).mesh) for meta in clips)
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save(out)
    return TrainResult(out, 0, {name: float(value) for name, value in dataclasses.asdict(report).items()})


def _mouth_interior(data: Path, out: Path) -> TrainResult:
    """The usual inside of a mouth from a store's training clips."""
    from thcli.clips.decode import read_clip
    from thcli.training.mouth_interior import fit_mouth_interior

    store, clips = _training_clips(data, out, "mouth_interior")
    parts = ((meta.subject, read_clip(store.crop(meta.clip)).frames, store.track(meta.clip).mesh) for meta in clips)
    interior = fit_mouth_interior(
        (subject, frames[: len(mesh)], mesh[: len(frames)]) for subject, frames, mesh in parts
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    interior.save(out)
    return TrainResult(out, 0, {})


def _training_clips(data: Path, out: Path, name: str) -> tuple[Store, list[ClipMeta]]:
    """The clips that a stage without steps is fitted to; UsageError for an output that is not a file for weights."""
    if out.suffix != ".safetensors":
        raise UsageError(f"{out}: expected a file, such as weights/{name}.safetensors")
    store = Store(data)
    clips = store.select("train")
    if not clips:
        raise MediaError(f"{data}: no training clips there; preprocess some, or rename their folder to train")
    return store, clips
