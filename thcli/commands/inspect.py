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
    """Measure face, motion and speech of a clip, and advise on its use as a reference.

    Figures and advice are printed. A contact sheet with curves of head pose, mouth and eyes is written as a PNG.

    \b
    thgen inspect clip.mp4
    thgen inspect photo.jpg -o photo_inspect.png --overwrite
    """
    from thcli.inspection.clip import inspect_clip
    from thcli.pipeline.models import load_models

    target = output or Path(f"{clip.stem}_inspect.png")
    findings = inspect_clip(clip, target, load_models(weights, tracker=tracker), overwrite)
    click.echo("\n".join(findings.lines()))
    click.echo(f"{target}: contact sheet and curves", err=True)
