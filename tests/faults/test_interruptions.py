"""Ctrl-C, SIGTERM and SIGHUP at any point, and a closed standard output, give one line and leave nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thcli.clips import encode, ffmpeg
from thcli.data.processes import is_running
from thcli.generation import session
from thcli.pipeline.progress import Quiet
from thcli.signals import Stopped, stopped_by_signals

STAGES = ("listen", "track", "move", "draw")
COMMAND = [sys.executable, "-m", "thcli", "generate", "--renderer", "warp", "--device", "cpu"]
FRAMES = 5
"""Frames of a video with the speech of the kit."""


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("stage", STAGES)
def test_generate_leaves_nothing_when_interrupted_at_the_beginning_of_a_stage(generate, monkeypatch, stage):
    def begin(self: Quiet, name: str, total: int | None) -> None:
        if name == stage:
            raise KeyboardInterrupt

    monkeypatch.setattr(Quiet, "stage", begin)
    said = generate("clip.mp4", "speech.wav", "--save-curves", "c.csv")
    assert (said.code, said.out, said.err, said.new) == (130, "", "thgen: interrupted\n", ())


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (ffmpeg.Reader, "fill"),  # This is in the stages listen and track, while ffmpeg decodes.
        (session, "DrivenTarget"),
        (encode.VideoWriter, "write"),
        (encode, "xmp_box"),  # The video is complete under its hidden name, but for its metadata.
        (os, "replace"),  # It is complete.
        (session, "write_curves"),
        (session, "write_sidecar"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__.rpartition(".")[2],
)
def test_generate_leaves_nothing_when_interrupted_in_the_middle_of_a_stage(generate, monkeypatch, place, name):
    monkeypatch.setattr(place, name, interrupted)
    said = generate("clip.mp4", "speech.wav", "--save-curves", "c.csv")
    assert (said.code, said.out, said.err, said.new) == (130, "", "thgen: interrupted\n", ())


def test_generate_leaves_nothing_when_interrupted_after_the_last_frame(generate, monkeypatch):
    """All frames are with ffmpeg, which has not finished the file."""
    write, written = encode.VideoWriter.write, []

    def counted(self, frame):
        write(self, frame)
        written.append(frame)
        if len(written) == FRAMES:
            raise KeyboardInterrupt

    monkeypatch.setattr(encode.VideoWriter, "write", counted)
    said = generate("clip.mp4", "speech.wav", "--save-curves", "c.csv")
    assert (said.code, said.out, said.err, said.new) == (130, "", "thgen: interrupted\n", ())
    assert len(written) == FRAMES


def test_generate_leaves_nothing_when_interrupted_as_it_makes_its_file(generate, monkeypatch):
    def opened(path, mode):
        open(path, mode).close()
        raise KeyboardInterrupt

    monkeypatch.setattr(encode, "open", opened, raising=False)
    said = generate("clip.mp4", "speech.wav")
    assert (said.code, said.out, said.err, said.new) == (130, "", "thgen: interrupted\n", ())


@pytest.mark.skipif(sys.platform != "linux", reason="frames are rendered in processes on Linux alone")
def test_generate_says_so_and_leaves_nothing_when_a_rendering_process_is_killed(generate, monkeypatch):
    """As the kernel kills the largest process where memory runs out."""
    write, killed = encode.VideoWriter.write, []

    def after_a_kill(self, frame):
        if not killed:
            killed.extend(fork.process for fork in one_of.pop()._forks)
            for process in killed:
                os.kill(process, signal.SIGKILL)
        write(self, frame)

    one_of = []
    made = session.Forks.__init__

    def remembered(self, *given):
        made(self, *given)
        one_of.append(self)

    monkeypatch.setattr(session.Forks, "__init__", remembered)
    monkeypatch.setattr(encode.VideoWriter, "write", after_a_kill)
    said = generate("photo.png", "clip.mp4", "--workers", "2", "--save-curves", "c.csv")
    assert (said.code, said.out, said.new) == (6, "", ())
    assert said.err == (
        "thgen: error: a rendering process was killed, most likely for want of memory; take fewer --workers, or free "
        "some memory\n"
    )
    assert killed and not any(map(is_running, killed))


ENDS = {"SIGINT": (130, "interrupted"), "SIGTERM": (143, "stopped by SIGTERM"), "SIGHUP": (129, "stopped by SIGHUP")}
"""Exit code and message by the signal that ends a command."""


@pytest.fixture
def signals_are_heard():
    """Handle signals here and in child processes; a shell ignores Ctrl-C in what it runs in the background."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.usefixtures("signals_are_heard")
@pytest.mark.parametrize("name", ENDS)
def test_generate_leaves_nothing_when_its_process_gets_a_signal(folder, tmp_path, name):
    temporary = tmp_path / "temporary"
    speech = Path(__file__).parents[2] / "samples" / "speech.wav"  # It is long enough to be interrupted.
    given = ["--ref", "clip.mp4", "--audio", str(speech), "-o", "out.mp4", "--progress", "json"]
    before = sorted(path.name for path in folder.iterdir())
    running = subprocess.Popen(
        [*COMMAND, *given], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("{") and json.loads(line).get("stage") == "draw":
            running.send_signal(getattr(signal, name))
            break
    rest = [line for line in running.stderr.read().splitlines() if not line.startswith("{")]
    code, message = ENDS[name]
    assert (running.wait(60), rest) == (code, [f"thgen: {message}"])
    assert sorted(path.name for path in folder.iterdir()) == before
    assert list(temporary.iterdir()) == []


def processes_that_name(path: Path) -> list[str]:
    """Return the command lines of running processes that name a path, where Linux lists them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found += [command] if str(path) in command else []
    return found


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.usefixtures("signals_are_heard")
@pytest.mark.parametrize("stage", ["track", "draw"])
def test_dub_leaves_neither_files_nor_processes_when_it_gets_a_signal(folder, tmp_path, stage):
    cache, temporary = tmp_path / "cache", tmp_path / "temporary"
    speech = Path(__file__).parents[2] / "samples" / "speech.wav"
    given = ["dub", "clip.mp4", "--audio", str(speech), "-o", "out.mp4", "--progress", "json"]
    before = sorted(path.name for path in folder.iterdir())
    running = subprocess.Popen(
        [*COMMAND[:3], *given, *COMMAND[4:]], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "TMPDIR": str(temporary)},
    )  # fmt: skip
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("{") and json.loads(line).get("stage") == stage:
            running.send_signal(signal.SIGTERM)
            break
    rest = [line for line in running.stderr.read().splitlines() if not line.startswith("{")]
    assert (running.wait(60), rest) == (143, ["thgen: stopped by SIGTERM"])
    assert sorted(path.name for path in folder.iterdir()) == before
    kept = [path for path in cache.rglob("*") if path.is_file()]
    assert list(temporary.iterdir()) == [] and len(kept) == (1 if stage == "draw" else 0)
    assert processes_that_name(folder) == []


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.usefixtures("signals_are_heard")
@pytest.mark.parametrize("name", ENDS)
def test_preprocess_leaves_no_part_when_it_gets_a_signal_while_its_workers_work(folder, name):
    clips = folder / "clips"
    clips.mkdir()
    for number in range(3):
        (clips / f"c{number}.mp4").symlink_to((folder / "clip.mp4").resolve())
    running = subprocess.Popen(
        [sys.executable, "-m", "thcli", "preprocess", "all", "clips", "--out", "store", "--workers", "2"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not list(folder.glob("store/.*.partial")) and running.poll() is None:
        time.sleep(0.05)
    running.send_signal(getattr(signal, name))
    code, message = ENDS[name]
    # The workers have the other end of the pipe, too: this returns when all are gone.
    assert (running.communicate(timeout=60)[1].splitlines()[-1], running.returncode) == (f"thgen: {message}", code)
    assert not list(folder.glob("store/.*"))


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.usefixtures("signals_are_heard")
def test_stopped_by_signals_lets_no_second_signal_cut_the_cleaning_up_short():
    cleaned = False
    with pytest.raises(Stopped) as stopped, stopped_by_signals():
        try:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
            cleaned = True
    assert cleaned and stopped.value.number == signal.SIGHUP
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.usefixtures("signals_are_heard")
def test_stopped_by_signals_leaves_alone_what_nohup_ignores():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stopped_by_signals():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@pytest.mark.skipif(os.name != "posix", reason="closes a pipe")
@pytest.mark.usefixtures("folder")
def test_generate_names_a_standard_output_that_its_reader_closed():
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
@pytest.mark.usefixtures("folder")
def test_generate_names_a_standard_output_that_is_not_there():
    command = " ".join([*COMMAND, "--ref photo.png --audio speech.wav -o - >&-"])
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("thgen: error: standard output: ") and done.stderr.count("\n") == 1
