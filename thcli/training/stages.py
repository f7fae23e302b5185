"""The stages of ``thgen train STAGE`` by name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from thcli.checkpoints import load_checkpoint
from thcli.config import load_config
from thcli.configs.sections import Config
from thcli.data.store import ClipMeta, Store
from thcli.errors import MediaError, UsageError
from thcli.training.distributed import ALONE, World
from thcli.training.loop import Progress, RunOptions, TrainResult

LEAST_SUBJECTS = 5
"""Fewest subjects of a face model; one of fewer would describe these people rather than people in general."""
FITTED = ("face-model", "mouth-interior")
"""Stages that fit a file in one pass, without training steps."""
STAGES = (
    "face-model", "mouth-interior", "expression", "adapter", "motion", "detection", "unprojection", "matting",
    "generator",
)  # fmt: skip
"""All stages."""
NAMES = {"motion": "head_motion", "adapter": "speech_adapter"}
"""Names in checkpoints of the stages that are called otherwise there."""


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
    """Train one stage.

    data: store of clips, or for ``generator`` a set of episodes
    out: folder of the run, or for the stages ``FITTED`` the file to write
    config: name of a shipped configuration, or a YAML file
    overrides: settings ``a.b=value``, applied after ``config``
    resume: whether the run continues from the state in ``out``
    init: checkpoint of the same stage from which a run that is not resumed starts; the network has its sizes
    device: ``auto``, or PyTorch's name of the device
    weights: folder that is searched first for weights that the stage needs, such as the face model
    perceptual: weights of a network for the perceptual loss of ``generator``, see ``training.perceptual``
    progress: function that is called after every step
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


FREE = ("side",)
"""Fields of ``Dims`` that no weights depend on, so that training may go on with another value."""


def sized_as(init: Path | None, stage: str, config: Config) -> Config:
    """Return the configuration with the network sizes of the checkpoint that the stage starts from, if any.

    Raises UsageError where the configuration asks for other sizes, WeightsError where ``init`` is of another stage.
    """
    if init is None:
        return config
    dims = dict(load_checkpoint(init, NAMES.get(stage, stage)).header.dims)
    section = getattr(config, stage)
    for name, asked in json.loads(json.dumps(dict(section.network))).items():
        if name in FREE:
            dims[name] = asked
        elif name in dims and dims[name] != asked:
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
    if stage == "adapter":
        from thcli.training.speech_adapter import train_adapter

        return train_adapter(data, out, config, running, weights)
    if stage == "motion":
        from thcli.training.head_motion import train_head_motion

        return train_head_motion(data, out, config.motion, running)
    if stage == "detection":
        from thcli.training.detection import train_detection

        return train_detection(data, out, config, running)
    if stage == "matting":
        from thcli.training.matting import train_matting

        return train_matting(data, out, config, running)
    from thcli.training.unprojection import train_unprojection

    return train_unprojection(data, out, config, running, weights)


def _face_model(data: Path, out: Path) -> TrainResult:
    """Fit the face model to a store's training tracks, and write it to the file ``out``."""
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
    """Fit the inside of open mouths to a store's training clips, and write it to the file ``out``."""
    from thcli.clips.decode import read_clip
    from thcli.training.mouth_interior import fit_mouth_interior

    store, clips = _training_clips(data, out, "mouth_interior")
    parts = ((meta.subject, read_clip(store.crop(meta.clip)).frames, store.track(meta.clip).mesh) for meta in clips)
    interior = fit_mouth_interior(
        ((subject, frames[: len(mesh)], mesh[: len(frames)]) for subject, frames, mesh in parts), str(data)
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    interior.save(out)
    return TrainResult(out, 0, {})


def _training_clips(data: Path, out: Path, name: str) -> tuple[Store, list[ClipMeta]]:
    """Return the store and the training clips of a stage of ``FITTED``.

    Raises UsageError where ``out`` is not named as a file of weights, MediaError where there are no clips.
    """
    if out.suffix != ".safetensors":
        raise UsageError(f"{out}: expected a file, such as weights/{name}.safetensors")
    store = Store(data)
    clips = store.select("train")
    if not clips:
        raise MediaError(f"{data}: no training clips there; preprocess some, or rename their folder to train")
    return store, clips
