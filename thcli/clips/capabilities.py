"""Report of the ffmpeg in use, of what it can write, and of what it cannot read."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from thcli.clips.binaries import old_ones, version
from thcli.clips.colour import FILTERS
from thcli.clips.ffmpeg import executable, first_with, h264_encoder
from thcli.clips.probe import ALPHA_DECODERS
from thcli.errors import MediaError

AAC = "aac"
ENCODERS = ("libx264", "libopenh264", "h264_videotoolbox", "h264_nvenc", AAC)
"""Encoders for H.264 and AAC that are reported where the writer has them."""


@dataclass(frozen=True)
class Capabilities:
    """The ffmpeg binaries in use.

    reader, version: path of the ffmpeg that reads, and its version
    writer, encoder: path of the ffmpeg that writes, and the H.264 encoder it uses
    encoders: encoders for H.264 and AAC that the writer has
    lacking: decoders of transparency and filters of colours that no installed ffmpeg has
    old: ffmpegs that are too old to be used, as text; empty where there are none
    """

    reader: str
    version: str
    writer: str
    encoder: str
    encoders: tuple[str, ...]
    lacking: tuple[str, ...]
    old: str


def capabilities() -> Capabilities:
    """Return the ffmpeg binaries in use.

    Raises MediaError, which says what to install, where there is no ffmpeg or none that writes H.264 and AAC.
    """
    reader, encoder = executable(), h264_encoder()
    if not version(reader):
        raise MediaError(f"{reader}: does not answer as ffmpeg does; install ffmpeg anew")
    rows = (line.split() for line in _encoders(encoder.executable).splitlines())
    names = tuple(row[1] for row in rows if len(row) > 1 and row[1] in ENCODERS)
    if AAC not in names:
        raise MediaError(f"{encoder.executable}: has no encoder for AAC; install another ffmpeg, or imageio-ffmpeg")
    lacking = [name for name in ALPHA_DECODERS.values() if not first_with(decoders=[name])]
    lacking += [name for name in FILTERS if not first_with(filters=[name])]
    return Capabilities(reader, version(reader), encoder.executable, encoder.name, names, tuple(lacking), old_ones())


def _encoders(binary: str) -> str:
    try:
        command = [binary, "-hide_banner", "-encoders"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise MediaError(f"{binary}: does not run ({error.strerror}); install ffmpeg anew") from error
    return done.stdout.decode(errors="replace")
