"""A device without memory for all frames of a chunk: fewer at a time are the same frames; of one, it is said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from thcli.errors import DeviceError
from thcli.faces.crop import CropBox
from thcli.pipeline import GenerateOptions
from thcli.pipeline.person import Person, person_of
from thcli.pipeline.target import Tracked
from thcli.records import Clip, FaceTrack
from thcli.render import memory
from thcli.render.frames import draw_frames
from thcli.render.memory import OneFrame, fitting_side, in_parts
from thgen_models.embedding import Embedding
from thgen_models.generator import Frames

FRAMES = 11
Talking = Callable[[int, int], FaceTrack]


class Tight:
    """Θ on a device that holds so many frames; what it draws depends on each frame alone."""

    def __init__(self, room: int, error: Exception | None = None) -> None:
        self.room, self.error = (
            room,
            error or torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        )
        self.asked: list[int] = []

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        return Embedding(*[images] * 5)

    def draw(self, frames: Frames, embedding: Embedding) -> Tensor:
        self.asked.append(len(frames.geometric))
        if len(frames.geometric) > self.room:
            raise self.error
        return (frames.geometric + frames.target_map).clamp(-1, 1)


@pytest.fixture(scope="module")
def person(talking: Talking) -> Person:
    from skimage.data import astronaut

    frames = np.stack([astronaut()[:256, 96:352] // 8 * n for n in (5, 6, 7, 8)])
    return person_of(Clip(frames, "made up"), talking(0, 4), CropBox(0, 0, 256), None, GenerateOptions(references=3))


@pytest.fixture(scope="module")
def target(talking: Talking) -> Tracked:
    return Tracked(talking(1, FRAMES))


def drawn(person: Person, target: Tracked, theta: Tight) -> np.ndarray:
    return np.stack(list(draw_frames(person, target, "cpu", False, theta=theta, most=8)))


def test_fewer_at_a_time_are_the_same_frames(person: Person, target: Tracked) -> None:
    roomy, tight, one = Tight(99), Tight(3), Tight(1)
    frames = drawn(person, target, roomy)
    assert len(frames) == FRAMES and roomy.asked == [8, 3]
    for theta, asked in ((tight, [8, 4, 2, 2, 2, 2, 2, 1]), (one, [8, 4, 2] + [1] * FRAMES)):
        difference = drawn(person, target, theta).astype(int) - frames
        # windows of mouth and eyes are as large as a batch needs them: here and there a value is rounded otherwise
        assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 1e-3
        assert theta.asked == asked


def test_memory_that_goes_in_the_middle_loses_and_repeats_nothing() -> None:
    def draw(part: slice) -> np.ndarray:
        if part.start >= 8 and part.stop - part.start > 2:
            raise MemoryError
        return np.arange(part.start, part.stop)

    parts = list(in_parts(19, 8, draw, OneFrame(256, 1, "cpu")))
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
def test_not_even_one(person: Person, target: Tracked, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: 3 << 29)
    theta = Tight(0, error)
    with pytest.raises(DeviceError) as caught:
        drawn(person, target, theta)
    assert theta.asked == [8, 4, 2, 1]
    assert caught.value.exit_code == 6
    assert str(caught.value) == (
        "one frame of 256x256 pixels does not fit into the memory of cpu (1.5 GiB are free), and none are smaller; "
        "free some"
    )


def test_other_errors_are_not_taken_for_want_of_memory(person: Person, target: Tracked) -> None:
    theta = Tight(0, RuntimeError("sizes of tensors must match"))
    with pytest.raises(RuntimeError, match="sizes of tensors"):
        drawn(person, target, theta)
    assert theta.asked == [8]


@pytest.mark.parametrize(("free", "size"), [(1 << 30, "512"), (1 << 24, "256"), (None, "512")])
def test_what_would_fit_is_named(free: int | None, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda device: free)

    def draw(part: slice) -> np.ndarray:
        raise MemoryError

    with pytest.raises(DeviceError, match=rf"one frame of 2048x2048 .* of cuda:0.*--size {size}, .* --device cpu$"):
        next(in_parts(1, 1, draw, OneFrame(2048, 8, "cuda:0")))


def test_what_would_fit_grows_with_memory_and_never_to_what_did_not() -> None:
    one = OneFrame(2048, 8, "cuda")
    sides = [fitting_side(1 << power, one) for power in range(20, 40)]
    assert sides == sorted(sides) and len(set(sides)) > 3
    assert sides[0] == 256 and sides[-1] < 2048 / 2**0.5
    assert fitting_side(1 << 28, OneFrame(2048, 32, "cuda")) < fitting_side(1 << 28, one)
