"""``thgen batch`` killed at the worst moments: no video is left half-written, and ``--resume`` makes the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from thcli.commands.main import main

MIDDLE = """
import thcli.generation.session as module
class Writer(module.VideoWriter):
    def __init__(self, target, *rest, **named):
        super().__init__(target, *rest, **named)
        self.fatal = 5 if target.stem == "two" else None
    def write(self, frame):
        if self.fatal == 0: die()
        if self.fatal is not None: self.fatal -= 1
        super().write(frame)
module.VideoWriter = Writer
"""
"""Dies at the sixth frame of a video."""
BETWEEN = """
import thcli.generation.session as module
real = module.write_sidecar
def write_sidecar(sources, target, *rest):
    if target.stem == "two": die()
    return real(sources, target, *rest)
module.write_sidecar = write_sidecar
"""
"""Dies when a video is whole, and its sidecar is not there yet."""
RUN = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it, and that is inherited
def die(): os.kill(os.getpid(), signal.SIGKILL)
{where}
from thcli.commands.main import main
main(sys.argv[1:])
"""
"""``thgen``, which dies where it is told."""


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["batch", *map(str, arguments)])
    return result.exit_code, result.stderr


def made(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".mp4"}


@pytest.mark.parametrize("where", [MIDDLE, BETWEEN], ids=["while rendering", "before the sidecar"])
def test_batch_resumes_after_it_was_killed(listed: Path, tmp_path: Path, where: str) -> None:
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    assert run(listed, "--out-dir", undisturbed)[0] == 0
    command = [sys.executable, "-c", RUN.format(where=where), "batch", str(listed), "--out-dir", str(out)]
    killed = subprocess.run(command, env={**os.environ}, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    parts = {path.name for path in out.iterdir() if path.name.startswith(".")}
    whole = {"one.mp4"} if where == MIDDLE else {"one.mp4", "two.mp4"}
    assert set(made(out)) - parts == whole
    assert len(parts) == (where == MIDDLE)
    assert not (out / "two.mp4.json").exists()
    logged = [json.loads(line)["id"] for line in (out / "outcomes.jsonl").read_text().splitlines()]
    assert logged == ["one"]

    first = (out / "one.mp4").stat().st_mtime_ns
    code, said = run(listed, "--out-dir", out, "--resume")
    assert code == 0 and "\n3 jobs: 2 done, 1 skipped; 20 frames in " in said
    assert made(out) == made(undisturbed) and len(made(out)) == 3
    assert {path.name for path in out.iterdir()} == {path.name for path in undisturbed.iterdir()}
    assert (out / "one.mp4").stat().st_mtime_ns == first
    assert run(listed, "--out-dir", out, "--resume")[1].startswith("3 jobs: 0 done, 3 skipped; 0 frames")


def test_batch_leaves_nothing_half_written_after_an_interruption(listed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupting = MIDDLE.replace("die()", "signal.raise_signal(signal.SIGINT)")
    command = [sys.executable, "-c", RUN.format(where=interrupting), "batch", str(listed), "--out-dir", str(out)]
    done = subprocess.run(command, env={**os.environ}, capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (130, "thgen: interrupted")
    assert {path.name for path in out.iterdir()} == {"one.mp4", "one.mp4.json", "outcomes.jsonl"}
