"""Sections of a configuration and their defaults, which are those of the networks that ship (``lite``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrainOptions:
    """Options that all training stages share; the sections of the stages override some of these defaults.

    steps: optimiser steps, over which the learning rate falls along a cosine to zero
    warmup: steps over which the learning rate first rises
    batch_size: examples per step, of all processes together
    accumulate: parts in which a batch is processed one after the other; more parts take less memory. Gradients are
        means over the parts, which equal those of the whole batch for losses that are means over its examples
    lr: largest learning rate
    clip_norm: largest norm of the gradient
    val_every: steps between two validations on the held-out subjects
    patience: validations without a better score after which training stops early; 0 turns this off
    ema: decay of the running mean of the weights that is validated and saved; 0 uses the weights themselves
    bf16: whether forward passes run in bfloat16, on CUDA and on the CPU; weights, gradients and optimiser stay in
        float32. bfloat16 has float32's range, so losses need no scaling, unlike in fp16, which is not offered
    half: whether the best network is written in half precision; the state of the run stays in float32
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
    half: bool = False
    seed: int = 0


@dataclass(frozen=True)
class SpeechAugment:
    """Augmentation of speech in training: probabilities and sizes of the changes.

    noise: probability of added noise, 6 to 30 dB below the speech (§3.2): another speaker or coloured noise
    gain_db: largest change of the level, dB
    tilt_db: largest tilt of the spectrum between its two ends, dB
    warp: largest relative stretch of the mel axis, as by longer and shorter vocal tracts; log-mel features only
    mask: probability of silencing one time span, and of silencing one band of log-mel features
    reverberation: probability of a room's reverberation; raw samples only
    """

    noise: float = 0.4
    gain_db: float = 4.0
    tilt_db: float = 6.0
    warp: float = 0.1
    mask: float = 0.2
    reverberation: float = 0.3


@dataclass(frozen=True)
class ExpressionConfig:
    """Training of Ψ, the facial expression learner (§3.2); ``network`` overrides fields of its ``Dims``.

    frames: frames of a training window
    placements: number of offsets of the speech encoder's windows at which clips are encoded; each example draws one
    spoilt: number of further encodings, of the clips with noise and rooms, from which examples are drawn alike
    align_rounds, align_steps: rounds of aligning audio and mouth before training, and training steps of each network
        that is fitted for this; with 0 rounds the clips' ``av_lag`` is used as it is
    held_out: number of training subjects that are held out for validation
    stretch: largest relative change of speed at which a window is played
    face_noise: standard deviation of the random expression that is added to both reference and targets of a window
    lip_weight, face_weight: weights of the lips' vertices and of the other vertices in the loss; the chin's weight is 1
    movement: size of the lip gap's movement that the concordance loss asks for, relative to the true movement
    closure_weight: weight of the loss of closures of the lips, for a network that predicts them (``network.closure``)
    closure_rarity: weight in it of a frame with closed lips, relative to one with open lips
    velocity_weight, concordance_weight: weights of these losses; the weight of the position's loss is 1
    """

    train: TrainOptions = TrainOptions(
        steps=800, batch_size=48, weight_decay=0.05, val_every=100, ema=0.99, bf16=True, half=True
    )
    network: Mapping[str, Any] = field(default_factory=dict)
    augment: SpeechAugment = SpeechAugment()
    frames: int = 75
    placements: int = 2
    spoilt: int = 1
    align_rounds: int = 2
    align_steps: int = 250
    held_out: int = 12
    stretch: float = 0.12
    face_noise: float = 1.5
    lip_weight: float = 8.0
    face_weight: float = 0.1
    movement: float = 1.2
    closure_weight: float = 1.0
    closure_rarity: float = 2.0
    velocity_weight: float = 1.0
    concordance_weight: float = 2.0


@dataclass(frozen=True)
class SpeechSpoiling:
    """How speech is spoilt for the adapter of the speech encoder: probabilities and sizes, ``training.spoilt_speech``.

    clean: probability that a recording stays as it is
    room: probability of a room's reverberation
    noise: probability of noise
    decibels: least and largest level of the speech over the noise, dB
    narrow: probability that only the middle of the spectrum is heard, as by telephone
    """

    clean: float = 0.2
    room: float = 0.2
    noise: float = 0.8
    decibels: tuple[float, ...] = (2.0, 28.0)
    narrow: float = 0.15


@dataclass(frozen=True)
class AdapterConfig:
    """Training of the adapter of the speech encoder; ``network`` overrides fields of its ``Dims``.

    spoiling: how speech is spoilt
    frames: frames of a training window
    held_out: number of training subjects that are held out for validation
    codes, closure: weights of the losses of the codes and of the closures of the lips; the lips' own is 1
    """

    train: TrainOptions = TrainOptions(
        steps=2500, warmup=50, batch_size=8, lr=1e-3, weight_decay=0.0, val_every=250, ema=0.98, bf16=True, half=True
    )
    network: Mapping[str, Any] = field(default_factory=dict)
    spoiling: SpeechSpoiling = SpeechSpoiling()
    frames: int = 250
    held_out: int = 12
    codes: float = 1.0
    closure: float = 0.5


@dataclass(frozen=True)
class MotionConfig:
    """Training of Φ, the head motion learner (§3.3); ``network`` overrides fields of its ``Dims``."""

    train: TrainOptions = TrainOptions(steps=2500, batch_size=24, val_every=250, ema=0.995)
    network: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DetectionConfig:
    """Training of the tracker's face detector; ``network`` overrides fields of its ``Dims``.

    splits: splits of the store that are used; clips without speech, which only the tracker can learn from, may have a
        split of their own
    every: step in frames between the frames of a clip that are used
    held_out: share of the training subjects that is held out for validation
    """

    train: TrainOptions = TrainOptions(steps=2500, batch_size=64, lr=3e-3, val_every=250, ema=0.995, bf16=True)
    network: Mapping[str, Any] = field(default_factory=dict)
    splits: tuple[str, ...] = ("train",)
    every: int = 12
    held_out: float = 0.08


@dataclass(frozen=True)
class UnprojectionConfig:
    """Training of the unprojection network (§4.1); the fields are those of ``DetectionConfig``."""

    train: TrainOptions = TrainOptions(
        steps=5500, warmup=200, batch_size=48, lr=1.2e-3, val_every=400, ema=0.999, bf16=True
    )
    network: Mapping[str, Any] = field(default_factory=dict)
    splits: tuple[str, ...] = ("train",)
    every: int = 8
    held_out: float = 0.08


@dataclass(frozen=True)
class MattingConfig:
    """Training of the matting network; ``network`` overrides fields of its ``Dims``.

    splits, every, held_out: as in ``DetectionConfig``
    size: side in px of the training images, a multiple of 2 to the power of the number of the network's widths
    edge: weight of a pixel at the outline of the person; elsewhere it is 1
    moved: probability that a person is shown before the background of another image
    """

    train: TrainOptions = TrainOptions(
        steps=10000, warmup=200, batch_size=16, lr=2e-3, val_every=500, ema=0.998, bf16=True
    )
    network: Mapping[str, Any] = field(default_factory=dict)
    splits: tuple[str, ...] = ("train",)
    every: int = 8
    held_out: float = 0.08
    size: int = 192
    edge: float = 4.0
    moved: float = 0.5


@dataclass(frozen=True)
class PictureAugment:
    """Augmentation of images in training; all images of a person are changed alike.

    gain, tint, offset, gamma: standard deviations of the log gain, of its part per colour, of the offset per colour,
        and of the log exponent
    zoom: smallest part of the side that is cropped and enlarged again; below 1, half of the views are also mirrored
    occlusion: probability that a reference, or the matched image, is partly covered
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

    train: options of the training loop; a batch consists of windows of two frames each
    size: side in px of the training images; with a zoom of 0.5, crops have the resolution of images of 256 px
    references: values of K, of which one is chosen at random for every batch
    held_out: number of training subjects that are held out for validation; of a single subject, a fifth of its episodes
    mouth, eyes: weight of a pixel in these regions; elsewhere it is 1
    pixel, similarity, detail, roughness, flow, temporal: weights of the losses, see ``training.generator_loss``
    adversarial, feature_matching: weights of the discriminators' losses in Eq. 8; 0 for adversarial trains without them
    discriminator: overrides of fields of ``DiscriminatorDims``
    perceptual: weight of the perceptual loss, which is used where weights of its network are given
    compile: whether torch.compile speeds the network up; compiling takes minutes
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
    adapter: AdapterConfig = AdapterConfig()
    motion: MotionConfig = MotionConfig()
    detection: DetectionConfig = DetectionConfig()
    unprojection: UnprojectionConfig = UnprojectionConfig()
    matting: MattingConfig = MattingConfig()
    generator: GeneratorConfig = GeneratorConfig()
