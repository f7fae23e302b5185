"""Configuration: frozen dataclasses to and from YAML. Every default stands here, once.

``lite`` is these defaults; the other files in ``configs/`` and a user's own name only what they change.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml

from thcli.errors import UsageError

SHIPPED = ("lite", "tiny", "paper")
Dims = TypeVar("Dims")


@dataclass(frozen=True)
class TrainOptions:
    """What every training stage has in common; the stages' sections override what they need otherwise.

    steps: optimiser steps; the learning rate falls along a cosine to zero over them
    warmup: steps over which the learning rate first rises
    batch_size: examples a step, of all processes together
    accumulate: parts that a batch is worked on in, one after the other; with more it takes less memory. Gradients are
        means over the parts: those of the whole batch for losses that are means over its examples
    clip_norm: largest norm of the gradient
    val_every: steps between two looks at the held-out subjects
    patience: looks without a better score after which training stops early; 0 never
    ema: decay of the running mean of the weights which is evaluated and kept; 0 keeps the weights themselves
    bf16: forward passes in bfloat16, on CUDA and on the CPU; weights, gradients and optimiser stay in float32. It has
        float32's range, so no loss needs scaling, as it would in fp16, which is not offered
    """

    steps: int = 2000
    warmup: int = 100
    batch_size: int = 32
    accumulate: int = 1
    lr: float = 1e-3
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    val_every: int = 200
    patience: int = 0
    ema: float = 0.0
    bf16: bool = False
    seed: int = 0


@dataclass(frozen=True)
class SpeechAugment:
    """Chances and sizes of changes to the sound in training.

    noise: chance of noise, at 6 to 30 dB (§3.2): another speaker's sound or coloured noise
    gain_db: largest change of the level
    tilt_db: largest tilt of the spectrum, from end to end
    warp: largest stretch of the mel axis, as longer and shorter vocal tracts make it; log-mel features only
    mask: chance of one stretch of time, and of one band of log-mel features, being silenced
    reverberation: chance of a room's sound; raw samples only
    """

    noise: float = 0.4
    gain_db: float = 4.0
    tilt_db: float = 6.0
    warp: float = 0.1
    mask: float = 0.2
    reverberation: float = 0.3


@dataclass(frozen=True)
class ExpressionConfig:
    """Training of Psi, the facial expression learner (§3.2); ``network`` overrides fields of its ``Dims``.

    frames: of a training window
    align_rounds, align_steps: rounds of bringing sound and mouth into step first, and training steps of each network
        that is fitted for it; 0 rounds take the clips' ``av_lag`` as it is
    held_out: subjects among those to train on that are kept apart, to choose the best network by
    stretch: how much faster or slower a window may be played
    face_noise: deviation of what is added to reference and targets of a window alike, in that of the coefficients
    lip_weight, face_weight: of the lips' and of the other vertices in the loss; the chin's is 1
    movement: size of the gap's movement that the concordance asks for; the true one is 1
    velocity_weight, concordance_weight: of these losses, beside 1 for the position's
    """

    train: TrainOptions = TrainOptions(steps=800, batch_size=48, weight_decay=0.05, val_every=100, ema=0.99, bf16=True)
    network: Mapping[str, Any] = field(default_factory=dict)
    augment: SpeechAugment = SpeechAugment()
    frames: int = 75
    align_rounds: int = 2
    align_steps: int = 250
    held_out: int = 12
    stretch: float = 0.12
    face_noise: float = 1.5
    lip_weight: float = 8.0
    face_weight: float = 0.1
    movement: float = 1.2
    velocity_weight: float = 1.0
    concordance_weight: float = 2.0


@dataclass(frozen=True)
class MotionConfig:
    """Training of Phi, the head motion learner (§3.3); ``network`` overrides fields of its ``Dims``."""

    train: TrainOptions = TrainOptions(steps=2500, batch_size=24, val_every=250, ema=0.995)
    network: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DetectionConfig:
    """Training of the tracker's face detector; ``network`` overrides fields of its ``Dims``.

    every: of so many frames of a clip one is used
    held_out: share of the subjects that is kept apart, to choose the best network by
    """

    train: TrainOptions = TrainOptions(steps=2500, batch_size=64, lr=3e-3, val_every=250, ema=0.995, bf16=True)
    network: Mapping[str, Any] = field(default_factory=dict)
    every: int = 12
    held_out: float = 0.08


@dataclass(frozen=True)
class UnprojectionConfig:
    """Training of the unprojection network (§4.1); the fields as of ``DetectionConfig``."""

    train: TrainOptions = TrainOptions(
        steps=5500, warmup=200, batch_size=48, lr=1.2e-3, val_every=400, ema=0.999, bf16=True
    )
    network: Mapping[str, Any] = field(default_factory=dict)
    every: int = 4
    held_out: float = 0.08


@dataclass(frozen=True)
class PictureAugment:
    """Chances and sizes of changes to the pictures of a person in training, the same to all of them.

    gain, tint, offset, gamma: deviations of the light's strength (log), its colour (log), of what is added, and of the
        exponent (log)
    zoom: smallest part of the side that is cut out and enlarged again; with any, half of the views are mirrored
    occlusion: chance that a reference, or the matched image, is covered in part
    """

    gain: float = 0.2
    tint: float = 0.08
    offset: float = 0.1
    gamma: float = 0.2
    zoom: float = 0.5
    occlusion: float = 0.2


@dataclass(frozen=True)
class GeneratorConfig:
    """Training of Θ, the generative network (§3.4); ``network`` overrides fields of its ``Dims``.

    train: a batch is of windows, of two frames each
    size: side that the pictures are brought to; with a zoom of 0.5 they are seen as fine as they are at 256, in parts
    references: K, drawn by lot for every batch
    held_out: subjects among those to train on that are kept apart, to choose the best network by; of a single one a
        fifth of its takes is
    mouth, eyes: what a pixel counts there beside 1 elsewhere
    pixel, similarity, detail, roughness, flow, temporal: weights of the losses, see ``training.generator_loss``
    adversarial, feature_matching: weights of Eq. 8's losses by discriminators; with adversarial 0 there are none
    discriminator: overrides fields of their ``DiscriminatorDims``
    perceptual: weight of the perceptual loss, where weights of a network for it are given
    compile: let torch.compile speed the network up, which takes minutes first
    """

    train: TrainOptions = TrainOptions(
        steps=2400, warmup=100, batch_size=8, lr=1.5e-3, val_every=300, ema=0.998, bf16=True
    )
    network: Mapping[str, Any] = field(default_factory=dict)
    augment: PictureAugment = PictureAugment()
    size: int = 128
    references: tuple[int, ...] = (1, 2, 4, 8)
    held_out: int = 10
    mouth: float = 10.0
    eyes: float = 4.0
    pixel: float = 1.0
    similarity: float = 1.0
    detail: float = 1.0
    roughness: float = 0.05
    flow: float = 0.1
    temporal: float = 0.5
    adversarial: float = 0.0
    feature_matching: float = 0.2
    discriminator: Mapping[str, Any] = field(default_factory=dict)
    perceptual: float = 0.1
    compile: bool = False


@dataclass(frozen=True)
class Config:
    """Everything that a file given to ``--config`` may set."""

    expression: ExpressionConfig = ExpressionConfig()
    motion: MotionConfig = MotionConfig()
    detection: DetectionConfig = DetectionConfig()
    unprojection: UnprojectionConfig = UnprojectionConfig()
    generator: GeneratorConfig = GeneratorConfig()


def load_config(source: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a shipped name (``lite``, ``tiny``, ``paper``) or a YAML file, with ``a.b=value`` overrides.

    Raises ``UsageError`` for a file that is missing or no YAML, and for unknown keys and values of the wrong type.
    """
    config = Config() if source is None else _merge(Config(), _read(source), str(source))
    for override in overrides:
        config = _merge(config, _parse_override(override), f"--set {override}")
    return config


def make_dims(kind: type[Dims], changes: Mapping[str, Any], source: str) -> Dims:
    """A network's ``Dims`` with some fields changed; ``UsageError`` naming ``source`` for unknown ones."""
    return typing.cast("Dims", _merge(kind(), changes, source))


def to_yaml(config: Config) -> str:
    """All values, as a file that ``load_config`` reads back to the same configuration."""
    return str(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False))


def _read(source: str | Path) -> Mapping[str, Any]:
    path = Path(source)
    if str(source) in SHIPPED:
        text = resources.files("thcli.configs").joinpath(f"{source}.yaml").read_text(encoding="utf-8")
    elif path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        raise UsageError(f"{source}: no such configuration; give a YAML file or one of {', '.join(SHIPPED)}")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{source}: not YAML ({' '.join(str(error).split())})") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(
            f"{source}: found {type(content).__name__} at the top, expected sections such as 'expression:'"
        )
    return content


def _parse_override(override: str) -> Mapping[str, Any]:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise UsageError(f"--set {override}: expected KEY=VALUE, such as expression.train.steps=500")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {override}: the value is not YAML") from error
    for key in reversed(dotted.split(".")):
        value = {key: value}
    return typing.cast("Mapping[str, Any]", value)


def _merge(base: Any, changes: Mapping[str, Any], source: str, prefix: str = "") -> Any:
    """``base`` (a dataclass) with ``changes`` applied to it, nested ones recursively."""
    hints = typing.get_type_hints(type(base))
    updates = {}
    for key, value in changes.items():
        name = f"{prefix}{key}"
        if key not in hints:
            raise UsageError(f"{source}: unknown key '{name}'; {_nearest(name, base, prefix)}")
        current = getattr(base, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise UsageError(f"{source}: '{name}' is a section, found {value!r}")
            updates[key] = _merge(current, value, source, f"{name}.")
        elif isinstance(current, Mapping):
            if not isinstance(value, Mapping):
                raise UsageError(f"{source}: '{name}' is a section, found {value!r}")
            updates[key] = {**current, **value}
        else:
            updates[key] = _convert(value, hints[key], name, source)
    return dataclasses.replace(base, **updates)


def _nearest(name: str, base: Any, prefix: str) -> str:
    valid = [f"{prefix}{f.name}" for f in dataclasses.fields(base)]
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.0)
    return f"did you mean '{close[0]}'?"


def _convert(value: Any, hint: Any, name: str, source: str) -> Any:
    """``value`` as the type of its field; numbers may stand as text (YAML reads 1e-4 as text)."""
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for kind in kinds:
        if kind is type(None):
            if value is None:
                return None
        elif kind is float and not isinstance(value, bool):
            try:
                return float(value)
            except (TypeError, ValueError):
                continue
        elif typing.get_origin(kind) is tuple and isinstance(value, (list, tuple)):
            item = typing.get_args(kind)[0]
            return tuple(_convert(part, item, name, source) for part in value)
        elif typing.get_origin(kind) is typing.Literal:
            kinds = typing.get_args(kind)
            if value in kinds:
                return value
        elif isinstance(kind, type) and type(value) is kind:
            return value
    expected = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
    raise UsageError(f"{source}: '{name}' is {value!r}, expected {expected}")
