"""Videos of a person who talks, made from a photograph and the face model, so that everything in them is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from skimage.data import astronaut
from skimage.draw import polygon

import thgen_models
from thcli.evaluation.recording import Pair, Recording
from thcli.face_model import INNER_LIPS, LANDMARKS_68, FaceModel
from thcli.faces.track import face_boxes
from thcli.records import CROP_SIZE, N_EXPRESSION, SAMPLES_PER_FRAME, FaceTrack, Float, Image, Speech
from thcli.rotations import apply_pose, to_pixels

SCALE = np.float32(1 / 59)
"""Canonical units per pixel at the size of the photograph's face."""
FACE = (226, 121)
"""Pixel (x, y) of the photograph at which the origin of its face lies."""
PAD = 160


@pytest.fixture(scope="session")
def face_model() -> FaceModel:
    """The shipped face model."""
    return FaceModel.load(Path(thgen_models.__file__).parent / "weights" / "face_model.safetensors")


@pytest.fixture(scope="session")
def recording(face_model: FaceModel) -> Callable[..., Recording]:
    """recording(frames=50, name=..., pose=..., expression=..., blink=..., loudness=..., **changes) makes a video.

    pose: [T, 6], the head poses; by default a slow sway. The image follows the face's position by whole pixels
    expression: [T, 20]; by default the first coefficient opens the mouth as ``mouth_openings`` says
    blink: [T] in 0..1; by default the eyes stay open
    loudness: [T], amplitude of the noise that is the sound; by default it follows ``mouth_openings``
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
            expression[:, 0] = 3 * mouth_openings(frames) - 1
        track = made_track(face_model, pose, expression, np.zeros(frames, np.float32) if blink is None else blink)
        sound = made_sound(mouth_openings(frames) if loudness is None else loudness)
        return replace(Recording(name, made_frames(track), track, sound), **changes)

    return make


@pytest.fixture(scope="session")
def pair(recording: Callable[..., Recording]) -> Callable[..., Pair]:
    """pair(predicted=None, reference=None): two recordings side by side; the one that is not given equals the other."""

    def make(predicted: Recording | None = None, reference: Recording | None = None) -> Pair:
        one = predicted or reference or recording()
        return Pair(predicted or one, reference or one)

    return make


def mouth_openings(frames: int) -> Float:
    """Openings of a mouth [T] in 0..1 that speaks about four syllables a second, of uneven strength."""
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
    """The track of a face with these poses, expressions and blinks, in px of the crop."""
    size = (CROP_SIZE, CROP_SIZE)
    shape = model.canonical + model.displacement(expression, blink)
    mesh = to_pixels(apply_pose(shape, pose), float(SCALE), size).astype(np.float32)
    confidence = np.ones(len(mesh), np.float32)
    return FaceTrack(face_boxes(mesh), mesh, mesh[:, LANDMARKS_68], pose, float(SCALE), confidence, size, "made 1")


def made_frames(track: FaceTrack) -> Image:
    """The photograph, moved by whole pixels to where the track has the face, with the mouth as open as in the track."""
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
    """Noise whose amplitude follows ``loudness`` [T], a value for each frame."""
    noise = np.random.default_rng(0).standard_normal(len(loudness) * SAMPLES_PER_FRAME)
    steps = (np.arange(len(noise)) + 0.5) / SAMPLES_PER_FRAME - 0.5
    envelope = np.interp(steps, np.arange(len(loudness)), loudness)
    return Speech((0.2 * noise * (0.02 + envelope)).clip(-1, 1).astype(np.float32), Path("made.wav"))


@pytest.fixture
def network(tmp_path: Path) -> Callable[..., Path]:
    """network(name, inputs, width, batch): an ONNX file whose features are means of pixels of its inputs.

    inputs: shapes of the inputs without the batch; for each there is one output [B, D]
    width: D. Feature d is the mean of every D-th value of the input from value d on, so that a test can compute it
    batch: size of the batch that the network takes, or the name of a free dimension
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    def make(
        name: str = "net.onnx",
        inputs: tuple[tuple[int, ...], ...] = ((3, 112, 112),),
        width: int = 16,
        batch: int | str = "B",
    ) -> Path:
        taken = [
            helper.make_tensor_value_info(f"in{i}", TensorProto.FLOAT, [batch, *shape])
            for i, shape in enumerate(inputs)
        ]
        given = [helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, None) for i in range(len(inputs))]
        nodes, constants = [], []
        for i, shape in enumerate(inputs):
            more_nodes, more_constants = averaging(helper, TensorProto.INT64, i, int(np.prod(shape)), width)
            nodes += more_nodes
            constants += more_constants
        graph = helper.make_graph(nodes, "net", taken, given, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return make


def averaging(helper: ModuleType, int64: int, i: int, count: int, width: int) -> tuple[list[Any], list[Any]]:
    """Nodes and constants that turn input ``i`` of ``count`` values into ``width`` means, its output."""
    kept = width * (count // width)
    constants = [
        helper.make_tensor(f"flat{i}", int64, [2], [-1, count]),
        helper.make_tensor(f"low{i}", int64, [1], [0]),
        helper.make_tensor(f"high{i}", int64, [1], [kept]),
        helper.make_tensor(f"axis{i}", int64, [1], [1]),
        helper.make_tensor(f"parts{i}", int64, [3], [-1, kept // width, width]),
    ]
    nodes = [
        helper.make_node("Reshape", [f"in{i}", f"flat{i}"], [f"a{i}"]),
        helper.make_node("Slice", [f"a{i}", f"low{i}", f"high{i}", f"axis{i}"], [f"b{i}"]),
        helper.make_node("Reshape", [f"b{i}", f"parts{i}"], [f"c{i}"]),
        helper.make_node("ReduceMean", [f"c{i}"], [f"out{i}"], axes=[1], keepdims=0),
    ]
    return nodes, constants
