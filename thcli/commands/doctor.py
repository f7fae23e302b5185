"""``thgen doctor``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from thcli.commands import options
from thcli.commands.failures import SOME_FAILED, Failure

if TYPE_CHECKING:
    from thcli.doctor.check import Check

WIDTHS = {"installation": 27, "video": 11}
"""Of the column of names, in either use: that of the longest, and a space."""


@click.command("doctor")
@click.argument("video", type=options.PATH, required=False)
@options.device
@options.weights
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for machines.")
@options.debug
def command(video: Path | None, device: str, weights: Path | None, as_json: bool) -> None:
    """Look whether thgen works here and say what to do where it does not; or say what a VIDEO was made from.

    Without VIDEO: Python, libraries, device, ffmpeg, every file of weights by its SHA-256, free space and memory, and
    half a second of video really made. With VIDEO: what it says of itself, and whether the sidecar beside it is as it
    was written, and of this very file. Leaves with 0 where all is well, with 7 where something is not.

    \b
    thgen doctor
    thgen doctor --json
    thgen doctor out.mp4
    """
    checks = _examine(video, device, weights)
    done = _as_json(checks) if as_json else _as_lines(checks, video)
    if not all(check.ok for check in done):
        raise Failure("" if as_json else _counted([check for check in done if not check.ok]), SOME_FAILED)


def _examine(video: Path | None, device: str, weights: Path | None) -> Iterator[Check]:
    if video is not None:
        from thcli.doctor.video import examine_video

        yield from examine_video(video)
        return
    from thcli.doctor.installation import installation
    from thcli.doctor.self_test import self_test

    yield from installation(device, weights)
    yield self_test(device, weights)


def _as_lines(checks: Iterable[Check], video: Path | None) -> list[Check]:
    """Each as soon as it is there: the self-test takes some seconds."""
    done = []
    width = WIDTHS["installation" if video is None else "video"]
    for check in checks:
        click.echo(f"{'ok   ' if check.ok else 'FAULT'} {check.name:<{width}}{check.found}")
        if check.fix:
            click.echo(f"{'':<{width + 6}}do: {check.fix}")
        done.append(check)
    if video is not None:
        from thcli.doctor.video import UNSIGNED

        click.echo(f"note  {UNSIGNED}")
    return done


def _as_json(checks: Iterable[Check]) -> list[Check]:
    from dataclasses import asdict

    from thcli import __version__

    done = list(checks)
    report = {"thgen": __version__, "ok": all(check.ok for check in done), "checks": [asdict(check) for check in done]}
    click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    return done


def _counted(faults: list[Check]) -> str:
    names = ", ".join(dict.fromkeys(check.name for check in faults))
    return f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}: {names}"
