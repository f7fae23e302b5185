"""Fine-tuning of Θ to the person in a clip, on the clip's own frames (§0.B.2): ``--adapt``.

Each part of the clip is rendered from references in the other parts. References of the same moment would be almost
copies of the frames, and would teach nothing about new frames. The last part is held out, and decides whether Θ has
become better. No files are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from thcli.checkpoints import THETA, read_header
from thcli.clips.decode import stream_frames
from thcli.clips.probe import MediaInfo
from thcli.configs.sections import GeneratorConfig, TrainOptions
from thcli.cropping import crop_frame
from thcli.data.episodes import WINDOW, EpisodeMeta, PackedEpisode, pack_episode
from thcli.errors import MediaError, UsageError
from thcli.generation.checks import check_frames_to_learn_from
from thcli.generation.result import FineTuneReport
from thcli.pipeline.episodes import render_episode
from thcli.pipeline.models import Models
from thcli.pipeline.options import ReferenceOptions
from thcli.pipeline.person import person_from_track
from thcli.records import FPS, WHOLE_CROP, Clip, FaceTrack, Person
from thcli.render.generator import FrameGenerator, TorchGenerator, precision_of
from thcli.training.fine_tune import fine_tune
from thcli.training.generator import MOUTH_SCALE, GeneratorStage
from thcli.training.generator_batch import NO_CHANGE
from thgen_models.generator import Generator

PARTS = 3
"""Number of parts that the clip is cut into; the last one is held out."""
LEAST_WINDOWS = 6
"""Fewest windows in which the face is found, in each part."""
MOST_REFERENCES = 8
"""Most references in training; every further one costs memory and time."""
LEARNING_RATE = 2e-4
BATCH = 2
"""Windows per training step, processed one at a time."""
VALIDATIONS = 4
"""Number of validations on the held-out part."""
QUALITY = 95
"""JPEG quality in which rendered frames are kept in memory."""


def fine_tune_to_clip(
    models: Models,
    info: MediaInfo,
    person: Person,
    options: ReferenceOptions,
    steps: int,
    seed: int,
    advance: Callable[[], object],
) -> tuple[FrameGenerator, FineTuneReport]:
    """Fine-tune Θ to the person of a clip; return it, or the original Θ where that is as good, and the outcome.

    The same clip, seed and number of threads give the same weights on the CPU.

    steps: number of training steps
    advance: called after each step

    Raises UsageError for a clip with too few frames of the face, WeightsError, and ThgenError where training diverges.
    """
    init = models.find(THETA)
    references = min(options.references, MOST_REFERENCES)
    config = _config(steps, references, seed, models.device, read_header(init).dims)
    stage = _stage(models, info, person, config)
    tuned = fine_tune(stage, config.train, init, models.device, advance)
    before, after = _shown(tuned.before), _shown(tuned.after)
    if not tuned.step or _error(after) >= _error(before):
        return models.theta, FineTuneReport(steps, "original", before, after)
    network = cast(Generator, tuned.network)
    theta = TorchGenerator(network, models.device, precision_of(models.precision, models.device))
    return theta, FineTuneReport(steps, "adapted", before, after)


def _stage(models: Models, info: MediaInfo, person: Person, config: GeneratorConfig) -> GeneratorStage:
    """Set up the training of Θ on the clip's frames; the last of its episodes is held out."""
    frames = len(person.track)
    check_frames_to_learn_from(info.path, frames)
    stream = stream_frames(info, person.start, frames / FPS, max(person.frame_size))
    images = np.stack([crop_frame(frame, person.box) for frame in stream])
    clip = Clip(images, info.path)
    random = np.random.default_rng(config.train.seed)
    references = config.references[0]
    parts = np.array_split(np.arange(frames), PARTS)
    episodes = [_episode(models, clip, person.track, part, references, random) for part in parts]
    try:
        return GeneratorStage(episodes, config, models.device)
    except MediaError as error:  # the last part has the very frames of the others
        raise UsageError(f"--adapt: {info.path} shows one picture all the time; leave out --adapt") from error


def _episode(
    models: Models,
    clip: Clip,
    track: FaceTrack,
    part: NDArray[np.intp],
    references: int,
    random: np.random.Generator,
) -> PackedEpisode:
    """Render the frames ``part`` of the clip from references among its other frames, as an episode."""
    windows = [int(t) for t in part[: 1 - WINDOW : WINDOW] if (track.confidence[t : t + WINDOW] > 0).all()]
    if len(windows) < LEAST_WINDOWS:
        raise UsageError(
            f"--adapt: {clip.path} shows the face in {WINDOW * len(windows)} of the frames {part[0]} to {part[-1]}, "
            f"expected {WINDOW * LEAST_WINDOWS} or more; choose another part with --start, or leave out --adapt"
        )
    others = np.setdiff1d(np.arange(len(track)), part)
    shown, options = Clip(clip.frames[others], clip.path), ReferenceOptions(references=references)
    person = person_from_track(
        models.face_model, shown, track.select(others), WHOLE_CROP, None, options, matting=models.matting
    )
    episode = render_episode(models, person, clip, track, windows, random)
    name = str(clip.path)
    meta = EpisodeMeta(name, name, "train", len(episode.real), len(episode.references))
    return pack_episode(meta, episode, QUALITY)


def _config(steps: int, references: int, seed: int, device: str, dims: Mapping[str, Any]) -> GeneratorConfig:
    """Configure training without augmentation, because the person's light and framing do not change."""
    train = TrainOptions(
        steps=steps,
        warmup=min(10, steps),
        batch_size=BATCH,
        accumulate=BATCH,  # the same gradients in less memory
        lr=LEARNING_RATE,
        val_every=-(-steps // VALIDATIONS),
        ema=GeneratorConfig().train.ema,
        bf16=device.startswith("cuda"),
        seed=seed,
    )
    return GeneratorConfig(
        train=train, network=dims, augment=NO_CHANGE, size=int(dims["side"]), references=(references,)
    )


def _error(figures: Mapping[str, float]) -> float:
    """Compute the score without its term for sharpness, which would reward fine texture in the wrong place."""
    return figures["mouth"] / MOUTH_SCALE - figures["ssim"]


def _shown(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures of a ``FineTuneReport``, rounded."""
    return {name: round(figures[name], 4) for name in ("ssim", "mouth", "sharpness", "score")}
