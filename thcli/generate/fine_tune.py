"""Θ fine-tuned to the person in a clip, on the clip's own frames (§0.B.2): ``--adapt``.

Each part of the clip is drawn from references in the others: frames beside references of the same moment would be as
good as copies, and teach nothing about those to come. The last part is held out, and says whether Θ has become better.
All of it happens in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from thcli.checkpoints import find_weights, read_header
from thcli.clips.decode import frame_count, stream_frames
from thcli.clips.probe import probe
from thcli.config import GeneratorConfig, TrainOptions
from thcli.data.episodes import WINDOW, PackedTake, TakeMeta, pack_take
from thcli.errors import MediaError, UsageError
from thcli.faces.crop import WHOLE_CROP, crop_frame
from thcli.pipeline.episodes import draw_take
from thcli.pipeline.options import Adapted, GenerateOptions
from thcli.pipeline.person import Person, person_of
from thcli.records import CROP_SIZE, FPS, Clip, FaceTrack
from thcli.render.generator import CHECKPOINT, FrameGenerator, TorchGenerator, precision_of
from thcli.training.fine_tune import fine_tune
from thcli.training.generator import MOUTH_SCALE, GeneratorStage
from thcli.training.generator_batch import NO_CHANGE
from thgen_models.generator import Generator

PARTS = 3
LEAST_FRAMES, LEAST_WINDOWS = 50, 6
"""Of the clip: frames; of each part: windows in which the face was found."""
MOST_REFERENCES = 8
"""In training; every further one costs memory and time."""
LEARNING_RATE, BATCH, LOOKS = 2e-4, 2, 4
QUALITY = 95
"""Of the JPEGs that the drawn frames are held as."""


@dataclass(frozen=True)
class Tailored:
    """theta: Θ, fine-tuned, or as it was where that made it no better; record: how that was found out"""

    theta: FrameGenerator
    record: Adapted


def check_reference(reference: Path, options: GenerateOptions) -> None:
    """UsageError where a reference is a photo, or too short a clip to adapt to."""
    info = probe(reference)
    if info.image:
        raise UsageError(f"--adapt: {reference} is a photo, expected a clip to learn from; leave out --adapt")
    if info.duration is not None:
        _check_length(reference, max(0, frame_count(info.duration - options.start)))


def adapt(
    theta: FrameGenerator,
    reference: Path,
    person: Person,
    options: GenerateOptions,
    device: str,
    advance: Callable[[], object],
) -> Tailored:
    """Fine-tune Θ, loaded as ``theta``, to the person of a clip; ``advance`` is called after each of the steps.

    The same clip, seed, and number of threads give the same weights on the CPU. Raises UsageError for a clip with too
    little to learn from, WeightsError, ThgenError where training diverges.
    """
    init = find_weights(CHECKPOINT, options.weights)
    stage = _stage(reference, person, options, device, read_header(init).dims)
    tuned = fine_tune(stage, stage.config.train, init, device, advance)
    before, after = _shown(tuned.before), _shown(tuned.after)
    if not tuned.step or _error(after) >= _error(before):
        return Tailored(theta, Adapted(options.adapt, "original", before, after))
    network = cast(Generator, tuned.network)
    tailored = TorchGenerator(network, device, precision_of(options.precision, device))
    return Tailored(tailored, Adapted(options.adapt, "adapted", before, after))


def _stage(
    reference: Path, person: Person, options: GenerateOptions, device: str, dims: Mapping[str, object]
) -> GeneratorStage:
    """The training of Θ on the clip's frames; of its takes the last is held out."""
    frames, track = len(person.track), person.track
    _check_length(reference, frames)
    crops = [crop_frame(frame, person.box) for frame in stream_frames(reference, options.start, frames / FPS)]
    clip = Clip(np.stack(crops), reference)
    random = np.random.default_rng(options.seed)
    takes = [_take(clip, track, part, options, random, device) for part in np.array_split(np.arange(frames), PARTS)]
    try:
        return GeneratorStage(takes, _config(options, device, dims), device)
    except MediaError as error:  # the last part shows what the others do, to the bit
        raise UsageError(f"--adapt: {reference} shows one picture all the time; leave out --adapt") from error


def _take(
    clip: Clip,
    track: FaceTrack,
    part: NDArray[np.intp],
    options: GenerateOptions,
    random: np.random.Generator,
    device: str,
) -> PackedTake:
    """Some frames of the clip, drawn from references among the others."""
    windows = [int(t) for t in part[: 1 - WINDOW : WINDOW] if (track.confidence[t : t + WINDOW] > 0).all()]
    if len(windows) < LEAST_WINDOWS:
        raise UsageError(
            f"--adapt: {clip.path} shows the face in {WINDOW * len(windows)} of the frames {part[0]} to {part[-1]}, "
            f"expected {WINDOW * LEAST_WINDOWS} or more; choose another part with --start, or leave out --adapt"
        )
    others = np.setdiff1d(np.arange(len(track)), part)
    shown = GenerateOptions(references=_references(options), weights=options.weights)
    person = person_of(Clip(clip.frames[others], clip.path), track.select(others), WHOLE_CROP, None, shown)
    take = draw_take(person, clip, track, windows, random, device)
    name = str(clip.path)
    return pack_take(TakeMeta(name, name, "train", len(take.real), len(take.references)), take, QUALITY)


def _references(options: GenerateOptions) -> int:
    return min(options.references, MOST_REFERENCES)


def _config(options: GenerateOptions, device: str, dims: Mapping[str, object]) -> GeneratorConfig:
    """The person's light and framing do not change, so the pictures are not changed either."""
    steps = options.adapt
    train = TrainOptions(
        steps=steps,
        warmup=min(10, steps),
        batch_size=BATCH,
        accumulate=BATCH,  # the same in less memory
        lr=LEARNING_RATE,
        val_every=-(-steps // LOOKS),
        ema=GeneratorConfig().train.ema,
        bf16=device.startswith("cuda"),
        seed=options.seed,
    )
    return GeneratorConfig(
        train=train, network=dims, augment=NO_CHANGE, size=CROP_SIZE, references=(_references(options),)
    )


def _check_length(reference: Path, frames: int) -> None:
    if frames < LEAST_FRAMES:
        raise UsageError(
            f"--adapt: {reference} has {frames} frames to learn from, expected {LEAST_FRAMES} or more "
            f"({LEAST_FRAMES / FPS:g} s); give a longer clip, or leave out --adapt"
        )


def _error(figures: Mapping[str, float]) -> float:
    """The score without sharpness: fine texture may be of no use that is in the wrong place."""
    return figures["mouth"] / MOUTH_SCALE - figures["ssim"]


def _shown(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(figures[name], 4) for name in ("ssim", "mouth", "sharpness", "score")}
