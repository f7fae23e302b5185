"""``thgen doctor``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from thcli.commands import options
from thcli.commands.defaults import META, Defaults
from thcli.commands.failures import SOME_FAILED, Failure
from thcli.errors import UsageError

if TYPE_CHECKING:
    from thcli.doctor.check import Check

WIDTHS = {"installation": 27, "video": 11}
"""Width in characters of the column of names, by use: that of the longest name, and one space."""


@click.command("doctor")
@click.argument("video", type=options.PATH, required=False)
@options.device
@options.weights
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@options.debug
def command(video: Path | None, device: str, weights: Path | None, as_json: bool) -> None:
    """Check whether thgen works on this machine, and how to repair it; or show what a VIDEO was made from.

    Without VIDEO, thgen checks Python, libraries, device, ffmpeg, the SHA-256 of every file of weights, free space and
    memory, and makes half a second of video. With VIDEO, it shows what the video declares about itself, and checks
    whether its signature is valid, and whether the sidecar beside it is unchanged and belongs to this very file. The
    exit code is 0 where all is well, and 7 where something is not.

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
    from thcli.checkpoints import weight_folders
    from thcli.doctor.installation import installation
    from thcli.doctor.self_test import self_test

    if META in click.get_current_context().meta:
        yield _defaults(click.get_current_context().find_root())
    weight_folders(weights)  # an unusable folder given by the user is no fault of the installation
    yield from installation(device, weights)
    yield self_test(device, weights)


def _defaults(root: click.Context) -> Check:
    """Check the whole file of default options; the result names the options that it sets, and none of their values."""
    from thcli.doctor.check import Check

    used: Defaults = root.meta[META]
    said = []
    try:
        for name in used.sections:
            assert isinstance(root.command, click.Group)
            command = root.command.get_command(root, name)
            assert command is not None  # the names of the sections have been checked
            used.map_of(name, command)
            if names := ", ".join(used.names(name)):
                said.append(f"{name} {names}")
    except UsageError as error:
        return Check("defaults", False, str(error), "mend the file, or do without it: --defaults /dev/null")
    return Check("defaults", True, f"{used.path.absolute()}: {'; '.join(said) or 'sets nothing'}")


def _as_lines(checks: Iterable[Check], video: Path | None) -> list[Check]:
    """Print each check as soon as it is made, because the self-test takes some seconds, and return them all."""
    done = []
    width = WIDTHS["installation" if video is None else "video"]
    for check in checks:
        click.echo(f"{'ok   ' if check.ok else 'FAULT'} {check.name:<{width}}{check.found}")
        if check.fix:
            click.echo(f"{'':<{width + 6}}do: {check.fix}")
        done.append(check)
    if video is not None:
        from thcli.doctor.video import note_on

        click.echo(f"note  {note_on(done)}")
    return done


def _as_json(checks: Iterable[Check]) -> list[Check]:
    """Print all checks as one JSON object, and return them."""
    from dataclasses import asdict

    from thcli.version import __version__

    done = list(checks)
    report = {"thgen": __version__, "ok": all(check.ok for check in done), "checks": [asdict(check) for check in done]}
    click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    return done


def _counted(faults: list[Check]) -> str:
    names = ", ".join(dict.fromkeys(check.name for check in faults))
    return f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}: {names}"
