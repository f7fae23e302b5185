"""``thgen inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from thcli.commands import options


@click.command("inspect")
@click.argument("clip", type=options.PATH)
@click.option("-o", "--output", type=options.PATH, help="PNG to write.  [default: CLIP_inspect.png here]")
@options.tracker
@options.weights
@options.overwrite
@options.debug
def command(clip: Path, output: Path | None, tracker: str, weights: Path | None, overwrite: bool) -> None:
    """Show what a clip holds: the face, its motion, the speech, and what a reference should have.

    Prints the figures, with advice, and draws a contact sheet with the curves of head pose, mouth and eyes.

    \b
    thgen inspect clip.mp4
    thgen inspect photo.jpg -o photo_inspect.png --overwrite
    """
    from thcli.inspection import clip as inspection

    target = output or Path(f"{clip.stem}_inspect.png")
    findings = inspection.inspect_clip(clip, target, tracker=tracker, weights=weights, overwrite=overwrite)
    click.echo("\n".join(findings.lines()))
    click.echo(f"{target}: contact sheet and curves", err=True)
