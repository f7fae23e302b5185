"""Reports of finished videos: what is measured, and what page and data say of it."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thcli.clips.audio import measure_levels, read_speech
from thcli.clips.encode import VideoWriter
from thcli.errors import UsageError
from thcli.evaluation.recording import Recording
from thcli.evaluation.report import check_suffix
from thcli.evaluation.report.data import FORMAT, Report
from thcli.evaluation.report.job import FinishedVideo
from thcli.evaluation.report.page import LARGEST_VIDEO, render
from thcli.evaluation.report.plots import Line, Panel, draw
from thcli.evaluation.report.quality import KINDS
from thcli.evaluation.report.report import make_report, write_report
from thcli.face_model import mouth_opening
from thcli.faces.track import track_clip
from thcli.inspection.measure import measure_clip, measure_speech
from thcli.pipeline.models import load_models
from thcli.records import WHOLE_CROP, Clip, CropBox

FRAMES = 50
HOSTILE = "<img src=x onerror=alert(1)>&\"'.mp4"


@pytest.fixture(scope="module")
def job(tmp_path_factory, portrait_png, speech_wav) -> FinishedVideo:
    """Two seconds of a portrait that grows a little darker, as a finished job."""
    folder = tmp_path_factory.mktemp("job")
    portrait = np.asarray(Image.open(portrait_png))
    video = folder / "made.mp4"
    with VideoWriter(video, (256, 256), speech_wav, FRAMES) as writer:
        for t in range(FRAMES):
            writer.write((portrait * (1 - t / 500)).astype(np.uint8))
    models = load_models()
    reference = portrait[None].repeat(3, 0)
    track = track_clip(Clip(reference, Path("portrait.png")), models.tracker, models.face_model)
    speech = read_speech(speech_wav, seconds=FRAMES / 25)
    record = {"inputs": {"ref": {"path": "/a/portrait.png"}, "audio": {"path": "speech.wav"}}, "size": [256, 256]}
    return FinishedVideo(
        video=video,
        box=CropBox(0, 0, 256),
        model=models.face_model,
        track=track,
        clip_stats=measure_clip(track, WHOLE_CROP, (256, 256)),
        references=Recording("reference", reference, track, None),
        speech=speech,
        sound=measure_speech(speech, 0.0),
        asked=mouth_opening(track.mesh[:1]).repeat(FRAMES).astype(np.float32),
        record={**record, "options": {"seed": 3, "frame": "crop"}, "weights": {"face_model": "abc123"}},
    )


@pytest.fixture(scope="module")
def report(job) -> Report:
    return make_report(job)


class Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


def test_make_report_measures_the_finished_video(report):
    measured = report.measured
    assert measured.found.all() and measured.pose.shape == (FRAMES, 6)
    assert np.isfinite(measured.pose).all() and np.isfinite(measured.mouth).all() and np.isfinite(measured.eyes).all()
    assert np.degrees(np.abs(measured.pose[:, :3] - report.job.track.pose[0, :3])).max() < 4
    times = [time for time, _ in measured.pictures]
    assert len(times) == 12 and times[0] == 0 and times[-1] == pytest.approx((FRAMES - 1) / 25)
    # The pictures show those moments, because the video grows darker.
    assert (np.diff([picture.mean() for _, picture in measured.pictures]) < 0).all()


def test_report_data_are_finite_and_complete(report):
    data = json.loads(json.dumps(report.data(), allow_nan=False))
    assert (data["format"], data["synthetic"], data["video"], data["fps"]) == (FORMAT, True, "made.mp4", 25)
    assert list(data["figures"]) == [kind.name for kind in KINDS]
    for figure in data["figures"].values():
        assert figure["verdict"] in ("ok", "note", "none")
        assert (figure["value"] is None) == (figure["verdict"] == "none") == bool(figure["why"])
        assert figure["value"] is None or math.isfinite(figure["value"])
    assert data["figures"]["face_found"]["value"] == 1
    assert {len(curve) for curve in data["curves"].values()} == {FRAMES}
    assert data["made"]["options"]["seed"] == 3


def test_report_repeats_the_notes_of_the_video(job):
    noted = replace(job, record={**job.record, "notes": ["the clip is cut at 1.00 s"]})
    made = make_report(noted)
    assert made.data()["warnings"][0] == {"key": "note", "text": "the clip is cut at 1.00 s"}
    assert "<li>The clip is cut at 1.00 s.</li>" in render(made)


def test_write_report_writes_the_same_figures_into_page_and_data(report, tmp_path):
    write_report(tmp_path / "r.html", report)
    write_report(tmp_path / "r.json", report)
    assert {path.name for path in tmp_path.iterdir()} == {"r.html", "r.json"}
    page, data = (tmp_path / "r.html").read_text(), json.loads((tmp_path / "r.json").read_text())
    rows = [unescape(re.sub("<[^>]+>", "|", row)) for row in re.findall(r"<tr class.*?</tr>", page)]
    assert len(rows) == len(data["figures"])
    for row, figure in zip(rows, data["figures"].values(), strict=True):
        assert figure["title"] in row and figure["meaning"] in row and figure["normal"]["source"] in row
        if figure["value"] is None:
            assert figure["why"] in row
            continue
        factor = 100 if figure["unit"] == "share" else 1
        shown = float(re.search(r"\|([−\d.]+)", row.split(figure["title"])[1])[1].replace("−", "-"))
        assert shown == pytest.approx(factor * figure["value"], abs=0.51)
    embedded = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])
    assert embedded["curves"] == data["curves"]
    for warning in data["warnings"]:
        assert warning["text"][1:] in unescape(page)


def test_render_makes_a_page_that_needs_nothing_else(report):
    page = render(report)
    tags = Page(page).tags
    policy = next(found["content"] for tag, found in tags if found.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    for tag, found in tags:
        for name in ("src", "href", "action", "poster", "srcset"):
            assert (found.get(name) or "data:").startswith(("data:", "#")), (tag, name)
        assert not any(name.startswith("on") for name in found)
    assert "@import" not in page and "url(" not in page
    video = next(found["src"] for tag, found in tags if tag == "video")
    assert base64.b64decode(video.split(",")[1]) == report.job.video.read_bytes()
    assert "synthetic" in page.lower()


@pytest.mark.browser
@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_page_script_runs_under_the_page_s_own_policy(report, tmp_path):
    (tmp_path / "r.html").write_text(render(report))
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--enable-logging=stderr"]
    command = ["chromium", *flags, f"--user-data-dir={tmp_path}/profile", "--dump-dom", (tmp_path / "r.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    # The script writes the values at the cursor.
    first = {key: curve[0] for key, curve in report.curves().items()}
    written = dict(re.findall(r'<output data-curve="(\w+)"[^>]*>([−\d.]+)</output>', done.stdout))
    assert set(written) == set(first)
    assert all(float(text.replace("−", "-")) == pytest.approx(first[key], abs=0.06) for key, text in written.items())


def test_render_keeps_hostile_names_as_text(report):
    harmless = Page(render(report)).tags
    named = report.job.video.with_name(HOSTILE)
    named.write_bytes(report.job.video.read_bytes())
    inputs = {"ref": {"path": f"dir/{HOSTILE}"}, "audio": {"path": "</script><script>alert(2)</script>"}}
    record = {**report.job.record, "inputs": inputs, "options": {"seed": 3, "frame": "$title ${sheet} <b>"}}
    page = Page(render(replace(report, job=replace(report.job, video=named, record=record))))
    assert [tag for tag, _ in page.tags if tag not in ("dt", "dd", "dl")] == [
        tag for tag, _ in harmless if tag not in ("dt", "dd", "dl")
    ]
    assert HOSTILE in "".join(page.text) and "$title ${sheet} <b>" in "".join(page.text)


def test_render_names_a_very_large_video_and_does_not_embed_it(report, tmp_path):
    large = tmp_path / "large.mp4"
    with open(large, "wb") as file:
        file.truncate(LARGEST_VIDEO + 1)
    page = render(replace(report, job=replace(report.job, video=large)))
    assert "<video" not in page and "too large for this page: large.mp4" in page


def test_make_report_says_that_no_face_was_found(job, tmp_path):
    video, few = tmp_path / "noise.mp4", 15
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    with VideoWriter(video, (256, 256), None, few) as writer:
        for _ in range(few):
            writer.write(noise)
    report = make_report(replace(job, video=video, asked=job.asked[:few]))
    data = json.loads(json.dumps(report.data(), allow_nan=False))
    assert (data["figures"]["face_found"]["value"], data["figures"]["face_found"]["verdict"]) == (0, "note")
    assert data["figures"]["jitter"]["why"] == "no face found"
    assert set(data["curves"]["mouth"]) == {None}
    assert "not computed" in render(report)


def test_check_suffix_refuses_other_names_than_html_and_json():
    for good in ("r.html", "r.JSON"):
        check_suffix(Path(good))
    for bad in ("r.pdf", "r", "html"):
        with pytest.raises(UsageError, match=r"expected a name that ends in \.html .* or \.json"):
            check_suffix(Path(bad))


def test_measure_levels_counts_clipping_in_the_file_itself(tmp_path):
    import soundfile

    time = np.arange(44_100) / 44_100
    wave = 0.9 * np.sin(2 * np.pi * 210 * time)
    stereo = np.stack([wave, np.clip(3 * wave, -1, 1)], axis=1)
    soundfile.write(tmp_path / "clean.wav", wave, 44_100)
    soundfile.write(tmp_path / "one.wav", stereo, 44_100)
    assert measure_levels(tmp_path / "clean.wav").clipped == 0
    beyond = 1 - 2 / np.pi * math.asin(1 / 2.7)
    assert measure_levels(tmp_path / "one.wav").clipped == pytest.approx(beyond / 2, abs=0.01)


def test_draw_breaks_curves_without_a_value_and_keeps_peaks_when_thinning():
    panel = Panel("Eyes", "share", [Line("e", "eyes", "a")], 2, 0.1)
    svg = draw(panel, {"e": [0.1, 0.2, None, 0.3, 0.2]}, last=True)
    path = re.search(r'class="curve a" d="([^"]*)"', svg)[1]
    assert path.count("M") == 2 and "nan" not in svg
    long = [0.5] * 20_000
    long[7777] = 0.0
    thinned = re.search(r'class="curve a" d="([^"]*)"', draw(panel, {"e": long}, last=False))[1]
    heights = {float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", thinned)}
    assert len(heights) == 2 and len(thinned) < 60_000
