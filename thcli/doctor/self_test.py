"""Self-test: half a second of video is made, to check that tracker, Ψ, Φ and Θ work together on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path

from thcli.doctor.check import Check, failed

FROM, SECONDS = 1.0, 0.5
"""Start and length in seconds of the part of the sample speech that is used; the sample begins with silence."""
MOVED = 0.5
"""Least mean difference between first and last frame, of 255; encoding alone makes 0.04 in a still video."""
NAME = "self-test"
"""Name of the check."""
ROOM = 1 << 24
"""Most bytes that the files of the self-test take."""


def self_test(device: str = "auto", weights: Path | None = None) -> Check:
    """Make a video of the sample portrait in a temporary folder and check it; never raise, and leave no files."""
    place = _folder_with_room()
    if place is None:
        return Check(NAME, False, "not made: no folder has room for its files", "let TMPDIR name a folder that has")
    try:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            return _make(Path(folder), device, weights)
    except Exception as error:
        return failed(NAME, error, "report what 'thgen demo --debug' prints")


def _folder_with_room() -> Path | None:
    """Return a folder with room for the files of the self-test, or None where none has.

    ``generate`` does without temporary files, so a full folder for these is no fault.
    """
    for find in (tempfile.gettempdir, lambda: "/dev/shm", os.getcwd):
        with contextlib.suppress(OSError):
            folder = find()
            if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= ROOM:
                return Path(folder)
    return None


def _make(folder: Path, device: str, weights: Path | None) -> Check:
    from thcli.generation import generate
    from thcli.generation.demo import copy_part, portrait, write_png
    from thcli.pipeline.options import GenerateOptions

    speech = Path(str(resources.files("thgen_samples"))) / "speech.wav"
    write_png(folder / "portrait.png", portrait())
    copy_part(speech, folder / "speech.wav", FROM, SECONDS)
    video = folder / "video.mp4"
    options = GenerateOptions(device=device, weights=weights)
    made = generate(folder / "portrait.png", folder / "speech.wav", video, options)
    fault = _fault(video, made.frames, weights)
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in made.seconds.items())
    found = f"{made.frames} frames by tracker, Ψ, Φ and Θ on {made.device}: {stages}"
    if fault:
        return Check(NAME, False, f"{fault} ({found})", "report it with what 'thgen doctor --json' prints")
    return Check(NAME, True, found)


def _fault(video: Path, frames: int, weights: Path | None) -> str:
    """Return what is wrong with the video, or "": it must have all frames, a face that moves, and the declaration."""
    import numpy as np

    from thcli.clips.decode import read_clip
    from thcli.clips.provenance import read_declaration
    from thcli.pipeline.models import load_models

    clip = read_clip(video)
    if len(clip) != frames:
        return f"the video has {len(clip)} frames of {frames}"
    if not load_models(weights).tracker.detect(clip.frames[-1]):
        return "no face is found in the video's last frame"
    if np.abs(clip.frames[0].astype(np.int16) - clip.frames[-1]).mean() < MOVED:
        return "nothing moves in the video"
    return "" if read_declaration(video).synthetic else "the video does not say that it is synthetic"
