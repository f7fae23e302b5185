"""Metrics of how well sound and mouth are in step, with a network whose output is known, and without one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from thcli.evaluation.metric import Figure
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.metrics import loudness_sync, sync
from thcli.evaluation.recording import Pair, Recording
from thcli.evaluation.syncnet import face_crops, mean_distances, mfcc
from thcli.records import SAMPLE_RATE, SAMPLES_PER_FRAME

BY_NAME = {metric.name: metric for module in (sync, loudness_sync) for metric in module.METRICS}


def measured(name: str, recording: Recording, models: MetricModels | None = None) -> Figure:
    return BY_NAME[name].measure(Pair(recording, recording), models or MetricModels())


def wander(frames: int, seed: int) -> np.ndarray:
    """A curve [T] in 0..1 that changes about as fast as speech."""
    noise = np.random.default_rng(seed).standard_normal(frames + 8)
    smooth = np.convolve(noise, np.hanning(6)[1:-1], mode="same")[4:-4]
    return (smooth - smooth.min()) / np.ptp(smooth)


def brightness(level: np.ndarray) -> np.ndarray:
    """Grey frames [T, 256, 256, 3] of a level in 0..1."""
    return np.broadcast_to((40 + 180 * level).astype(np.uint8)[:, None, None, None], (len(level), 256, 256, 3))


@pytest.fixture(scope="module")
def syncnet(tmp_path_factory: pytest.TempPathFactory) -> MetricModels:
    """A SyncNet that compares the brightness of the image with the energy of the audio, both as ``level`` in 0..1.

    Amplitudes of exp(2 level) have energies of 4 level + c in nepers.
    """
    video = helper.make_tensor_value_info("video", TensorProto.FLOAT, ["B", 3, 5, 224, 224])
    audio = helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["B", 1, 13, 20])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 1]) for name in ("picture", "sound")]
    # White noise of amplitude a in 16 bit, with preemphasis: a window of 400 has half its power, over 512 bins.
    quiet = np.log(400 / 2 * (1 + 0.97**2) * (0.01 * 32768) ** 2)
    numbers = {"black": 40.0, "white": 180.0, "quiet": quiet, "loud": 4.0, "middle": 0.5}
    fixed = [helper.make_tensor(name, TensorProto.FLOAT, [1], [number]) for name, number in numbers.items()]
    whole = {"axes": [1, 2, 3, 4], "first": [0], "one": [1], "rows": [2], "rest": [1, 2, 3]}
    fixed += [helper.make_tensor(name, TensorProto.INT64, [len(values)], values) for name, values in whole.items()]
    nodes = [
        helper.make_node("ReduceMean", ["video", "axes"], ["v0"], keepdims=0),
        helper.make_node("Sub", ["v0", "black"], ["v1"]),
        helper.make_node("Div", ["v1", "white"], ["v2"]),
        helper.make_node("Sub", ["v2", "middle"], ["v3"]),
        helper.make_node("Unsqueeze", ["v3", "one"], ["picture"]),
        helper.make_node("Slice", ["audio", "first", "one", "rows"], ["a0"]),
        helper.make_node("ReduceMean", ["a0", "rest"], ["a1"], keepdims=0),
        helper.make_node("Sub", ["a1", "quiet"], ["a2"]),
        helper.make_node("Div", ["a2", "loud"], ["a3"]),
        helper.make_node("Sub", ["a3", "middle"], ["a4"]),
        helper.make_node("Unsqueeze", ["a4", "one"], ["sound"]),
    ]
    graph = helper.make_graph(nodes, "syncnet", [video, audio], outputs, fixed)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = tmp_path_factory.mktemp("syncnet") / "sync.onnx"
    onnx.save(model, path)
    return MetricModels(syncnet=path)


@pytest.fixture
def video(recording: Callable[..., Recording]) -> Callable[..., Recording]:
    """video(bright, loud): grey frames of levels [T] with noise whose amplitude follows levels [T]."""
    template = recording(1)

    def make(bright: np.ndarray, loud: np.ndarray) -> Recording:
        noise = np.random.default_rng(0).standard_normal(len(loud) * SAMPLES_PER_FRAME)
        samples = 0.01 * np.exp(2 * np.repeat(loud, SAMPLES_PER_FRAME)) * noise
        speech = replace(template.speech, samples=samples.astype(np.float32))
        track = template.track.select(np.zeros(len(bright), np.intp))
        return replace(template, name="grey.mp4", frames=brightness(bright), track=track, speech=speech)

    return make


@pytest.mark.parametrize("shift", [-7, 0, 4])
def test_sync_offset_of_a_shifted_video_is_its_shift(shift, video, syncnet):
    level = wander(100, 0)
    made = video(level[20 - shift : 80 - shift], level[20:80])  # The image trails the sound by ``shift``.
    offset, confidence = (measured(name, made, syncnet) for name in ("sync_offset", "sync_confidence"))
    assert offset.value == shift
    assert offset.count == 55
    assert offset.model.startswith("sync (sha256 ")
    assert confidence.value > 0.08


def test_sync_confidence_and_distance_tell_a_fit_from_none(video, syncnet):
    names = ("sync_confidence", "sync_distance")
    fitting, foreign = (
        [measured(name, made, syncnet).value for name in names]
        for made in (video(wander(60, seed), wander(60, 0)) for seed in (0, 1))
    )
    assert foreign[0] < 0.5 * fitting[0]
    assert foreign[1] > 2 * fitting[1]


def test_mean_distances_are_those_computed_by_hand():
    random = np.random.default_rng(0)
    pictures, sounds = random.standard_normal((2, 40, 3)).astype(np.float32)
    distance = mean_distances(pictures, sounds)
    trailing_by_2 = [np.linalg.norm(pictures[t] - (sounds[t - 2] if t >= 2 else 0)) for t in range(40)]
    leading_by_3 = [np.linalg.norm(pictures[t] - (sounds[t + 3] if t + 3 < 40 else 0)) for t in range(40)]
    assert distance[15 - 2] == pytest.approx(np.mean(trailing_by_2), rel=1e-5)
    assert distance[15 + 3] == pytest.approx(np.mean(leading_by_3), rel=1e-5)


def test_mfcc_equals_that_of_python_speech_features():
    # The values are those of version 0.6, which SyncNet was trained with, on a chirp of 16 bit samples.
    time = np.arange(4000) / SAMPLE_RATE
    features = mfcc((0.5 * np.sin(2 * np.pi * (200 + 3000 * time) * time)).astype(np.float32))
    assert features.shape == (24, 13)
    expected = {
        0: [19.6212, 28.3275, 17.9229, 7.6151, -3.6459, -14.3501, -21.2572],
        11: [21.9789, 17.5144, -19.3626, -35.2856, -17.0471, 15.2610, 28.9536],
        23: [22.8423, -1.1791, -35.8744, -7.6900, 30.9306, 10.4114, -28.2925],
    }
    for step, values in expected.items():
        np.testing.assert_allclose(features[step, :7], values, atol=2e-3)


@pytest.mark.parametrize(("samples", "steps"), [(300, 1), (400, 1), (401, 2), (16000, 99)])
def test_mfcc_takes_silence_of_any_length(samples, steps):
    features = mfcc(np.zeros(samples, np.float32))
    assert features.shape == (steps, 13)
    assert np.isfinite(features).all()


def test_face_crops_show_the_face(recording):
    made = recording(30)
    faces = face_crops(made.frames, made.track)
    assert faces.shape == (30, 224, 224, 3)
    x0, y0, x1, y1 = made.track.box[0]
    side = 1.4 * max(x1 - x0, y1 - y0)
    eye = made.track.landmarks[0, 36, :2]
    x, y = (224 * (eye - [(x0 + x1) / 2 - side / 2, (y0 + y1) / 2 - side / 2.8]) / side).astype(int)
    here = made.frames[0][int(eye[1]) - 3 : int(eye[1]) + 4, int(eye[0]) - 3 : int(eye[0]) + 4].mean(axis=(0, 1))
    there = faces[0, y - 4 : y + 5, x - 4 : x + 5].mean(axis=(0, 1))
    np.testing.assert_allclose(there[::-1], here, atol=15)


def test_sync_metrics_are_not_computed_without_the_network(recording, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for metric in sync.METRICS:
        figure = metric.measure(Pair(recording(), recording()), MetricModels())
        assert figure.value is None
        assert "no syncnet network; give --syncnet FILE.onnx" in figure.why


def test_sync_offset_is_not_computed_for_short_mute_or_faceless_videos(video, syncnet):
    short = video(wander(34, 0), wander(34, 0))
    assert measured("sync_offset", short, syncnet).why == "grey.mp4 has 34 frames with sound; SyncNet takes 35"
    assert measured("sync_offset", replace(short, speech=None), syncnet).why == "grey.mp4 has no sound"
    assert measured("sync_offset", replace(short, track=None), syncnet).why == "no face found in grey.mp4"


def talk(recording: Callable[..., Recording], opening: np.ndarray, loudness: np.ndarray) -> Recording:
    expression = np.zeros((len(opening), 20), np.float32)
    expression[:, 0] = 3 * opening - 1
    return recording(len(opening), expression=expression, loudness=loudness)


@pytest.mark.parametrize("lag", [-6, 0, 3, 9])
def test_loudness_lag_finds_how_far_a_mouth_trails_its_sound(lag, recording):
    level = wander(160, 2)
    made = talk(recording, level[20 - lag : 140 - lag], level[20:140])
    assert measured("loudness_lag", made).value == lag
    assert measured("loudness_correlation", made).value > 0.8


def test_loudness_metrics_find_no_lag_for_another_sound(recording):
    made = talk(recording, wander(200, 3), wander(200, 4))
    fit = measured("loudness_correlation", made).value
    assert fit < 0.25
    assert (
        measured("loudness_lag", made).why == f"mouth and sound of made.mp4 go together at no lag ({fit:.2f} at best)"
    )


@pytest.mark.parametrize("name", ["loudness_lag", "loudness_correlation"])
def test_loudness_metrics_say_what_is_missing(name, recording):
    made = recording(60, name="a.mp4")
    silence = replace(made.speech, samples=np.zeros_like(made.speech.samples))
    reasons = {
        "no face found in a.mp4": replace(made, track=None),
        "a.mp4 has no sound": replace(made, speech=None),
        "a.mp4 has 49 frames with sound; its lag takes 50": made.cut(49),
        "the sound of a.mp4 does not change": replace(made, speech=silence),
        "the mouth of a.mp4 does not change": made.select(np.zeros(60, np.intp)),
    }
    for why, video in reasons.items():
        assert measured(name, video).why == why
