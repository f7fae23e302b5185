"""The first pass over a video: its shots, its time stamps and one face, in memory that does not grow with it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from thcli.checkpoints import shipped_weights
from thcli.clips.probe import probe
from thcli.face_model import FaceModel
from thcli.faces.protocol import Detection
from thcli.pipeline import footage as module
from thcli.pipeline.footage import PART, read_footage, survey_video

MODEL = FaceModel.load(shipped_weights() / "face_model.safetensors")


class Fixed:
    """Finds the same face in the middle of whatever is bright, and none in the dark."""

    name = "fixed 1"

    def detect(self, frame: np.ndarray) -> list[Detection]:
        if frame.mean() < 40:
            return []
        height, width = frame.shape[:2]
        return [Detection(np.float32([0.3 * width, 0.2 * height, 0.7 * width, 0.8 * height]), 0.9)]

    def mesh(self, frame: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, float]:
        box = prior if prior.ndim == 1 else np.concatenate([prior[:, :2].min(0), prior[:, :2].max(0)])
        low, high = MODEL.canonical[:, :2].min(axis=0), MODEL.canonical[:, :2].max(axis=0)
        mesh = MODEL.canonical * np.float32((box[2] - box[0]) / (high - low)[0])
        mesh[:, :2] = box[:2] + (MODEL.canonical[:, :2] - low) / (high - low) * (box[2:] - box[:2])
        return mesh, 0.0 if frame.mean() < 40 else 0.9


@pytest.fixture
def survey(folder: Path) -> Callable[[Path], module.Footage]:
    def look(path: Path) -> module.Footage:
        survey_video(Fixed(), MODEL, probe(path), "largest", folder / "kept.npz")
        return read_footage(folder / "kept.npz")

    return look


def test_a_cut_begins_a_new_shot_and_another_person_is_not_followed(media, survey):
    parts = [f"{kind}=size=160x120:rate=25:duration=1.2" for kind in ("testsrc", "mandelbrot")]
    path = media(
        "a.mp4", "-f", "lavfi", "-i", parts[0], "-f", "lavfi", "-i", parts[1].replace(":duration=1.2", ""),
        "-filter_complex", "[1:v]trim=end=1.2,hue=b=2[b];[0:v][b]concat", "-t", 2.4, "-pix_fmt", "yuv420p",
    )  # fmt: skip
    seen = survey(path)
    assert len(seen) == 60 and seen.shot[0] == 0 and seen.shot[-1] == 1
    assert seen.shot.tolist() == [0] * 30 + [1] * 30
    assert np.isfinite(seen.confidence[:30]).all() and seen.end == pytest.approx(2.4, abs=0.001)
    assert np.isnan(seen.confidence[31:]).all()  # a face that looks quite different is another person's


def test_a_cut_at_the_end_of_what_is_settled_at_a_time_is_a_cut(media, survey, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 30)
    first = module.BLOCK + module.CONTEXT
    path = media(
        "a.mp4", "-f", "lavfi", "-i", "testsrc=size=160x120", "-f", "lavfi", "-i", "mandelbrot=size=160x120:rate=25",
        "-filter_complex", f"[0:v]trim=end_frame={first}[a];[a][1:v]concat", "-frames:v", 2 * first,
        "-pix_fmt", "yuv420p",
    )  # fmt: skip
    assert survey(path).shot.tolist() == [0] * first + [1] * first


def test_a_single_frame_of_unknown_length_lasts_as_long_as_one_at_25_fps():
    assert module._usual([7], Fraction(1, 90_000)) == 3600 and module._usual([7], Fraction(1)) == 1


def test_meshes_come_back_by_number_and_are_nan_in_the_dark(media, survey):
    path = media(
        "a.mp4", "-f", "lavfi", "-i", "color=white:size=160x120:rate=25:duration=14",
        "-vf", "drawbox=c=black:t=fill:enable='between(n,100,150)'", "-pix_fmt", "yuv420p",
    )  # fmt: skip
    seen = survey(path)
    assert np.flatnonzero(np.isnan(seen.confidence)).tolist()[:2] == [100, 101]
    assert np.isnan(seen.meshes(120, 121)).all()
    whole = seen.meshes(0, len(seen))
    assert whole.shape[0] == 350 > PART
    assert np.array_equal(seen.meshes(250, 262), whole[250:262], equal_nan=True)
    assert np.isfinite(whole[:95]).all()


def test_memory_does_not_grow_with_the_video(media, survey, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 100)
    most = []
    for seconds in (30, 130, 230):  # the first loads what the others need
        path = media(
            f"{seconds}.mp4", "-f", "lavfi", "-i", f"color=white:size=32x32:rate=5:duration={seconds}",
            "-pix_fmt", "yuv420p",
        )  # fmt: skip
        tracemalloc.start()
        assert len(survey(path)) == 5 * seconds
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # a mesh takes 6 KB: those of the longest video take 3 MB more
    assert most[2] < most[1] + (2 << 20), most
