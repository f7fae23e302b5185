"""Ctrl-C in every stage, and readers that close standard output: one line, the right code, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from thcli.clips import encode, ffmpeg
from thcli.generate import session as studio

STAGES = ("listen", "track", "move", "draw")
COMMAND = [sys.executable, "-m", "thcli", "generate", "--renderer", "warp", "--device", "cpu"]


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("stage", STAGES)
def test_at_the_beginning_of_a_stage(generate, monkeypatch, stage):
    begin = studio._Clock.stage

    def stop_there(self, name, *rest):
        return interrupted() if name == stage else begin(self, name, *rest)

    monkeypatch.setattr(studio._Clock, "stage", stop_there)
    said = generate("clip.mp4", "speech.wav", "--save-curves", "c.csv")
    assert (said.code, said.out, said.err, said.new) == (130, "", "thgen: interrupted\n", ())


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (ffmpeg.Reader, "fill"),  # listen and track: while ffmpeg decodes
        (studio, "make_drive"),  # move
        (encode.VideoWriter, "write"),  # draw
        (encode.VideoWriter, "_commit"),  # encode: all frames are there, the file is not
        (encode.VideoWriter, "_append_xmp"),  # the file is there, under its hidden name
        (studio, "write_curves"),
        (studio, "write_sidecar"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__.rpartition(".")[2],
)
def test_in_the_middle_of_a_stage(generate, monkeypatch, place, name):
    monkeypatch.setattr(place, name, interrupted)
    said = generate("clip.mp4", "speech.wav", "--save-curves", "c.csv")
    assert (said.code, said.out, said.err, said.new) == (130, "", "thgen: interrupted\n", ())


@pytest.fixture
def heard():
    """Ctrl-C is not ignored, as it is in what a shell runs in the background, and in all that this starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.usefixtures("heard")
def test_signal_to_the_process(folder, tmp_path):
    temporary = tmp_path / "temporary"
    speech = Path(__file__).parents[2] / "samples" / "speech.wav"  # long enough to be caught at work
    given = ["--ref", "clip.mp4", "--audio", str(speech), "-o", "out.mp4", "--progress", "json"]
    before = sorted(path.name for path in folder.iterdir())
    running = subprocess.Popen(
        [*COMMAND, *given], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("{") and json.loads(line).get("stage") == "draw":
            running.send_signal(signal.SIGINT)
            break
    rest = [line for line in running.stderr.read().splitlines() if not line.startswith("{")]
    assert (running.wait(60), rest) == (130, ["thgen: interrupted"])
    assert sorted(path.name for path in folder.iterdir()) == before
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="closes a pipe")
def test_reader_that_closes_standard_output(folder):
    given = ["--ref", "clip.mp4", "--audio", "clip.mp4", "-o", "-"]
    running = subprocess.Popen([*COMMAND, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None and running.stderr is not None
    running.stdout.close()
    said = running.stderr.read()
    assert running.wait(60) == 3
    assert said == (
        "thgen: error: standard output: closed by its reader before the video was complete; read to the end\n"
    )


@pytest.mark.skipif(os.name != "posix", reason="closes a descriptor")
def test_without_any_standard_output(folder):
    command = " ".join([*COMMAND, "--ref photo.png --audio speech.wav -o - >&-"])
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("thgen: error: standard output: ") and done.stderr.count("\n") == 1
