"""Copying of a video to an MP4 that every browser plays, without anything that tells what made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ffmpeg

from thcli.clips.encode import AUDIO_RATE
from thcli.clips.ffmpeg import (
    arguments,
    complaint,
    executable,
    h264_encoder,
    label,
    on_timeline,
    open_input,
    run,
    scratch_folder,
)
from thcli.clips.probe import MediaInfo, probe
from thcli.errors import MediaError

_PLAYABLE = ("h264 yuv420p", "h264 yuvj420p")
"""Codecs of video streams that every browser plays, as in ``MediaInfo.codec``."""
LONGEST_COPY = 3600
"""Most seconds that a copy may take."""
_SEI = 6
"""Type of H.264's supplemental information, where x264 writes its version and options; players do not need it."""


def anonymous_mp4(source: Path) -> bytes:
    """Return a file's video and audio as an MP4 without metadata, chapters, cover art and marks of an encoder.

    Video in H.264 (8 bit, 4:2:0) is copied as it is, any other is encoded anew. Audio is always encoded anew, because
    AAC carries the name of its encoder inside.

    Raises MediaError for a file without video or without audio.
    """
    info = probe(source)
    if not info.video:
        raise MediaError(f"{label(source)}: {'a photo' if info.image else 'no video stream'}, expected a video")
    if not info.audio:
        raise MediaError(f"{label(source)}: has no sound, expected a video that speaks; add the sound to it")
    with scratch_folder() as folder:
        target = folder / "anonymous.mp4"
        status, log = run(_command(source, info, target), label(source), LONGEST_COPY)
        if status:
            raise MediaError(f"{label(source)}: cannot be copied ({complaint(log)}); export the video again as MP4")
        return target.read_bytes()


def _command(source: Path, info: MediaInfo, target: Path) -> list[str]:
    file = open_input(source)
    video, binary = file["V:0"], executable()
    audio = on_timeline(file[f"a:{info.sound.index}"], AUDIO_RATE).filter("aformat", channel_layouts="mono|stereo")
    options: dict[str, Any] = {"map_metadata": -1, "map_metadata:s": -1, "map_chapters": -1}
    if info.codec in _PLAYABLE:
        options |= {"c:v": "copy"}
    else:
        encoder = h264_encoder()
        binary = encoder.executable
        options |= {"c:v": encoder.name, **dict(encoder.options), "pix_fmt": "yuv420p"}
        video = video.filter("crop", "floor(iw/2)*2", "floor(ih/2)*2", 0, 0)  # H.264 in 4:2:0 needs even sides
    options |= {"bsf:v": f"filter_units=remove_types={_SEI}", "c:a": "aac", "b:a": "128k"}
    # Without "bitexact" the AAC encoder and the muxer write their names and versions.
    options |= {"flags:a": "+bitexact", "fflags": "+bitexact", "movflags": "+faststart", "format": "mp4"}
    return arguments(ffmpeg.output(video, audio, f"file:{target}", **options).overwrite_output(), binary)
