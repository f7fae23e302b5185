"""How fast a GPU's own encoder and decoder are beside the CPU's, in any ffmpeg here that has them; part of `make gpu`.

Run alone: python benchmarks/h264_codecs.py
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from thcli.clips.ffmpeg import candidates, listed

SECONDS, RATE, SIZE = 20, 25, "1280x720"
"""Length, frames a second and size of the picture that is encoded and decoded."""
ENCODERS = {
    "libx264": ("-preset", "fast", "-crf", "18"),
    "h264_nvenc": ("-preset", "p4", "-cq", "18"),
}
"""Encoders compared, the CPU's first, with options for about the same quality."""
DECODERS = {"CPU": (), "NVDEC": ("-hwaccel", "cuda", "-hwaccel_output_format", "cuda")}
"""Decoders compared, with ffmpeg's options for them."""


def codecs() -> dict[str, Any]:
    """Return frames a second of encoding and decoding H.264, of the first ffmpeg that has NVENC.

    Says so where none has it, or where it does not run, as without NVIDIA's driver.
    """
    found = [binary for binary in candidates() if "h264_nvenc" in listed(binary, "encoders")]
    if not found:
        return {"outcome": "no ffmpeg here has h264_nvenc"}
    binary, speeds = found[0], {}
    with tempfile.TemporaryDirectory() as folder:
        picture = ["-f", "lavfi", "-i", f"testsrc2=size={SIZE}:rate={RATE}:duration={SECONDS}", "-pix_fmt", "yuv420p"]
        for name, options in ENCODERS.items():
            made = str(Path(folder) / f"{name}.mp4")
            speeds[f"encoding, {name}"] = frames_a_second([binary, *picture, "-c:v", name, *options, made])
        for name, asked in DECODERS.items():
            command = [binary, *asked, "-i", str(Path(folder) / "libx264.mp4"), "-f", "null", "-"]
            speeds[f"decoding, {name}"] = frames_a_second(command)
    return {"ffmpeg": binary, "frames a second": speeds}


def frames_a_second(command: list[str]) -> float | str:
    """Return the speed of a command that works through the picture; the first line of its complaint if it fails."""
    began = time.perf_counter()
    done = subprocess.run([command[0], "-v", "error", "-y", *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["it failed"])[0]
    return round(SECONDS * RATE / (time.perf_counter() - began), 1)


if __name__ == "__main__":
    print(codecs())
