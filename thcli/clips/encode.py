"""Writing of frames and speech to an MP4: H.264 and AAC of equal length, written beside the target and renamed."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import ffmpeg
import numpy as np

from thcli.clips.audio import timed_sound
from thcli.clips.ffmpeg import (
    arguments,
    complaint,
    h264_encoder,
    local_file,
    open_log,
    read_log,
    start,
    stop,
    widen,
)
from thcli.clips.probe import MediaInfo, media_info
from thcli.clips.provenance import XMP_KEY, xmp_box
from thcli.errors import MediaError
from thcli.records import FPS, Image

AUDIO_RATE = 48_000
"""Samples per second of the audio; an AAC frame lasts 21 ms at this rate, so audio and video end within a video frame
of each other."""
KEYFRAME_INTERVAL = 2 * FPS
"""Most frames from one keyframe to the next."""
MATROSKA = (".mkv", ".webm", ".mka")
"""Suffixes of outputs that are written as Matroska; all others are MP4."""
STDOUT = "standard output"
"""Name of standard output in messages."""
_COLOUR = "bt709"
"""Colour space of the video, as ffmpeg calls it."""


Finish = Callable[[Path, Path], None]
"""Function that writes a changed copy of a finished video, the first path, to the second."""


class VideoWriter:
    """Context manager that writes ``n_frames`` frames at 25 fps, and audio of the same length, to an MP4.

    target: the MP4 to make, replaced if it exists; None for a streamable (fragmented) MP4 on standard output
    size: (width, height) in pixels; an odd side is extended by its last column or row, as H.264 needs even sides
    audio: any audio or video file, kept mono or made stereo, padded with silence or cut to the video's length
    metadata: values by ffmpeg's keys (comment, title, artist…), and ``xmp`` for an XMP packet (``provenance``)
    audio_start: second of the audio file at which the video begins
    audio_peak: largest absolute sample of the audio file; above 1, the sound is scaled to a peak of 1
    finish: last change of the file, before it has its name; not for standard output

    Until the block ends without an error there is only a hidden file beside the target, which any error, Ctrl-C
    included, removes.

    Raises MediaError, which names the target, where it cannot be written, and ValueError for frames of another size or
    number than announced.
    """

    def __init__(
        self,
        target: Path | None,
        size: tuple[int, int],
        audio: Path | MediaInfo | None,
        n_frames: int,
        metadata: Mapping[str, str] | None = None,
        audio_start: float = 0.0,
        audio_peak: float = 1.0,
        finish: Finish | None = None,
    ) -> None:
        if n_frames < 1 or min(size) < 2:
            raise ValueError(f"cannot write {n_frames} frames of {size[0]}x{size[1]}")
        self._target = target
        self._name = STDOUT if target is None else str(target)
        self._size = size
        self._audio = audio
        self._audio_start = audio_start
        self._audio_peak = audio_peak
        self._finish = finish
        self._n_frames = n_frames
        self._metadata = dict(metadata or {})
        self._canvas = np.empty((size[1] + size[1] % 2, size[0] + size[0] % 2, 3), np.uint8)
        self._count = 0
        self._part: Path | None = None

    def __enter__(self) -> VideoWriter:
        self._log = open_log()
        try:
            if self._target is not None:
                # The name is known before the file is there, so that Ctrl-C at any moment removes it.
                self._part = _part_beside(self._target)
                _create(self._part, self._target)
            self._process = start(self._command(), stdin=subprocess.PIPE, stderr=self._log, stdout=self._stdout())
            assert self._process.stdin is not None
            widen(self._process.stdin)
        except BaseException:
            self._remove_part()
            self._log.close()
            raise
        return self

    def write(self, frame: Image) -> None:
        """Append a frame [H, W, 3] uint8, RGB."""
        width, height = self._size
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            raise ValueError(f"frame {frame.shape} {frame.dtype}, expected {(height, width, 3)} uint8")
        if self._count == self._n_frames:
            raise ValueError(f"more than the {self._n_frames} frames announced")
        self._canvas[:height, :width] = frame
        self._canvas[height:, :width] = frame[-1:]
        self._canvas[:, width:] = self._canvas[:, width - 1 : width]
        self._send(self._canvas.data.cast("B"))
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            stop(self._process)
            self._remove_part()
            self._log.close()

    def _commit(self) -> None:
        if self._count != self._n_frames:
            raise ValueError(f"{self._count} frames written, {self._n_frames} announced")
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait() != 0:
            raise self._failure()
        try:
            self._append_xmp()
            self._change()
            if self._part is not None and self._target is not None:
                os.replace(self._part, self._target)
                self._part = None
        except OSError as error:
            raise MediaError(f"{self._name}: cannot be written ({error.strerror}); choose another folder") from error

    def _append_xmp(self) -> None:
        if XMP_KEY not in self._metadata:
            return
        with open(os.dup(1) if self._part is None else self._part, "ab") as file:
            file.write(xmp_box(self._metadata[XMP_KEY]))

    def _change(self) -> None:
        if self._finish is None or self._part is None or self._target is None:
            return
        changed = _part_beside(self._target)
        try:
            self._finish(self._part, changed)
            os.replace(changed, self._part)
        finally:
            changed.unlink(missing_ok=True)

    def _send(self, data: memoryview) -> None:
        assert self._process.stdin is not None
        try:
            while data:
                data = data[self._process.stdin.write(data) :]
        except OSError as error:
            self._process.wait()
            raise self._failure() from error

    def _failure(self) -> MediaError:
        log = read_log(self._log)
        if "No space left" in log:
            return MediaError(f"{self._name}: no space left on the device; free some or write to another folder")
        if "Broken pipe" in log:
            return MediaError(f"{self._name}: closed by its reader before the video was complete; read to the end")
        return MediaError(
            f"{self._name}: writing the video failed ({complaint(log)}); check the folder and the sound file"
        )

    def _remove_part(self) -> None:
        if self._part is not None:
            self._part.unlink(missing_ok=True)
            self._part = None

    def _stdout(self) -> int | None:
        """Return ffmpeg's standard output: ours where the video goes there, else none."""
        return subprocess.DEVNULL if self._target is not None else None

    def _command(self) -> list[str]:
        encoder = h264_encoder()
        height, width = self._canvas.shape[:2]
        # The frames are sRGB; players take the matrix from the tags, so conversion and tags must agree.
        video = ffmpeg.input(
            "pipe:0", format="rawvideo", pix_fmt="rgb24", video_size=(width, height), framerate=FPS
        ).filter("scale", out_color_matrix=_COLOUR, out_range="tv", flags="bicubic+accurate_rnd+full_chroma_inp")
        tags = {"range": "tv", "colorspace": _COLOUR, "color_primaries": _COLOUR, "color_trc": _COLOUR}
        streams = [video.filter("format", "yuv420p").filter("setparams", **tags)]
        options: dict[str, Any] = {"c:v": encoder.name, **dict(encoder.options), "g": KEYFRAME_INTERVAL, "r": FPS}
        # Older versions of ffmpeg take the tags from here, newer ones from the filtered frames.
        options |= {"colorspace": _COLOUR, "color_primaries": _COLOUR, "color_trc": _COLOUR, "color_range": "tv"}
        if self._audio is not None:
            streams.append(self._audio_stream(self._audio))
            options |= {"c:a": "aac", "b:a": "128k"}
        said = ((key, value) for key, value in self._metadata.items() if key != XMP_KEY)
        options |= {f"metadata:g:{i}": f"{key}={value}" for i, (key, value) in enumerate(said)}
        options |= {"map_metadata": -1, "map_chapters": -1, "format": "mp4"}
        fragmented = "frag_keyframe+delay_moov+default_base_moof+skip_trailer"
        options["movflags"] = fragmented if self._part is None else "+faststart"
        output = "pipe:1" if self._part is None else local_file(self._part)
        return arguments(ffmpeg.output(*streams, output, **options).overwrite_output(), encoder.executable)

    def _audio_stream(self, audio: Path | MediaInfo) -> Any:
        """Return the audio stream, by the file's clock, cut or padded with silence to the length of the video."""
        audio_stream = timed_sound(media_info(audio), AUDIO_RATE)
        if self._audio_peak > 1:
            audio_stream = audio_stream.filter("volume", f"{1 / self._audio_peak:.9f}", precision="float")
        audio_stream = audio_stream.filter("aformat", channel_layouts="mono|stereo")
        if self._audio_start > 0:
            audio_stream = audio_stream.filter("atrim", start=self._audio_start).filter("asetpts", "PTS-STARTPTS")
        return audio_stream.filter("apad").filter("atrim", end=f"{self._n_frames / FPS:.6f}")


def _part_beside(target: Path) -> Path:
    """Return the name of a new hidden file in the target's folder: on the same file system, so a rename is atomic."""
    if target.exists() and not target.is_file():
        raise MediaError(f"{target}: a folder or a device, expected the name of a video file to write")
    return target.parent / f".thgen-{secrets.token_hex(6)}.mp4"


def _create(part: Path, target: Path) -> None:
    """Make the hidden file, empty; MediaError where that is impossible."""
    try:
        open(part, "xb").close()
    except FileNotFoundError as error:
        raise MediaError(f"{target}: the folder {target.parent} does not exist; make it first") from error
    except OSError as error:
        raise MediaError(f"{target}: the folder cannot be written to ({error.strerror}); choose another one") from error
