"""``is_done``: a job is done where everything that the video shows is as it was, and the video is whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from thcli.batch import resume
from thcli.batch.jobs import Job
from thcli.batch.resume import is_done
from thcli.generation.result import Result
from thcli.generation.session import job_hashes
from thcli.generation.sidecar import rewrite_sidecar, sidecar_path, sources_of, write_sidecar
from thcli.pipeline.models import load_models
from thcli.pipeline.options import GenerateOptions


def finished(job: Job) -> Job:
    """The job, with the sidecar of a video that the CPU has made of it."""
    models = load_models(job.options.weights, "cpu", job.options.precision, job.options.tracker)
    sources = sources_of(job.reference, job.audio, job.options.motion_options, job_hashes(models, job.options))
    result = Result(job.output, 5, (256, 256), {"draw": 1.0}, "cpu")
    write_sidecar(sources, job.output, job.options, result, None)
    return job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job that was done on the CPU without Θ; its files hold no media, and nothing looks into them."""
    for name in ("clip.mp4", "speech.wav", "other.mp4", "out.mp4", "curves.csv"):
        (tmp_path / name).write_bytes(name.encode())
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "expression.safetensors").write_bytes(b"mine")
    options = GenerateOptions(
        renderer="warp",
        motion=str(tmp_path / "other.mp4"),
        save_curves=tmp_path / "curves.csv",
        weights=weights,
        sign=Path("cert.pem"),
        key=Path("key.pem"),
    )
    return finished(Job("a", tmp_path / "clip.mp4", tmp_path / "speech.wav", tmp_path / "out.mp4", options))


def with_options(**changed: object) -> Callable[[Job], Job]:
    return lambda job: replace(job, options=replace(job.options, **changed))


def moved(job: Job) -> Job:
    """The same files under other names."""
    fresh = job.reference.rename(job.reference.with_name("renamed.mp4"))
    motion = Path(job.options.motion).rename(job.reference.with_name("also.mp4"))
    return replace(job, reference=fresh, options=replace(job.options, motion=str(motion)))


@pytest.mark.parametrize(
    "change",
    [lambda job: job, moved, with_options(device="cuda:7", overwrite=True), with_options(key=Path("moved.pem"))],
    ids=["nothing", "names", "device", "key"],
)
def test_is_done_whatever_does_not_change_the_video(job: Job, change: Callable[[Job], Job]) -> None:
    assert is_done(change(job))


def changed(name: str, content: bytes = b"changed") -> Callable[[Job], Job]:
    def change(job: Job) -> Job:
        (job.output.parent / name).write_bytes(content)
        return job

    return change


def gone(name: str) -> Callable[[Job], Job]:
    def change(job: Job) -> Job:
        (job.output.parent / name).unlink()
        return job

    return change


def edited(job: Job) -> Job:
    path = sidecar_path(job.output)
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    return with_options(seed=1)(job)


def of_another_version(job: Job) -> Job:
    record = json.loads(sidecar_path(job.output).read_text())
    rewrite_sidecar(job.output, {**record, "thgen": "0.0.9"})
    return job


@pytest.mark.parametrize(
    "change",
    [
        *(changed(name) for name in ("clip.mp4", "speech.wav", "other.mp4", "weights/expression.safetensors")),
        *(changed(name) for name in ("out.mp4", "out.mp4.json")),
        *(gone(name) for name in ("clip.mp4", "out.mp4", "out.mp4.json", "curves.csv")),
        *(with_options(**{name: value}) for name, value in (("seed", 1), ("motion", "still"), ("size", "512"))),
        with_options(report=Path("report.html")),
        edited,
        of_another_version,
    ],
)
def test_is_done_is_false_once_anything_that_shapes_the_video_changed(job: Job, change: Callable[[Job], Job]) -> None:
    assert is_done(job)
    assert not is_done(change(job))


def test_is_done_compares_every_option_that_shapes_the_video(job: Job) -> None:
    record = json.loads(sidecar_path(job.output).read_text())
    for name in set(record["options"]) - set(resume.ELSEWHERE) - {"motion"}:
        options = {**record["options"], name: "another"}
        rewrite_sidecar(job.output, {**record, "options": options})
        assert not is_done(job), name
