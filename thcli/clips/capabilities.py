"""Which ffmpeg is used, and what it can write."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from thcli.clips.ffmpeg import executable, h264_encoder
from thcli.errors import MediaError


@dataclass(frozen=True)
class Capabilities:
    """reader, version: the ffmpeg that reads, and its version; writer, encoder: the one that writes, and its H.264
    encoder"""

    reader: str
    version: str
    writer: str
    encoder: str


def capabilities() -> Capabilities:
    """What ffmpeg there is; MediaError, with what to install, where there is none, or none that writes H.264."""
    reader, encoder = executable(), h264_encoder()
    try:
        done = subprocess.run([reader, "-version"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise MediaError(f"{reader}: does not run ({error.strerror}); install ffmpeg anew") from error
    words = done.stdout.decode(errors="replace").split()
    if done.returncode or words[:2] != ["ffmpeg", "version"]:
        raise MediaError(f"{reader}: does not answer as ffmpeg does; install ffmpeg anew")
    return Capabilities(reader, words[2], encoder.executable, encoder.name)
