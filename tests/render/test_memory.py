"""Where a device has no memory for all frames of a chunk, fewer are rendered at a time; where it has none for one
frame, the error names a size that would fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from thcli.errors import DeviceError
from thcli.pipeline.models import Models
from thcli.pipeline.options import ReferenceOptions
from thcli.pipeline.person import person_from_track
from thcli.pipeline.target import TrackedTarget
from thcli.records import WHOLE_CROP, Clip, FaceTrack, Person
from thcli.render.frames import TargetRenderer
from thcli.render.memory import OneFrame, fitting_side, in_parts
from thgen_models.embedding import Embedding
from thgen_models.generator import Frames

FRAMES = 11
OUT_OF_MEMORY = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
Talking = Callable[[int, int], FaceTrack]
Render = Callable[["LimitedTheta"], np.ndarray]


class LimitedTheta:
    """Stands for Θ on a device that holds ``room`` frames; each image depends on its own frame alone."""

    def __init__(self, room: int, error: Exception = OUT_OF_MEMORY) -> None:
        self.room, self.error, self.size, self.reduction = room, error, 256, 1
        self.asked: list[int] = []

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        return Embedding(*[images] * 5)

    def render(self, frames: Frames, embedding: Embedding) -> Tensor:
        self.asked.append(len(frames.geometric))
        if len(frames.geometric) > self.room:
            raise self.error
        return (frames.geometric + frames.target_map).clamp(-1, 1)


@pytest.fixture(scope="module")
def person(models: Models, talking: Talking) -> Person:
    """A person with three references that differ in brightness."""
    from skimage.data import astronaut

    clip = Clip(np.stack([astronaut()[:256, 96:352] // 8 * n for n in (5, 6, 7, 8)]), Path("made up"))
    options = ReferenceOptions(references=3)
    return person_from_track(models.face_model, clip, talking(0, 4), WHOLE_CROP, None, options)


@pytest.fixture
def render(models: Models, person: Person, talking: Talking) -> Render:
    """render(theta): eleven frames, at most eight at a time."""
    target = TrackedTarget(talking(1, FRAMES))
    return lambda theta: np.stack(list(TargetRenderer(models, person, target, theta=theta, batch_size=8).frames()))


def test_target_renderer_gives_the_same_frames_with_little_memory(render: Render) -> None:
    roomy, tight, one = LimitedTheta(99), LimitedTheta(3), LimitedTheta(1)
    frames = render(roomy)
    assert len(frames) == FRAMES and roomy.asked == [8, 3]
    for theta, asked in ((tight, [8, 4, 2, 2, 2, 2, 2, 1]), (one, [8, 4, 2] + [1] * FRAMES)):
        difference = render(theta).astype(int) - frames
        # Patches of mouth and eyes are as large as their batch needs them, so a few values are rounded otherwise.
        assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 1e-3
        assert theta.asked == asked


def test_in_parts_loses_and_repeats_no_frame_when_memory_runs_out_midway() -> None:
    def render(part: slice) -> np.ndarray:
        if part.start >= 8 and part.stop - part.start > 2:
            raise MemoryError
        return np.arange(part.start, part.stop)

    parts = list(in_parts(slice(0, 19), 8, render, OneFrame(256, 1, "cpu")))
    assert np.concatenate([frames for _, frames in parts]).tolist() == list(range(19))
    assert [part.stop - part.start for part, _ in parts] == [8, 2, 2, 2, 2, 2, 1]


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_target_renderer_raises_device_error_where_not_one_frame_fits(render: Render, error: Exception) -> None:
    theta = LimitedTheta(0, error)
    with pytest.raises(DeviceError) as caught:
        render(theta)
    assert theta.asked == [8, 4, 2, 1]
    assert caught.value.exit_code == 6
    assert re.fullmatch(
        r"one frame of 256x256 pixels does not fit into the memory of cpu( \(\d+\.\d GiB are free\))?, "
        r"and none are smaller; free some",
        str(caught.value),
    )


def test_target_renderer_passes_other_errors_on_without_another_attempt(render: Render) -> None:
    theta = LimitedTheta(0, RuntimeError("sizes of tensors must match"))
    with pytest.raises(RuntimeError, match="sizes of tensors"):
        render(theta)
    assert theta.asked == [8]


@pytest.mark.parametrize(
    ("free", "known", "fits", "size"),
    [
        (1 << 30, " (1.0 GiB are free)", 1440, 512),
        (1 << 24, " (0.0 GiB are free)", 256, 256),
        (None, "", 1440, 512),
    ],
)
def test_in_parts_names_the_size_that_would_fit_on_a_gpu(
    free: int | None, known: str, fits: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: free is not None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 1 << 34))

    def render(part: slice) -> np.ndarray:
        raise MemoryError

    with pytest.raises(DeviceError) as caught:
        next(in_parts(slice(0, 1), 1, render, OneFrame(2048, 8, "cuda:0")))
    assert str(caught.value) == (
        f"one frame of 2048x2048 pixels does not fit into the memory of cuda:0{known}; by estimate {fits}x{fits} does: "
        f"use --frame crop --size {size}, a clip of fewer pixels or fewer --references, or use --device cpu"
    )


def test_fitting_side_grows_with_memory_and_stays_below_what_did_not_fit() -> None:
    one = OneFrame(2048, 8, "cuda")
    sides = [fitting_side(1 << power, one) for power in range(20, 40)]
    assert sides == sorted(sides) and len(set(sides)) > 3
    assert sides[0] == 256 and sides[-1] < 2048 / 2**0.5
    assert fitting_side(1 << 28, OneFrame(2048, 32, "cuda")) < fitting_side(1 << 28, one)
