"""``--report``: made from the finished video, which it never changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from thcli import GenerateOptions, generate
from thcli.clips.encode import VideoWriter
from thcli.errors import UsageError
from thcli.evaluation.report import report as reporting
from thcli.generation.checks import plan
from thcli.generation.sidecar import SEAL
from thcli.motion.curves import read_curves, write_curves
from thcli.records import N_EXPRESSION, MotionCurves

SECONDS, FRAMES = 2.0, 50


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, portrait_png, speech_wav) -> Path:
    """photo.png; speech.wav, its first second.wav, and that far too loud; still.mp4, the photo for two seconds."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "photo.png").write_bytes(portrait_png.read_bytes())
    samples, rate = soundfile.read(speech_wav, frames=round(SECONDS * 16_000))
    soundfile.write(folder / "speech.wav", samples, rate)
    soundfile.write(folder / "second.wav", samples[:rate], rate)
    soundfile.write(folder / "clipped.wav", np.clip(12 * samples[:rate], -1, 1), rate)
    with VideoWriter(folder / "still.mp4", (256, 256), None, 50) as writer:
        for _ in range(50):
            writer.write(np.asarray(Image.open(portrait_png)))
    return folder


def report_of(inputs: Path, folder: Path, reference="photo.png", sound="speech.wav", **options):
    """The data of a new video's report, and those of its sidecar."""
    target = folder / "report.json"
    chosen = GenerateOptions(device="cpu", report=target, overwrite=True, **options)
    generate(inputs / reference, inputs / sound, folder / "out.mp4", chosen)
    return json.loads(target.read_text()), json.loads((folder / "out.mp4.json").read_text())


def keys(data) -> set[str]:
    """The keys of a report's warnings."""
    return {warning["key"] for warning in data["warnings"]}


@pytest.fixture(scope="module")
def plain(inputs, tmp_path_factory):
    """A report on the photo, with nothing unusual asked for; its sidecar; the folder with the video."""
    folder = tmp_path_factory.mktemp("plain")
    return *report_of(inputs, folder, save_curves=folder / "curves.csv"), folder


def test_report_does_not_change_the_video(inputs, plain, tmp_path):
    generate(inputs / "photo.png", inputs / "speech.wav", tmp_path / "out.mp4", GenerateOptions(device="cpu"))
    assert (tmp_path / "out.mp4").read_bytes() == (plain[2] / "out.mp4").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"out.mp4", "out.mp4.json"}
    assert {path.name for path in plain[2].iterdir()} == {"curves.csv", "out.mp4", "out.mp4.json", "report.json"}
    assert "report" not in json.loads((tmp_path / "out.mp4.json").read_text())


def test_sidecar_holds_the_figures_and_warnings_of_the_report(plain):
    data, sidecar, _ = plain
    assert sidecar["report"]["figures"] == {name: figure["value"] for name, figure in data["figures"].items()}
    assert set(sidecar["report"]["warnings"]) == keys(data)
    made = {key: value for key, value in sidecar.items() if key not in ("report", SEAL)}
    assert data["made"] == made


def test_report_finds_the_mouth_that_was_asked_for(plain):
    data, _, _ = plain
    assert data["figures"]["face_found"]["value"] == 1
    assert data["figures"]["opening_followed"]["value"] > 0.8
    assert data["figures"]["outside_range"]["value"] == 0
    assert keys(data) == {"note", "reference_photo"}
    assert len(data["curves"]["mouth"]) == data["made"]["frames"] == FRAMES


def test_report_warns_of_motion_three_times_as_strong_as_fits(inputs, plain, tmp_path):
    curves = tmp_path / "curves.csv"
    turning = read_curves(plain[2] / "curves.csv").pose[:1].repeat(25, 0)
    turning[:, 1] += np.radians(6) * np.sin(np.arange(25) / 5)
    write_curves(curves, MotionCurves(turning, np.zeros((25, N_EXPRESSION), np.float32), np.zeros(25, np.float32)))
    given = {"sound": "second.wav", "motion": str(curves)}
    data, _ = report_of(inputs, tmp_path, **given)
    assert "pose_out_of_range" not in keys(data)
    data, _ = report_of(inputs, tmp_path, **given, motion_scale=3.0)
    assert "pose_out_of_range" in keys(data)
    assert data["figures"]["outside_range"]["verdict"] == "note"


def test_report_warns_of_a_still_clip_few_references_and_clipped_sound(inputs, tmp_path):
    data, _ = report_of(inputs, tmp_path, reference="still.mp4", sound="clipped.wav", references=2)
    assert {"reference_still", "clipped", "few_references"} <= keys(data)
    assert "reference_photo" not in keys(data)
    assert data["reference"]["seconds"] == 2


def test_report_measures_a_whole_frame_where_the_face_is(inputs, plain, tmp_path):
    wide = np.full((256, 400, 3), 90, np.uint8)
    wide[:, 40:296] = np.asarray(Image.open(inputs / "photo.png"))
    Image.fromarray(wide).save(tmp_path / "wide.png")
    data, _ = report_of(inputs, tmp_path, reference=tmp_path / "wide.png", sound="second.wav", frame="full")
    assert data["made"]["size"] == [400, 256]
    assert data["figures"]["face_found"]["value"] == 1 and data["figures"]["opening_followed"]["value"] > 0.8
    assert data["reference"]["face_height"] == pytest.approx(plain[0]["reference"]["face_height"], abs=3)
    # The crop of the output lies where the reference's did.
    assert data["curves"]["nod"][0] == pytest.approx(data["reference"]["range_degrees"]["nod"][0], abs=5)


def test_report_measures_a_larger_picture_alike(inputs, plain, tmp_path):
    data, _ = report_of(inputs, tmp_path, sound="second.wav", size="512")
    assert data["made"]["size"] == [512, 512]
    for figure in ("face_found", "opening_followed"):
        assert data["figures"][figure]["value"] == pytest.approx(plain[0]["figures"][figure]["value"], abs=0.1)
    assert data["curves"]["nod"][0] == pytest.approx(plain[0]["curves"]["nod"][0], abs=1)


def test_report_that_fails_leaves_the_video_and_no_part_of_itself(inputs, tmp_path, monkeypatch):
    def broken(job, measured):
        raise KeyboardInterrupt

    monkeypatch.setattr(reporting, "qualities", broken)
    options = GenerateOptions(device="cpu", report=tmp_path / "report.html")
    with pytest.raises(KeyboardInterrupt):
        generate(inputs / "photo.png", inputs / "second.wav", tmp_path / "out.mp4", options)
    assert {path.name for path in tmp_path.iterdir()} == {"out.mp4", "out.mp4.json"}
    assert json.loads((tmp_path / "out.mp4.json").read_text())["frames"] == 25


@pytest.mark.parametrize(
    ("output", "report", "words"),
    [
        ("o.mp4", "r.pdf", "expected a name that ends in .html (a page) or .json"),
        ("o.mp4", "o.mp4.json", "cannot hold both the video's sidecar and its report"),
        ("-", "r.html", "-o - keeps none; give -o a file"),
    ],
)
def test_generate_and_plan_refuse_reports_that_cannot_be_written(inputs, tmp_path, output, report, words):
    target = "-" if output == "-" else tmp_path / output
    options = GenerateOptions(report=tmp_path / report)
    for call in (generate, plan):
        with pytest.raises(UsageError) as caught:
            call(inputs / "photo.png", inputs / "speech.wav", target, options)
        assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
