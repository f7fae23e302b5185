"""``thgen demo``."""

from __future__ import annotations

from pathlib import Path

import click

from thcli.commands import options
from thcli.commands.progress import show_progress


@click.command("demo")
@click.argument("folder", type=options.PATH, default=Path("demo"))
@options.overwrite
@options.progress
@options.debug
def command(folder: Path, overwrite: bool, progress: str) -> None:
    """Make a talking video from a public-domain portrait.

    Three files are written to FOLDER (default: demo): the portrait (portrait.png), a moving clip of three seconds made
    from it (reference.mp4), and the talking video made from that clip (demo.mp4).

    \b
    thgen demo
    thgen demo elsewhere --overwrite
    """
    from thcli.generation import demo

    with show_progress(progress) as display:
        video = demo.make_demo(folder, overwrite=overwrite, progress=display)
    click.echo(f"{video}: watch it", err=True)
