"""What ``generate`` can be told, what it reports, and what it gives back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from thcli.errors import UsageError

MAX_REFERENCES, MAX_SCALE = 32, 3
Stream = Literal["-"]
FaceChoice = str | int | tuple[float, float, float, float]
RENDERERS = ("network", "warp")
SIZES = ("256", "512", "source")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DEFAULT_RENDERER = "network"
DEFAULT_BATCH = 4
"""Frames drawn at a time. With eight, every tensor is large enough for the C library to ask the kernel for its memory
anew, which costs a tenth of the time; with two, calls cost more than they save."""


@dataclass(frozen=True)
class GenerateOptions:
    """The long options of ``thgen generate``, with their defaults; ``-`` in them is ``_`` here.

    start: seconds into the clip; face: ``largest``, an index from the left, or ``X,Y,W,H`` in pixels
    references: K, 1 to 32
    motion: ``audio``, ``still``, a video or a CSV of curves; expression: the same without ``still``
    blink: ``reference``, ``none`` or seconds; silence: ``close`` or ``ignore``
    renderer: ``network``, Θ over the geometric path's pictures, or ``warp``, those pictures as they are
    precision: of what Θ paints: ``auto`` is the quickest of its device, see ``render.generator``
    batch_size: frames drawn at a time, at most; of large ones fewer are
    adapt: steps in which Θ is fine-tuned to the clip first (§0.B.2)
    frame: ``crop``, a square around head and shoulders, or ``full``, the clip's own
    size: side of the crop in pixels: ``256``, ``512`` or ``source``, the clip's own; None is 256. ``full`` has its own
    report: a page (.html) or its data (.json) on what came out
    """

    start: float = 0.0
    face: str = "largest"
    references: int = 8
    motion: str = "audio"
    motion_scale: float = 1.0
    expression: str = "audio"
    expression_scale: float = 1.0
    blink: str = "reference"
    silence: str = "close"
    renderer: str = DEFAULT_RENDERER
    adapt: int = 0
    frame: str = "crop"
    size: str | None = None
    device: str = "auto"
    precision: str = "auto"
    batch_size: int = DEFAULT_BATCH
    seed: int = 0
    tracker: str = "builtin"
    weights: Path | None = None
    save_curves: Path | None = None
    report: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.references <= MAX_REFERENCES:
            raise UsageError(f"--references {self.references}: expected 1 to {MAX_REFERENCES}")
        for option, scale in (("--motion-scale", self.motion_scale), ("--expression-scale", self.expression_scale)):
            if not 0 <= scale <= MAX_SCALE:
                raise UsageError(f"{option} {scale:g}: expected 0 to {MAX_SCALE}")
        for option, value, allowed in (
            ("--silence", self.silence, ("close", "ignore")),
            ("--renderer", self.renderer, RENDERERS),
            ("--frame", self.frame, ("crop", "full")),
            ("--precision", self.precision, PRECISIONS),
        ):
            if value not in allowed:
                raise UsageError(f"{option} {value}: expected {' or '.join(allowed)}")
        if self.precision != "auto" and self.renderer != "network":
            raise UsageError(
                f"--precision {self.precision}: is the network's, and the renderer is {self.renderer}; "
                "give --renderer network, or leave out --precision"
            )
        if self.batch_size < 1:
            raise UsageError(f"--batch-size {self.batch_size}: expected frames from 1")
        if self.adapt < 0:
            raise UsageError(f"--adapt {self.adapt}: expected steps from 0")
        if self.adapt and self.renderer != "network":
            raise UsageError(
                f"--adapt {self.adapt}: is training for the network, and the renderer is {self.renderer}; "
                "give --renderer network, or leave out --adapt"
            )
        if self.size not in (None, *SIZES):
            raise UsageError(f"--size {self.size}: expected {' or '.join(SIZES)}")
        if self.frame == "full" and self.size not in (None, "source"):
            raise UsageError(f"--size {self.size}: --frame full has the clip's own size; leave out one of the two")
        if not 0 <= self.start < math.inf:
            raise UsageError(f"--start {self.start:g}: expected seconds from 0")
        self.face_choice()
        self.blink_seconds()

    def face_choice(self) -> FaceChoice:
        """``--face`` as the tracker takes it; UsageError for anything else."""
        if self.face == "largest":
            return self.face
        try:
            numbers = [float(part) for part in self.face.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) == 1 and numbers[0] >= 0 and numbers[0].is_integer():
            return int(numbers[0])
        if len(numbers) == 4 and min(numbers[2:]) > 0 and all(map(math.isfinite, numbers)):
            return (numbers[0], numbers[1], numbers[2], numbers[3])
        raise UsageError(f"--face {self.face}: expected largest, an index from 0, or X,Y,W,H in pixels")

    def blink_seconds(self) -> float | None:
        """Seconds between blinks, where ``--blink`` gives them; UsageError for anything unknown."""
        if self.blink in ("reference", "none"):
            return None
        try:
            seconds = float(self.blink)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < math.inf:
            raise UsageError(f"--blink {self.blink}: expected reference, none, or seconds above 0")
        return seconds


class Progress(Protocol):
    """Told of every stage as it begins, with the number of frames where that is known, and of frames done.

    The stage ``adapt`` counts training steps.
    """

    def stage(self, name: str, total: int | None) -> None: ...

    def advance(self, frames: int = 1) -> None: ...


class Quiet:
    """Progress that nobody watches."""

    def stage(self, name: str, total: int | None) -> None:
        """Say nothing."""

    def advance(self, frames: int = 1) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Adapted:
    """What ``--adapt`` came to, measured on frames of the clip that were not trained on.

    kept: ``adapted``, or ``original`` where training made Θ no better there
    before, after: ``ssim``; ``mouth``, mean difference around it, of 255; ``sharpness`` of the mouth, the real one's
        is 1; ``score``, what is kept by, the lower the better
    """

    steps: int
    kept: str
    before: dict[str, float]
    after: dict[str, float]


@dataclass(frozen=True)
class Result:
    """A finished video.

    output: the file, or ``-``; frames: its length at 25 fps; size: (width, height) in pixels
    seconds: by stage; device: where the networks ran
    notes: what of the options came out otherwise than one may think, a line each
    warnings: of the report, where one was asked for: what is so and what to do, a line each
    adapted: where Θ was fine-tuned first
    """

    output: Path | Stream
    frames: int
    size: tuple[int, int]
    seconds: dict[str, float]
    device: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    adapted: Adapted | None = None
