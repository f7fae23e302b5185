"""Which ffmpeg is used, and what it can write."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from thcli.clips.ffmpeg import executable, h264_encoder
from thcli.errors import MediaError

AAC = "aac"
ENCODERS = ("libx264", "libopenh264", "h264_videotoolbox", "h264_nvenc", AAC)


@dataclass(frozen=True)
class Capabilities:
    """reader, version: the ffmpeg that reads, and its version; writer, encoder: the one that writes, and its H.264
    encoder; encoders: those for H.264 and AAC that the writer has"""

    reader: str
    version: str
    writer: str
    encoder: str
    encoders: tuple[str, ...]


def capabilities() -> Capabilities:
    """What ffmpeg there is; MediaError, with what to install, where there is none, or none that writes H.264."""
    reader, encoder = executable(), h264_encoder()
    version = _said(reader, "-version").split()
    if version[:2] != ["ffmpeg", "version"]:
        raise MediaError(f"{reader}: does not answer as ffmpeg does; install ffmpeg anew")
    rows = (line.split() for line in _said(encoder.executable, "-encoders").splitlines())
    names = tuple(row[1] for row in rows if len(row) > 1 and row[1] in ENCODERS)
    if AAC not in names:
        raise MediaError(f"{encoder.executable}: has no encoder for AAC; install another ffmpeg, or imageio-ffmpeg")
    return Capabilities(reader, version[2], encoder.executable, encoder.name, names)


def _said(binary: str, question: str) -> str:
    try:
        command = [binary, "-hide_banner", question]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise MediaError(f"{binary}: does not run ({error.strerror}); install ffmpeg anew") from error
    return done.stdout.decode(errors="replace")
