"""Options: a record for each step of the pipeline, and one for ``thgen generate``, which has them all."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, TypeVar

from thcli.errors import UsageError
from thcli.pipeline.option_checks import (
    check_choice,
    check_pair,
    check_references,
    check_renderer,
    check_workers,
    is_video,
)
from thcli.records import FaceChoice
from thcli.render.memory import DEFAULT_BATCH

MAX_SCALE = 3
"""Largest factor of ``--motion-scale`` and ``--expression-scale``."""
Stream = Literal["-"]
"""Standard input or output in place of a file."""
FRAMINGS = ("crop", "full")
SIZES = ("auto", "256", "512", "1024", "source")
SILENCES = ("close", "ignore")
RETARGETS = ("person", "exact")
LENGTHS = ("longest", "audio", "video")
DEFAULT_RENDERER = "network"
WRITTEN = {"save_curves": "its curves", "mesh": "its mesh", "report": "its report"}
"""Options that name a file to write beside the video, with what it is."""
Record = TypeVar("Record")


@dataclass(frozen=True)
class ReferenceOptions:
    """Options of ``read_person``: the part of a clip or photo that is used, and the frame that is rendered.

    start: second of the clip at which the reference begins; 0 leaves the choice of the shot to ``choose_part``
    face: ``largest``, an index from the left, or ``X,Y,W,H`` in pixels
    references: K, number of frames that serve as references, 1 to ``MAX_REFERENCES``
    frame: ``crop``, a square around head and shoulders, or ``full``, the clip's own frame
    size: side of the crop in pixels, ``256``, ``512`` or ``1024``; ``source`` for the clip's own, and ``auto`` for the
        clip's own between 256 and 512
    learn_from: seconds of the clip whose movement and sound teach how the person moves, or ``whole`` for the shot
    """

    start: float = 0.0
    face: str = "largest"
    references: int = 8
    frame: str = "crop"
    size: str = "auto"
    learn_from: str = "60"

    def __post_init__(self) -> None:
        check_references(self.references)
        check_choice("--frame", self.frame, FRAMINGS)
        check_choice("--size", self.size, SIZES)
        if self.frame == "full" and self.size not in ("auto", "source"):
            raise UsageError(f"--size {self.size}: --frame full has the clip's own size; leave out one of the two")
        if not 0 <= self.start < math.inf:
            raise UsageError(f"--start {self.start:g}: expected seconds from 0")
        self.face_choice()
        self.learn_seconds()

    def face_choice(self) -> FaceChoice:
        """Return the value of ``--face`` as the tracker takes it; UsageError for an unknown value."""
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

    def learn_seconds(self) -> float:
        """Return the seconds of ``--learn-from``, infinite for ``whole``; UsageError for an unknown value."""
        if self.learn_from == "whole":
            return math.inf
        try:
            seconds = float(self.learn_from)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < math.inf:
            raise UsageError(f"--learn-from {self.learn_from}: expected whole, or seconds from 0")
        return seconds


@dataclass(frozen=True)
class MotionOptions:
    """Options of ``predict_curves``: the sources of head motion, expression and blinks, and their strength.

    motion: source of head motion: ``audio``, ``still``, a video or a CSV of curves
    expression: source of the expression: ``audio``, a video or a CSV of curves
    retarget: what is taken from a video: ``person``, its movements, laid around this person's own pose and expression
        and kept within what the reference supports; or ``exact``, pose and expression as they are, for the same person
        in the same framing
    motion_scale, expression_scale: factors of head motion and expression, 0 to ``MAX_SCALE``
    blink: ``reference``, ``none`` or seconds from blink to blink
    silence: ``close`` or ``ignore``, what the mouth does where nobody speaks
    seed: seed of head motion and blinks
    """

    motion: str = "audio"
    motion_scale: float = 1.0
    expression: str = "audio"
    expression_scale: float = 1.0
    blink: str = "reference"
    silence: str = "close"
    retarget: str = "person"
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("--retarget", self.retarget, RETARGETS)
        if self.retarget == "exact" and not (is_video(self.motion) or is_video(self.expression)):
            raise UsageError(
                "--retarget exact applies to a video given to --motion or --expression only; give one, or leave it out"
            )
        for option, scale in (("--motion-scale", self.motion_scale), ("--expression-scale", self.expression_scale)):
            if not 0 <= scale <= MAX_SCALE:
                raise UsageError(f"{option} {scale:g}: expected 0 to {MAX_SCALE}")
        check_choice("--silence", self.silence, SILENCES)
        self.blink_seconds()

    def blink_seconds(self) -> float | None:
        """Return the seconds from blink to blink where ``--blink`` gives them; UsageError for an unknown value."""
        if self.blink in ("reference", "none"):
            return None
        try:
            seconds = float(self.blink)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < math.inf:
            raise UsageError(f"--blink {self.blink}: expected reference, none, or seconds above 0")
        return seconds


@dataclass(frozen=True)
class GenerateOptions:
    """The long options of ``thgen generate`` with their defaults; ``-`` in their names is ``_`` here.

    Options of reference and motion are those of ``ReferenceOptions`` and ``MotionOptions``. The others are:

    renderer: ``network``, Θ over the images of the geometric renderer, or ``warp``, those images as they are
    adapt: training steps in which Θ is fine-tuned to the clip first (§0.B.2)
    device, precision, tracker, weights: as for ``pipeline.models.load_models``
    batch_size: most frames rendered at a time; fewer where they are large
    workers: number of processes that render on a CPU; None for one on each usable core, see ``thcli.forks``
    save_curves: CSV file to write the motion curves to
    mesh: GLB file to write the animated 3D face to
    sign, key: certificate and private key, PEM, with which the video is signed; the sidecar does not name the key
    report: page (.html) or data (.json) to write about the finished video
    overwrite: whether a file at the output's place is replaced
    """

    start: float = ReferenceOptions.start
    face: str = ReferenceOptions.face
    references: int = ReferenceOptions.references
    learn_from: str = ReferenceOptions.learn_from
    motion: str = MotionOptions.motion
    motion_scale: float = MotionOptions.motion_scale
    expression: str = MotionOptions.expression
    expression_scale: float = MotionOptions.expression_scale
    blink: str = MotionOptions.blink
    silence: str = MotionOptions.silence
    retarget: str = MotionOptions.retarget
    renderer: str = DEFAULT_RENDERER
    adapt: int = 0
    frame: str = ReferenceOptions.frame
    size: str = ReferenceOptions.size
    device: str = "auto"
    precision: str = "auto"
    batch_size: int = DEFAULT_BATCH
    workers: int | None = None
    seed: int = MotionOptions.seed
    tracker: str = "builtin"
    weights: Path | None = None
    save_curves: Path | None = None
    mesh: Path | None = None
    report: Path | None = None
    sign: Path | None = None
    key: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        _ = self.motion_options
        check_renderer(self.renderer, self.precision)
        check_pair(self.sign, self.key)
        if self.batch_size < 1:
            raise UsageError(f"--batch-size {self.batch_size}: expected frames from 1")
        check_workers(self.workers)
        if self.adapt < 0:
            raise UsageError(f"--adapt {self.adapt}: expected steps from 0")
        if self.adapt and self.renderer != "network":
            raise UsageError(
                f"--adapt {self.adapt} applies to --renderer network only, and the renderer is {self.renderer}; "
                "leave out --adapt"
            )
        _ = self.reference_options

    @property
    def reference_options(self) -> ReferenceOptions:
        """Options of ``read_person`` among these."""
        return _part(ReferenceOptions, self)

    @property
    def motion_options(self) -> MotionOptions:
        """Options of ``predict_curves`` among these."""
        return _part(MotionOptions, self)


@dataclass(frozen=True)
class DubOptions:
    """The long options of ``thgen dub`` with their defaults; ``-`` in their names is ``_`` here.

    begin, end: seconds of the video between which it is dubbed (``--from``, ``--to``); None is the video's end
    face: as for ``ReferenceOptions``, in the first frame that shows a face
    references: K, number of frames out of which mouths are taken, 1 to ``MAX_REFERENCES``
    expression: source of the lips: ``audio``, a video or a CSV of curves
    length: ``longest``, ``audio`` or ``video``, which of the two decides how long the dubbed video is
    keep_sound: decibels by which the video's own sound is lowered below the speech; None leaves it out
    renderer, device, precision, workers, tracker, weights: as for ``GenerateOptions``
    save_curves, mesh, report, sign, key, overwrite: as for ``GenerateOptions``
    """

    begin: float = 0.0
    end: float | None = None
    face: str = ReferenceOptions.face
    references: int = 16
    expression: str = MotionOptions.expression
    length: str = "longest"
    keep_sound: float | None = None
    renderer: str = DEFAULT_RENDERER
    device: str = "auto"
    precision: str = "auto"
    workers: int | None = None
    tracker: str = "builtin"
    weights: Path | None = None
    save_curves: Path | None = None
    mesh: Path | None = None
    report: Path | None = None
    sign: Path | None = None
    key: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_references(self.references)
        check_workers(self.workers)
        _ = self.face_choice()
        check_choice("--length", self.length, LENGTHS)
        check_renderer(self.renderer, self.precision)
        check_pair(self.sign, self.key)
        self._check_part()
        if self.keep_sound is not None and not 0 <= self.keep_sound < math.inf:
            raise UsageError(f"--keep-sound {self.keep_sound:g}: expected decibels from 0 by which to lower the sound")

    def _check_part(self) -> None:
        """Raise UsageError for a part that cannot be."""
        if not 0 <= self.begin < math.inf:
            raise UsageError(f"--from {self.begin:g}: expected seconds from 0")
        if self.end is not None and not self.begin < self.end < math.inf:
            raise UsageError(f"--to {self.end:g}: expected seconds after --from {self.begin:g}")
        if self.end is not None and self.length != "longest":
            raise UsageError(f"--length {self.length}: with --to the video keeps its length; leave out one of the two")

    def face_choice(self) -> FaceChoice:
        """Return the value of ``--face`` as the tracker takes it; UsageError for an unknown value."""
        return ReferenceOptions(face=self.face).face_choice()

    @property
    def motion_options(self) -> MotionOptions:
        """The source of the lips as options of ``predict_curves``; Φ does not move the head, which was filmed."""
        return MotionOptions(motion="still", expression=self.expression)

    @property
    def adapt(self) -> int:
        """Steps of fine-tuning, of which a dubbed video has none."""
        return 0


def _part(record: type[Record], options: GenerateOptions) -> Record:
    """Return a record with the values of the options that it shares with ``generate``."""
    return record(**{f.name: getattr(options, f.name) for f in fields(record)})  # type: ignore[arg-type]


def written_beside(options: GenerateOptions | DubOptions) -> dict[str, Path]:
    """Return the files that are written beside the video, by the option, of ``WRITTEN``, that names each."""
    return {name: path for name in WRITTEN if (path := getattr(options, name)) is not None}


def signed_with(options: GenerateOptions | DubOptions) -> tuple[Path, ...]:
    """Return the files that the video is signed with."""
    return tuple(path for path in (options.sign, options.key) if path is not None)
