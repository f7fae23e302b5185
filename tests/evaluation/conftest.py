"""A person who talks, made from a photograph and the face model, so that everything about the video is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut
from skimage.draw import polygon

import thgen_models
from thcli.evaluation.recording import Pair, Recording
from thcli.face_model import INNER_LIPS, LANDMARKS_68, FaceModel
from thcli.faces.pose import to_pixels
from thcli.faces.track import face_boxes
from thcli.records import CROP_SIZE, N_EXPRESSION, SAMPLES_PER_FRAME, FaceTrack, Float, Image, Speech
from thcli.rotations import apply_pose

SCALE = np.float32(1 / 59)
"""Canonical units per pixel at the size of the photograph's face."""
FACE = (226, 121)
"""Pixels of the photograph at which the origin of its face lies."""
PAD = 160


@pytest.fixture(scope="session")
def face_model() -> FaceModel:
    """The shipped face model."""
    return FaceModel.load(Path(thgen_models.__file__).parent / "weights" / "face_model.safetensors")


@pytest.fixture(scope="session")
def recording(face_model: FaceModel) -> Callable[..., Recording]:
    """recording(frames=50, name=..., pose=..., expression=..., blink=..., loudness=..., **changes): a made video.

    pose: [T, 6] exact head poses; by default a slow sway. The picture follows the face's place by whole pixels
    expression: [T, 20]; by default ``talking``, which opens the mouth. The first coefficient opens it
    blink: [T] in 0..1; by default open
    loudness: [T] amplitude of the noise that the sound is; by default it follows the mouth of ``talking``
    changes: fields of ``Recording`` to replace, such as track=None or frames
    """

    def make(
        frames: int = 50,
        name: str = "made.mp4",
        pose: Float | None = None,
        expression: Float | None = None,
        blink: Float | None = None,
        loudness: Float | None = None,
        **changes: object,
    ) -> Recording:
        pose = sway(frames) if pose is None else np.asarray(pose, np.float32)
        if expression is None:
            expression = np.zeros((frames, N_EXPRESSION), np.float32)
            expression[:, 0] = 3 * talking(frames) - 1
        track = made_track(face_model, pose, expression, np.zeros(frames, np.float32) if blink is None else blink)
        sound = made_sound(talking(frames) if loudness is None else loudness)
        return replace(Recording(name, made_frames(track), track, sound), **changes)

    return make


@pytest.fixture(scope="session")
def pair(recording: Callable[..., Recording]) -> Callable[..., Pair]:
    """pair(predicted=None, reference=None): two recordings side by side; the one not given is the other."""

    def make(predicted: Recording | None = None, reference: Recording | None = None) -> Pair:
        one = predicted or reference or recording()
        return Pair(predicted or one, reference or one)

    return make


def talking(frames: int) -> Float:
    """Openings of a mouth [T] in 0..1 at about four syllables a second, of uneven strength."""
    time = np.arange(frames) / 25
    return ((0.5 - 0.5 * np.cos(2 * np.pi * 3.7 * time)) * (0.6 + 0.4 * np.sin(2 * np.pi * 0.9 * time))).astype(
        np.float32
    )


def sway(frames: int) -> Float:
    """Head poses [T, 6] of a slow movement: radians, canonical units."""
    time = np.arange(frames)[:, None] / 25
    amount = np.array([0.05, 0.10, 0.03, 0.06, 0.03, 0.0])
    return (amount * np.sin(2 * np.pi * time * np.array([0.5, 0.3, 0.4, 0.3, 0.6, 1.0]))).astype(np.float32)


def made_track(model: FaceModel, pose: Float, expression: Float, blink: Float) -> FaceTrack:
    """The track of a face that moves exactly so, in pixels of the crop."""
    size = (CROP_SIZE, CROP_SIZE)
    shape = model.canonical + model.displacement(expression, blink)
    mesh = to_pixels(apply_pose(shape, pose), float(SCALE), size).astype(np.float32)
    confidence = np.ones(len(mesh), np.float32)
    return FaceTrack(face_boxes(mesh), mesh, mesh[:, LANDMARKS_68], pose, float(SCALE), confidence, size, "made 1")


def made_frames(track: FaceTrack) -> Image:
    """The photograph behind the track, moved by whole pixels to its place, with its mouth open as far as it is."""
    photo = np.pad(astronaut(), ((PAD, PAD), (PAD, PAD), (0, 0)), mode="edge")
    origin = to_pixels(apply_pose(np.zeros((len(track), 1, 3), np.float32), track.pose), track.scale, track.size)
    frames = []
    for (x, y), mesh in zip(origin[:, 0, :2].round().astype(int), track.mesh, strict=True):
        top, left = PAD + FACE[1] - y, PAD + FACE[0] - x
        frame = photo[top : top + CROP_SIZE, left : left + CROP_SIZE].copy()
        lips = mesh[list(INNER_LIPS)]
        frame[polygon(lips[:, 1], lips[:, 0], frame.shape[:2])] = (60, 20, 20)
        frames.append(frame)
    return np.stack(frames)


def made_sound(loudness: Float) -> Speech:
    """Noise whose amplitude follows one value a frame."""
    noise = np.random.default_rng(0).standard_normal(len(loudness) * SAMPLES_PER_FRAME)
    steps = (np.arange(len(noise)) + 0.5) / SAMPLES_PER_FRAME - 0.5
    envelope = np.interp(steps, np.arange(len(loudness)), loudness)
    return Speech((0.2 * noise * (0.02 + envelope)).clip(-1, 1).astype(np.float32), Path("made.wav"))


@pytest.fixture
def network(tmp_path: Path) -> Callable[..., Path]:
    """network(name, inputs, width): an ONNX file whose features are the picture's means, a pixel apart.

    inputs: shapes without the batch; width: D. Feature d of [B, D] is the mean over channels of every D-th pixel
    from d on, so that what it sees is known; batch: a fixed size, or any
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    def make(
        name: str = "net.onnx",
        inputs: tuple[tuple[int, ...], ...] = ((3, 112, 112),),
        width: int = 16,
        batch: int | str = "B",
    ) -> Path:
        takes = [
            helper.make_tensor_value_info(f"in{i}", TensorProto.FLOAT, [batch, *shape])
            for i, shape in enumerate(inputs)
        ]
        gives = [helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, None) for i in range(len(inputs))]
        nodes, constants = [], []
        for i, shape in enumerate(inputs):
            count = int(np.prod(shape))
            kept = width * (count // width)
            constants += [
                helper.make_tensor(f"flat{i}", TensorProto.INT64, [2], [-1, count]),
                helper.make_tensor(f"low{i}", TensorProto.INT64, [1], [0]),
                helper.make_tensor(f"high{i}", TensorProto.INT64, [1], [kept]),
                helper.make_tensor(f"axis{i}", TensorProto.INT64, [1], [1]),
                helper.make_tensor(f"parts{i}", TensorProto.INT64, [3], [-1, kept // width, width]),
            ]
            nodes += [
                helper.make_node("Reshape", [f"in{i}", f"flat{i}"], [f"a{i}"]),
                helper.make_node("Slice", [f"a{i}", f"low{i}", f"high{i}", f"axis{i}"], [f"b{i}"]),
                helper.make_node("Reshape", [f"b{i}", f"parts{i}"], [f"c{i}"]),
                helper.make_node("ReduceMean", [f"c{i}"], [f"out{i}"], axes=[1], keepdims=0),
            ]
        graph = helper.make_graph(nodes, "net", takes, gives, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return make
