"""The second pass over a video that is dubbed takes no more memory the longer it goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.probe import probe
from thcli.clips.rewrite import NewSound, VideoRewriter, other_streams
from thcli.clips.timed import stored, stream_stored
from thcli.pipeline.drawers import Changed, Drawers
from thcli.pipeline.footage import Footage
from thcli.pipeline.timeline import in_order, make_timeline
from thcli.yuv import YuvFrame

PICTURE = "testsrc=size=160x96:rate=25"
FRAMES, SAMPLED = 6144, 96
"""Frames of the video, and from one at which memory is measured to the next."""


def memory_of_tree(process: int) -> int:
    """Return the bytes that a process and those that it has started take; what they share counts once.

    Pages of files do not count: the fewer other processes have loaded the same libraries, the more of them is ours.
    """
    folder = Path(f"/proc/{process}")
    try:
        rollup = (folder / "smaps_rollup").read_text().splitlines()
        children = [one for task in (folder / "task").iterdir() for one in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0
    own = sum(int(line.split()[1]) << 10 for line in rollup if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return own + sum(memory_of_tree(int(child)) for child in children)


def darken(first: int, frames: Sequence[YuvFrame]) -> list[Changed | None]:
    for frame in frames:
        frame.y[:] //= 2
    return [None] * len(frames)


def memory_along(video: Path, speech: Path) -> list[int]:
    """Return the memory that reading, drawing and writing a video takes, now and then, with its end repeated."""
    info, sound = probe(video), NewSound(probe(speech), 0.0, 1.0, 0.0, 0.5, True)
    nothing, colours = np.zeros(FRAMES, np.float32), np.zeros((FRAMES, 1, 3), np.uint8)
    given = (np.arange(FRAMES), Fraction(1, 25), 1, np.zeros(FRAMES, np.int32), nothing, nothing, colours, "none")
    footage, found = Footage(video, (160, 96), *given), []
    line = make_timeline(footage, 1.1 * FRAMES / 25)
    with (
        Drawers(darken, stored(info), 2) as drawers,
        closing(stream_stored(info, into=(arrays := drawers.arrays()))) as stream,
    ):
        clock = (footage.unit, 1, 0, line.end)
        written = (Path("out.mp4"), info, stored(info), clock, sound, other_streams(info), len(line), {})
        with VideoRewriter(*written) as writer:
            for t, (frame, _) in enumerate(drawers.draw_all(in_order(stream, line, footage, arrays))):
                writer.write_stored(frame, int(line.time[t]))
                if t % SAMPLED == SAMPLED - 1:
                    found.append(memory_of_tree(os.getpid()))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="memory of processes is read from /proc")
def test_the_second_pass_takes_no_more_memory_in_the_fourth_minute_than_in_the_first_seconds(media, say, folder):
    speech = say(folder / "s.wav", 1.0)
    source = f"testsrc=size=160x96:rate=25:duration={FRAMES / 25}"
    video = media("a.mp4", "-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p")
    # In a process of its own: of one that has run many tests, forked processes come to own ever more.
    command = [sys.executable, __file__, str(video), str(speech)]
    memory = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    # the frames take 140 MB, their index in the new file 2
    assert len(memory) == 70 and max(memory) < max(memory[1:5]) + (6 << 20)


if __name__ == "__main__":
    print(json.dumps(memory_along(*map(Path, sys.argv[1:]))))
