"""Checks of the files that a video is made from and written to, before any of them is decoded."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from thcli.clips.probe import check_length
from thcli.errors import MediaError, UsageError
from thcli.generation.sidecar import sidecar_path
from thcli.pipeline.options import WRITTEN

MP4 = (".mp4", ".m4v", ".mov")
"""Suffixes of the files that the MP4s of ``generate`` may be written to."""


def check_files(
    inputs: Sequence[Path],
    video: Path | None,
    beside: Mapping[str, Path],
    overwrite: bool,
    containers: Sequence[str] = MP4,
) -> None:
    """Raise UsageError or MediaError where an input or an output of a job cannot be what it is given as.

    video: file of the video; None for standard output
    beside: files that are written beside it (``pipeline.options.written_beside``)
    containers: suffixes that the video's name may have; it may have none, too
    """
    outputs = [] if video is None else [("-o", "the video", video)]
    outputs += [(f"--{name.replace('_', '-')}", WRITTEN[name], path) for name, path in beside.items()]
    for source in inputs:
        check_length(source)
    for option, _, target in outputs:
        _check_output(target, option, inputs, overwrite)
    if video is not None:
        if video.suffix.lower() not in ("", *containers):
            raise UsageError(f"{video}: expected a name that ends in {' or '.join(containers)}")
        outputs.insert(1, ("-o", "the video's sidecar", sidecar_path(video)))
    _check_apart(outputs)
    if "mesh" in beside and beside["mesh"].suffix.lower() != ".glb":
        raise UsageError(f"--mesh {beside['mesh']}: expected a name that ends in .glb")
    if "report" in beside:
        _check_report(beside["report"], video)


def _check_output(target: Path, option: str, inputs: Sequence[Path], overwrite: bool) -> None:
    """Raise UsageError or MediaError where an output cannot be written, exists already, or is also an input."""
    if target.name:  # none where the target is the folder "."
        check_length(sidecar_path(target))
    if target.is_dir():
        raise UsageError(f"{target}: is a folder; give {option} the name of a file in it")
    if str(target) == "-":
        raise UsageError(f"{option} -: only the video can be written to standard output; give the name of a file")
    if any(source.exists() and target.exists() and source.samefile(target) for source in inputs):
        raise UsageError(f"{target}: is also an input; choose another output with {option}")
    if not target.parent.is_dir():
        raise MediaError(f"{target}: no such folder {target.parent}; make it first")
    _check_writable(target)
    if os.path.lexists(target) and not overwrite:
        raise UsageError(f"{target}: exists already; add --overwrite, or choose another name")


def _check_writable(target: Path) -> None:
    """Raise MediaError where no file can be created beside the target; permissions alone do not tell that."""
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        reason = f"{target}: the folder {target.parent} cannot be written to ({error.strerror})"
        raise MediaError(f"{reason}; choose another one") from error


def _check_apart(outputs: Sequence[tuple[str, str, Path]]) -> None:
    """Raise UsageError where two of the files to be written have the same name.

    outputs: option, description and path of each
    """
    taken: dict[Path, str] = {}
    for option, what, target in outputs:
        other = taken.setdefault(target.resolve(), what)
        if other != what:
            raise UsageError(f"{target}: cannot hold both {other} and {what}; choose another name for {option}")


def _check_report(report: Path, video: Path | None) -> None:
    """Raise UsageError where the report has an unknown suffix, or no video file is written."""
    from thcli.evaluation.report import check_suffix

    check_suffix(report)
    if video is None:
        raise UsageError("--report: is made from the finished video, and -o - keeps none; give -o a file")
