"""Half a second of video, really made: whether tracker, Ψ, Φ and Θ work together on this machine."""

from __future__ import annotations

import tempfile
from importlib import resources
from pathlib import Path

from thcli.doctor.check import Check, failed

FROM, SECONDS = 1.0, 0.5
"""Of the sample speech; it does not begin at once."""
MOVED = 0.5
"""Mean difference of first and last frame, of 255, at the least: of one still picture, encoding makes 0.04."""
NAME = "self-test"


def self_test(device: str = "auto", weights: Path | None = None) -> Check:
    """Make a video of the sample portrait in a temporary folder and look at it; nothing is left, nothing raised."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _make(Path(folder), device, weights)
    except Exception as error:
        return failed(NAME, error, "report what 'thgen demo --debug' prints")


def _make(folder: Path, device: str, weights: Path | None) -> Check:
    from thcli.generate.demo import copy_part, portrait, write_png
    from thcli.pipeline import GenerateOptions, generate

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
    """What is wrong with the video: it must have all frames, a face that moves, and the declaration."""
    import numpy as np

    from thcli.clips.decode import read_clip
    from thcli.clips.provenance import read_declaration
    from thcli.faces.backends import cached_tracker

    clip = read_clip(video)
    if len(clip) != frames:
        return f"the video has {len(clip)} frames of {frames}"
    if not cached_tracker("builtin", weights).detect(clip.frames[-1]):
        return "no face is found in the video's last frame"
    if np.abs(clip.frames[0].astype(np.int16) - clip.frames[-1]).mean() < MOVED:
        return "nothing moves in the video"
    return "" if read_declaration(video).synthetic else "the video does not say that it is synthetic"
