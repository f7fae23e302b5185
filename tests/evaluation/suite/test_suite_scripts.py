"""benchmarks/ablation.py trains networks for Table 3, benchmarks/sheet.py draws a sheet of images."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from thcli.checkpoints import read_header
from thcli.data.episodes import Episode, EpisodeMeta, pack_episode, write_episode, write_index
from thcli.data.store import Store
from thcli.evaluation.regions import mouth_squares
from thcli.evaluation.suite.case import load_case
from thcli.evaluation.suite.clips import choose_clips
from thcli.evaluation.suite.methods import Method
from thcli.evaluation.suite.options import ABLATIONS, SuiteOptions
from thcli.evaluation.suite.trained import LACKS, trained_ablations

SCRIPTS = Path(__file__).parents[3] / "benchmarks"
COLUMN, ROW = 256 + 8, 256 + 18 + 8
"""Pixels from one image of a sheet to the next, across and down."""


@pytest.fixture
def load():
    """load(script) imports benchmarks/SCRIPT.py as a module."""

    def script(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", SCRIPTS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return script


@pytest.fixture
def run(load, monkeypatch):
    """run(script, *arguments) does what `python benchmarks/SCRIPT.py ARGUMENTS` does."""

    def call(script: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        load(script).main()

    return call


@pytest.fixture
def episodes(tmp_path) -> Path:
    """Episodes of two people whose images are grey."""
    root = tmp_path / "episodes"
    root.mkdir()
    random = np.random.default_rng(0)
    for subject in ("ada", "bob"):
        images = np.full((4, 256, 256, 3), 120, np.uint8)
        landmarks = random.uniform(60, 200, (4, 68, 2)).astype(np.float32)
        episode = Episode(images[:2], landmarks[:2], images, images, images, landmarks, np.zeros(4, np.int64))
        write_episode(root, pack_episode(EpisodeMeta(f"{subject}.0.safetensors", subject, "train", 4, 2), episode, 80))
    write_index(root)
    return root


@pytest.mark.slow
def test_ablation_trains_six_networks_alike_and_once(run, episodes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("thcli.export.exporters.export_generator", lambda network, folder: None)  # It takes a minute.
    out = tmp_path / "six"
    call = ("ablation", episodes, "--out", out, "--config", "tiny", "--steps", 2, "--size", 64, "--device", "cpu")
    run(*call)
    headers = {name: read_header(out / f"{name}.safetensors") for name in LACKS}
    for name, header in headers.items():
        absent = {module for module, has in header.dims.items() if has is False}
        assert absent == {*LACKS[name], "floor"}
        assert (header.step, header.config["train"]["steps"], header.config["size"]) == (2, 2, 64)
    assert len(trained_ablations(out, ABLATIONS, "cpu")) == 6
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    (out / "no-warping.safetensors").unlink()
    capsys.readouterr()
    run(*call)
    assert capsys.readouterr().out.count("done before") == 5
    changed = {path.name for path in before if path.stat().st_mtime_ns != before[path]}
    assert changed == {"no-warping.safetensors"}


def test_sheet_shows_reference_real_geometric_and_thgen_images(run, store, theta_weights, tmp_path):
    given = (store, tmp_path / "sheet.png", "--weights", theta_weights, "--clips", "still", "--device", "cpu")
    run("sheet", *given, "--references", 2, "--seconds", 1)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[0] > 2 * ROW and sheet.shape[1] > 4 * COLUMN - 8
    top = np.flatnonzero((sheet[:, 16:272] != 255).all((1, 2)))[
        0
    ]  # This is the first row of pixels that an image fills.

    def tile(row: int, column: int) -> np.ndarray:
        y, x = top + row * ROW, 16 + column * COLUMN
        return sheet[y : y + 256, x : x + 256].astype(int)

    # Of a still clip, the reference, the real frame and the geometric image are the same.
    assert all(np.abs(tile(0, column) - tile(0, 0)).mean() < 4 for column in (1, 2))
    assert np.abs(tile(0, 3) - tile(0, 2)).mean() > 4
    assert all(np.ptp(tile(row, column)) > 30 for row in range(2) for column in range(4))


def test_images_of_shows_the_frame_with_the_worst_mouth_or_the_one_asked_for(load, store):
    options = SuiteOptions("landmarks", clips=("nodding",), seconds=1.0, device="cpu")
    case = load_case(Store(store), *choose_clips(Store(store), options).clips[0], options)
    made = case.real.frames.copy()
    made[3, :40] = 0  # This is far from any mouth.
    made[7][mouth_squares(case.track)[7]] = 255
    shown = Method("thgen", "", lambda case, references: made), Method("geometric", "", lambda *given: made // 2)
    for frame, t in (("worst", 7), ("3", 3)):
        pictures = load("sheet").images_of(case, shown[1], shown[0], 2, frame)
        assert len(pictures) == 8 and f"frame {64 + t}" in pictures[0][0]
        for (_, picture), expected in zip(pictures[1:4], (case.real.frames, made // 2, made), strict=True):
            np.testing.assert_array_equal(picture, expected[t])
        assert (pictures[7][1] == 255).all() == (t == 7)
