"""Choice of ffmpeg, and the one way in which it is run: argument lists, local files and pipes only, no shell.

A media file may be hostile: a playlist can name other files or hosts. Hence ffmpeg may use only the protocols
``file`` and ``pipe``, and only demuxers that read nothing but their own file. Limits of image size, memory and time
stop files that claim to be huge or keep ffmpeg busy for ever.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import ffmpeg

from thcli.clips.binaries import OLDEST, installed, old_ones, too_old
from thcli.errors import MediaError

PROTOCOLS = "file,pipe"
"""Protocols that ffmpeg may use."""
DEMUXERS = (
    "aac,ac3,aiff,amr,apng,ape,asf,au,avi,av1,caf,dts,dv,eac3,flac,flv,gif,h264,hevc,ivf,m4v,matroska,webm,mjpeg,"
    "mov,mp4,m4a,3gp,3g2,mj2,mp3,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,tak,tta,voc,w64,wav,wv,"
    "yuv4mpegpipe"
)
"""Demuxers that ffmpeg may use, which open no second file; hls, dash, concat, imf, sdp, image2, avisynth and the like
are left out."""

MAX_PIXELS = 1 << 26
"""Most pixels of a frame, twice those of 8K; ffmpeg refuses larger ones before it takes memory for them."""
MAX_MEMORY = 8 << 30
"""Most bytes that an ffmpeg may take, on Linux; several times what one needs for 8K."""
MAX_SECONDS = 120
"""Most seconds for a run of ffmpeg, by default, and for its next bytes where its output is read."""
JUMP, OFF = 0.02, 0.005
"""Least jump of the time stamps of sound that counts as a gap, and largest error of sound by them, in seconds."""
LOG_BYTES = 1 << 20
"""Most bytes read of an ffmpeg's log."""

_STAND_INS = {0xDC80 + byte: 0xF0080 + byte for byte in range(128)}
"""Private characters by the surrogates that Python uses for bytes of a file name that are not text."""
_STOOD_FOR = {character: surrogate for surrogate, character in _STAND_INS.items()}
"""Surrogates by the private characters that stand in for them."""

STDIN_NAME = "standard input"
"""Name of standard input in messages, and of the file that it is copied to."""
PIPE_BYTES = 1 << 20
"""Bytes requested for the pipe of raw frames; the default of 64 KiB costs a switch of process every 10 rows of HD."""


@lru_cache(maxsize=1)
def candidates() -> tuple[str, ...]:
    """Return the ffmpeg binaries to try, best first; those that are too old are left out."""
    return tuple(binary for binary in installed() if not too_old(binary))


def executable() -> str:
    """Return the path of the ffmpeg that reads; MediaError where there is none, or none that is new enough."""
    if candidates():
        return candidates()[0]
    if old := old_ones():
        raise MediaError(
            f"ffmpeg: found {old}, expected {OLDEST[0]}.{OLDEST[1]} or newer; "
            "install a newer one: pip install --upgrade imageio-ffmpeg"
        )
    raise MediaError("ffmpeg: found neither on PATH nor in the imageio-ffmpeg package; install one of them")


@dataclass(frozen=True)
class VideoEncoder:
    """An encoder of H.264 or HEVC.

    executable: path of the ffmpeg that has it
    name: the encoder's name there
    options: pairs of option and value that set its quality
    """

    executable: str
    name: str
    options: tuple[tuple[str, str], ...]


@lru_cache(maxsize=2)
def h264_encoder(quick: bool = False) -> VideoEncoder:
    """Return the best H.264 encoder of the binaries found; not every distribution's ffmpeg carries x264.

    quick: whether x264 takes a third of the time, which makes files two to three times as large for no larger error
    """
    options = {
        "libx264": (("crf", "14"), ("preset", "superfast")) if quick else (("crf", "18"), ("preset", "fast")),
        # openh264 has no constant quality, only a bitrate; this one keeps a face sharp at any usual size.
        "libopenh264": (("b:v", "6M"), ("rc_mode", "bitrate")),
        "h264_videotoolbox": (("q:v", "65"),),
    }
    for name, settings in options.items():
        for binary in candidates():
            if name in listed(binary, "encoders"):
                return VideoEncoder(binary, name, settings)
    executable()  # there is one at all
    raise MediaError(
        f"ffmpeg: no H.264 encoder in {' or '.join(candidates())}; "
        "install an ffmpeg with libx264, or the imageio-ffmpeg package"
    )


@lru_cache(maxsize=1)
def deep_encoder() -> VideoEncoder | None:
    """Return an encoder of 10 bits, of HEVC, which is what players of such videos expect; None where there is none."""
    settings = (("crf", "14"), ("preset", "ultrafast"), ("x265-params", "log-level=error"))
    binary = first_with(encoders=["libx265"])
    return None if binary is None else VideoEncoder(binary, "libx265", settings)


def first_with(decoders: Iterable[str] = (), filters: Iterable[str] = (), encoders: Iterable[str] = ()) -> str | None:
    """Return the path of the first ffmpeg that has what is asked for, or None where none has it."""
    asked = {"decoders": set(decoders), "filters": set(filters), "encoders": set(encoders)}
    for binary in candidates():
        if all(names <= listed(binary, what) for what, names in asked.items() if names):
            return binary
    return None


@lru_cache(maxsize=16)
def listed(binary: str, what: str) -> frozenset[str]:
    """Return the names of an ffmpeg's ``encoders``, ``decoders`` or ``filters``."""
    listing = subprocess.run(
        [binary, "-hide_banner", f"-{what}"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    rows = (line.split() for line in listing.stdout.decode(errors="replace").splitlines())
    return frozenset(row[1] for row in rows if len(row) > 1)


def label(path: Path | str) -> str:
    """Return the name of a file in messages."""
    path = Path(path)
    return STDIN_NAME if path.name in ("-", STDIN_NAME) else str(path)


def open_input(path: Path, **options: object) -> Any:
    """Return the ffmpeg-python input node of a local file, with protocols, demuxers and image size limited."""
    return ffmpeg.input(
        local_file(path),
        protocol_whitelist=PROTOCOLS,
        format_whitelist=DEMUXERS,
        max_pixels=MAX_PIXELS,
        **options,
    )


def local_file(path: Path) -> str:
    """Return a file's name as ffmpeg-python takes it, with stand-ins for bytes that are not text.

    ``arguments`` turns the stand-ins back into these bytes.
    """
    # With the prefix, names like "-x.mp4" or "http:a.mp4" can only be files.
    return "file:" + str(Path.cwd() / path).translate(_STAND_INS)


def on_timeline(stream: Any, rate: int) -> Any:
    """Resample audio to ``rate`` Hz by timestamps from the start of the file: gaps filled, a late start padded.

    Time stamps are first smoothed over some twenty packets: in live recordings they jitter by milliseconds, which would
    be filled in and cut out all the time. A jump of more than ``JUMP`` counts at once. Where the sound is then off its
    time stamps by ``OFF`` or more, the difference is filled in or cut out.
    """
    lag, jump = "ld(1)-ld(0)", f"not(N)+gt(abs(ld(1)-ld(0)),{JUMP})"
    smoothed = f"st(1,T-N/SR);st(0,if({jump},ld(1),ld(0)+0.05*({lag})));round((ld(0)+N/SR)/TB)"
    clock = {"async": 1, "first_pts": 0, "min_hard_comp": OFF}
    return stream.filter("asetpts", smoothed).filter("aresample", rate, **clock)


def arguments(stream: Any, binary: str | None = None, loglevel: str = "error") -> list[str]:
    """Return the command line of an ffmpeg-python graph."""
    command: list[str] = ffmpeg.compile(
        stream, cmd=[binary or executable(), "-hide_banner", "-nostdin", "-loglevel", loglevel]
    )
    return [part.translate(_STOOD_FOR) for part in command]


class Reader:
    """A running ffmpeg whose raw output is read; closing it before its end kills it.

    name: name of the file that it reads, for messages

    Raises MediaError where no bytes come for ``MAX_SECONDS``.
    """

    def __init__(self, command: list[str], name: str) -> None:
        self._name = name
        # Messages go to a file, because a full pipe of them would stop ffmpeg while frames are read.
        self._log = open_log()
        self._process = start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log)
        assert self._process.stdout is not None
        self._stdout = self._process.stdout
        widen(self._stdout)

    def fill(self, buffer: memoryview) -> int:
        """Read until the byte buffer is full or the stream ends; return how many bytes came."""
        done = 0
        while done < len(buffer):
            self._await()
            got = self._stdout.readinto(buffer[done:])  # type: ignore[attr-defined]
            if not got:
                break
            done += got
        return done

    def finish(self) -> str:
        """Wait for the end of ffmpeg and return its messages."""
        self._process.wait()
        return read_log(self._log)

    def messages(self, offset: int) -> bytes:
        """Return what ffmpeg has said so far, from a byte on; it goes on writing at its own place meanwhile."""
        found = b""
        while block := os.pread(self._log.fileno(), LOG_BYTES, offset + len(found)):
            found += block
        return found

    def _await(self) -> None:
        """Wait until there is something to read; only POSIX can wait for a pipe."""
        if os.name == "posix":
            waiting = select.poll()
            waiting.register(self._stdout, select.POLLIN)
            if not waiting.poll(MAX_SECONDS * 1000):
                raise _too_slow(self._name, MAX_SECONDS)

    def close(self) -> None:
        stop(self._process)
        self._log.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(command: list[str], **streams: Any) -> subprocess.Popen[bytes]:
    """Start ffmpeg in a session of its own, so that Ctrl-C reaches only thgen, which then ends it in order."""
    # Static builds, as in imageio-ffmpeg, crash on names in MPEG-TS where they load the system's character sets.
    environment = {**os.environ, "GCONV_PATH": os.devnull}
    try:
        process = subprocess.Popen(command, bufsize=0, start_new_session=True, env=environment, **streams)
    except OSError as error:
        raise MediaError(f"{command[0]}: cannot be run ({error.strerror}); install a working ffmpeg") from error
    if sys.platform == "linux":
        import resource

        with contextlib.suppress(OSError, ValueError):  # raised where ffmpeg has ended or its limit is lower
            # The address space is not limited: threads, many on a large machine, reserve much of it and use little.
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    return process


def run(command: list[str], name: str, seconds: float = MAX_SECONDS) -> tuple[int, str]:
    """Run ffmpeg to its end; return its exit status and its log.

    name: name of the file that it reads, for messages

    Raises MediaError where it takes longer than ``seconds``.
    """
    process = start(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        log = process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired as error:
        raise _too_slow(name, seconds) from error
    finally:
        stop(process)
    return process.returncode, log.decode(errors="replace")


def _too_slow(name: str, seconds: float) -> MediaError:
    return MediaError(
        f"{name}: ffmpeg had nothing to show after {seconds:g} s; the file is damaged, or its disk does not answer: "
        "copy or export it again"
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill a process if it still runs, reap it, and close its pipes."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def open_log() -> IO[bytes]:
    """Return a new file for ffmpeg's messages: a temporary one or, on Linux without a folder for it, one in memory."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        if not hasattr(os, "memfd_create"):
            raise
        return open(os.memfd_create("ffmpeg.log"), "w+b")


def read_log(log: IO[bytes]) -> str:
    """Return the first ``LOG_BYTES`` of ffmpeg's log file."""
    log.seek(0)
    return log.read(LOG_BYTES).decode(errors="replace").strip()


def complaint(log: str) -> str:
    """Return the most telling line of an ffmpeg log, the first one, without addresses of its contexts."""
    lines = [line.split("] ", 1)[-1].strip() for line in log.splitlines() if line.strip()]
    return lines[0][:200] if lines else "no message from ffmpeg"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a temporary folder, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="thgen-") as folder:
        yield Path(folder)


def widen(pipe: IO[bytes]) -> None:
    """Give a pipe of raw frames room for ``PIPE_BYTES``, where the system can."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ if hasattr(fcntl, "F_SETPIPE_SZ") else 1031, PIPE_BYTES)
