"""``--dry-run``: estimates that follow the work, and what the plan says of memory and space that are short."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from thcli.errors import MediaError
from thcli.generation import checks, estimate
from thcli.generation.checks import Plan, plan
from thcli.generation.estimate import Estimate, Work, benchmark, cpu_seconds, disk, memory
from thcli.pipeline.options import GenerateOptions
from thcli.records import SAMPLE_RATE

WORK = Work(frames=250, reference=75, size=(256, 256), side=256, written=256 * 256)
HD = Work(frames=250, reference=75, size=(1920, 1080), side=1080, written=1920 * 1080)
LONG = dataclasses.replace(WORK, frames=15_000)


def warp(work: Work) -> Work:
    """The same work without Θ."""
    return dataclasses.replace(work, renderer="warp")


@pytest.fixture
def files(portrait_png: Path, speech_wav: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """A reference, a recording of 9.3 s, and the video to make."""
    return portrait_png, speech_wav, tmp_path / "out.mp4"


def space(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Let the disk have that many bytes free."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


def lines_of(planned: Plan) -> dict[str, str]:
    """The lines of a plan by their first word."""
    return dict(line.split(maxsplit=1) for line in str(planned).splitlines())


def test_cpu_seconds_follow_frames_renderer_size_report_and_adapt() -> None:
    each = (cpu_seconds(WORK) - cpu_seconds(dataclasses.replace(WORK, frames=0))) / 250
    assert cpu_seconds(LONG) == pytest.approx(cpu_seconds(WORK) + 14_750 * each)
    assert cpu_seconds(warp(WORK)) < cpu_seconds(WORK) < cpu_seconds(HD)
    report, adapted = dataclasses.replace(WORK, report=True), dataclasses.replace(WORK, adapt=60)
    assert cpu_seconds(WORK) < cpu_seconds(report) < cpu_seconds(adapted)
    assert cpu_seconds(dataclasses.replace(WORK, learned=10.0)) > cpu_seconds(WORK) + 1


def test_cpu_seconds_are_within_half_of_what_was_measured_on_two_cores() -> None:
    """Nine seconds of speech took 12 s with Θ, and five minutes took 97 s with the warp alone."""
    share = 1 - estimate.PARALLEL / 2
    spoken, long = (dataclasses.replace(WORK, frames=frames) for frames in (232, 7500))
    assert 8 < share * cpu_seconds(spoken) < 18
    assert 65 < share * cpu_seconds(warp(long)) < 145


def test_memory_grows_with_the_samples_alone_and_disk_with_the_video() -> None:
    assert memory(LONG) == memory(WORK) + 590 * 4 * SAMPLE_RATE
    assert memory(warp(WORK)) < memory(WORK) < memory(HD) < 4e9
    assert memory(WORK) < memory(dataclasses.replace(WORK, adapt=1))
    assert disk(LONG) == pytest.approx(60 * disk(WORK), rel=1e-3) and disk(HD) > disk(WORK)


def test_memory_grows_with_references_and_with_frames_rendered_at_a_time() -> None:
    half = dataclasses.replace(WORK, side=512)
    assert memory(half) < memory(dataclasses.replace(half, references=32))
    assert memory(dataclasses.replace(half, batch_size=1)) < memory(half)


def test_estimate_takes_longer_on_a_slower_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = []
    for slower in (1, 3):
        monkeypatch.setattr(estimate, "benchmark", lambda _, slower=slower: slower * estimate.BENCHMARK)
        found = estimate.estimate(WORK, "cpu").seconds
        assert found is not None
        seconds.append(found)
    assert seconds[1] == pytest.approx(3 * seconds[0])


def test_estimate_gives_no_time_for_a_device_that_was_never_measured() -> None:
    assert estimate.estimate(WORK, "cuda").seconds is None


def test_benchmark_is_quick_and_gives_the_threads_back() -> None:
    import torch

    threads, began = torch.get_num_threads(), time.process_time()
    assert 1e-4 < benchmark(time.process_time) < 1
    assert torch.get_num_threads() == threads and time.process_time() - began < 2


def test_plan_shows_time_memory_and_disk_beside_what_is_free(
    files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    space(monkeypatch, 12_000_000_000)
    monkeypatch.setattr(checks, "estimate", lambda work, _: Estimate(work.frames / 10, 1_300_000_000, 2_500_000))
    monkeypatch.setattr(checks, "free_memory", lambda: 1_000_000_000)
    lines = lines_of(plan(*files))
    assert lines["time"] == "about 25 s on this machine"  # 9.3 s of speech
    assert lines["memory"].startswith("about 1.3 GB, 1.0 GB free; close other programs, or use --renderer warp")
    assert lines["disk"] == "about 2.5 MB, 12.0 GB free"


def test_plan_estimates_the_work_of_the_options_that_are_given(
    files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    works: list[Work] = []
    monkeypatch.setattr(checks, "estimate", lambda work, _: works.append(work) or Estimate(1, 1, 1))
    report = files[2].with_name("report.html")
    plan(*files, GenerateOptions(renderer="warp", references=3, batch_size=2, size="512", report=report))
    assert works == [Work(234, 1, (256, 256), 512, 512 * 512, "warp", 3, 2, adapt=0, report=True)]


def test_plan_says_what_cannot_be_known(files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    space(monkeypatch, 12_000_000_000)
    monkeypatch.setattr(checks, "free_memory", lambda: None)
    monkeypatch.setattr(checks, "estimate", lambda *_: Estimate(None, 900_000_000, 25_000_000))
    lines = lines_of(plan(*files))
    assert lines["time"] == "not estimated: this device was never measured"
    assert (lines["memory"], lines["disk"]) == ("about 900 MB", "about 25 MB, 12.0 GB free")


@pytest.mark.parametrize(
    ("seconds", "said"), [(2, "5 s"), (87, "85 s"), (100, "2 min"), (3000, "50 min"), (9000, "2.5 h")]
)
def test_plan_shows_durations_as_exactly_as_they_are_estimated(seconds: float, said: str) -> None:
    planned = Plan("p.png", "s.wav", "o.mp4", 50, "cpu", {}, ("tracker builtin",), Estimate(seconds, 1, 1), None, None)
    assert lines_of(planned)["time"] == f"about {said} on this machine"


def test_plan_refuses_a_disk_that_is_too_full(files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    space(monkeypatch, 10_000)
    with pytest.raises(MediaError, match=r"out\.mp4: about 0\.\d MB are to be written and 0\.0 MB are free; free some"):
        plan(*files)


def test_plan_knows_no_length_of_sound_that_comes_by_a_pipe(files: tuple[Path, Path, Path]) -> None:
    planned = plan(files[0], "-", "-")
    assert (planned.frames, planned.estimate, planned.free_disk) == (None, None, None)
    assert "time       unknown until the audio is read" in str(planned)


def test_plan_refuses_a_folder_that_cannot_be_written_to(
    files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(MediaError) as caught:
        plan(*files)
    folder = files[2].parent
    reason = f"the folder {folder} cannot be written to (Read-only file system)"
    assert str(caught.value) == f"{files[2]}: {reason}; choose another one"
