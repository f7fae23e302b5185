"""``--dry-run``: estimates that follow the work, and what they say of memory and space that are short."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from thcli.errors import MediaError
from thcli.generate import checks as planning
from thcli.generate import estimate
from thcli.generate.estimate import Estimate, Work, benchmark, cpu_seconds, disk, memory
from thcli.pipeline import GenerateOptions, plan

WORK = Work(frames=250, reference=75, size=(256, 256), side=256, written=256 * 256)
HD = Work(frames=250, reference=75, size=(1920, 1080), side=1080, written=1920 * 1080)
LONG = Work(frames=15_000, reference=75, size=(256, 256), side=256, written=256 * 256)
DEFAULT, WARP = GenerateOptions(), GenerateOptions(renderer="warp")


@pytest.fixture
def files(portrait_png: Path, speech_wav: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    return portrait_png, speech_wav, tmp_path / "out.mp4"


def test_time_follows_the_work() -> None:
    assert cpu_seconds(LONG, DEFAULT) == pytest.approx(
        cpu_seconds(WORK, DEFAULT) + 14_750 * (cpu_seconds(WORK, DEFAULT) - cpu_seconds(zero(WORK), DEFAULT)) / 250
    )
    assert cpu_seconds(WORK, WARP) < cpu_seconds(WORK, DEFAULT) < cpu_seconds(HD, DEFAULT)
    report, adapted = GenerateOptions(report=Path("r.html")), GenerateOptions(adapt=60)
    assert cpu_seconds(WORK, DEFAULT) < cpu_seconds(WORK, report) < cpu_seconds(WORK, adapted)


def zero(work: Work) -> Work:
    return Work(0, work.reference, work.size, work.side, work.written)


def test_what_was_measured_on_two_cores() -> None:
    """9 s of speech took 21 s with Θ, 5 minutes 116 s with the warp alone; by half an estimate may be off."""
    share = 1 - estimate.PARALLEL / 2
    spoken = Work(frames=232, reference=75, size=(256, 256), side=256, written=256 * 256)
    long = Work(frames=7500, reference=75, size=(256, 256), side=256, written=256 * 256)
    assert 14 < share * cpu_seconds(spoken, DEFAULT) < 32
    assert 77 < share * cpu_seconds(long, WARP) < 174


def test_memory_does_not_grow_with_the_length_and_disk_does() -> None:
    assert memory(LONG, DEFAULT) == memory(WORK, DEFAULT)
    assert memory(WORK, WARP) < memory(WORK, DEFAULT) < memory(HD, DEFAULT) < 4e9
    assert memory(WORK, DEFAULT) < memory(WORK, GenerateOptions(adapt=1))
    assert disk(LONG) == pytest.approx(60 * disk(WORK), rel=1e-3) and disk(HD) > disk(WORK)


def test_a_slower_machine_takes_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = []
    for slower in (1, 3):
        monkeypatch.setattr(estimate, "benchmark", lambda _, slower=slower: slower * estimate.BENCHMARK)
        found = estimate.estimate(WORK, DEFAULT, "cpu").seconds
        assert found is not None
        seconds.append(found)
    assert seconds[1] == pytest.approx(3 * seconds[0])
    assert estimate.estimate(WORK, DEFAULT, "cuda").seconds is None


def test_the_benchmark_is_quick_and_gives_the_threads_back() -> None:
    import torch

    threads, began = torch.get_num_threads(), time.process_time()
    assert 1e-4 < benchmark(time.process_time) < 1
    assert torch.get_num_threads() == threads and time.process_time() - began < 2


def test_a_plan_says_what_it_takes(files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "estimate", lambda work, *_: Estimate(work.frames / 10, 1_300_000_000, 2_500_000))
    monkeypatch.setattr(planning, "free_memory", lambda: 1_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 12_000_000_000))
    lines = dict(line.split(maxsplit=1) for line in str(plan(*files)).splitlines())
    assert lines["time"] == "about 25 s on this machine"  # 9.3 s of speech
    assert lines["memory"].startswith("about 1.3 GB, 1.0 GB free; close other programs, or use --renderer warp")
    assert lines["disk"] == "about 2.5 MB, 12.0 GB free"
    monkeypatch.setattr(planning, "free_memory", lambda: None)
    monkeypatch.setattr(estimate, "estimate", lambda *_: Estimate(None, 900_000_000, 25_000_000))
    lines = dict(line.split(maxsplit=1) for line in str(plan(*files)).splitlines())
    assert lines["time"] == "not estimated: this device was never measured"
    assert (lines["memory"], lines["disk"]) == ("about 900 MB", "about 25 MB, 12.0 GB free")


@pytest.mark.parametrize(
    ("seconds", "said"), [(2, "5 s"), (87, "85 s"), (100, "2 min"), (3000, "50 min"), (9000, "2.5 h")]
)
def test_durations_are_as_exact_as_estimates(seconds: float, said: str) -> None:
    assert planning._duration(seconds) == said


def test_a_full_disk_is_told_before_the_work(files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 10_000))
    with pytest.raises(MediaError, match=r"out\.mp4: about 0\.\d MB are to be written and 0\.0 MB are free; free some"):
        plan(*files)


def test_what_comes_by_a_pipe_has_no_length(files: tuple[Path, Path, Path]) -> None:
    planned = plan(files[0], "-", "-")
    assert (planned.frames, planned.takes, planned.free_disk) == (None, None, None)
    assert "time       not known before the sound is" in str(planned)


def test_a_folder_that_cannot_be_written_to(files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(planning.tempfile, "TemporaryFile", refused)
    with pytest.raises(MediaError) as caught:
        plan(*files)
    folder = files[2].parent
    reason = f"the folder {folder} cannot be written to (Read-only file system)"
    assert str(caught.value) == f"{files[2]}: {reason}; choose another one"
