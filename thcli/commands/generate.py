"""``thgen generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from thcli.commands import options
from thcli.commands.progress import show_progress


@click.command("generate")
@click.option("--ref", "reference", required=True, type=options.PATH, metavar="CLIP|PHOTO", help="Who is to speak.")
@click.option("--audio", required=True, type=options.PATH, help="What to say: sound or video file; - reads stdin.")
@click.option("-o", "--output", type=options.PATH, help="MP4 to write; - is stdout.  [default: CLIP_AUDIO.mp4 here]")
@click.option("--start", type=click.FloatRange(min=0), help="Use the clip from this second on.  [default: 0]")
@click.option("--face", metavar="largest|INDEX|X,Y,W,H", help="Which face, where there are several: the largest, the "
              "INDEX-th from the left (from 0), or the one in a box of pixels.  [default: largest]")  # fmt: skip
@click.option("--references", type=click.IntRange(1, 32), metavar="K",
              help="Frames of the clip that the picture is made of, 1 to 32.  [default: 8]")  # fmt: skip
@click.option("--motion", metavar="audio|still|VIDEO|CURVES.csv", help="What moves the head.  [default: audio]")
@click.option("--motion-scale", type=click.FloatRange(0, 3), help="Strength of the head motion.  [default: 1]")
@click.option("--expression", metavar="audio|VIDEO|CURVES.csv", help="What moves the face.  [default: audio]")
@click.option("--expression-scale", type=click.FloatRange(0, 3), help="Strength of the expression.  [default: 1]")
@click.option("--blink", metavar="reference|none|SECONDS",
              help="Blink at the clip's own rate, never, or every so many seconds.  [default: reference]")  # fmt: skip
@click.option("--silence", type=click.Choice(["close", "ignore"]),
              help="Whether silence closes the mouth.  [default: close]")  # fmt: skip
@click.option("--frame", type=click.Choice(["crop", "full"]),
              help="A square around head and shoulders, or the clip's whole frame.  [default: crop]")  # fmt: skip
@options.device
@click.option("--seed", type=int, help="Head motion and blinks follow it.  [default: 0]")
@options.tracker
@options.weights
@click.option("--save-curves", type=options.PATH, metavar="CURVES.csv", help="Also write the motion and expression.")
@options.overwrite
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be done.")
@options.progress
@options.debug
def command(reference: Path, audio: Path, output: Path | None, dry_run: bool, progress: str, **given: Any) -> None:
    """Make a talking video of the person in a clip or photo, saying what a recording says.

    \b
    thgen generate --ref clip.mp4 --audio speech.wav -o out.mp4
    thgen generate --ref photo.jpg --audio speech.mp3 --frame full
    thgen generate --ref clip.mp4 --audio speech.wav --motion other.mp4 --blink 4
    """
    from thcli import pipeline

    chosen = pipeline.GenerateOptions(**{name: value for name, value in given.items() if value is not None})
    source = "-" if str(audio) == "-" else audio
    target = default_output(reference, audio) if output is None else "-" if str(output) == "-" else output
    if dry_run:
        click.echo(str(pipeline.plan(reference, source, target, chosen)))
        return
    with show_progress(progress) as display:
        result = pipeline.generate(reference, source, target, chosen, display)
    seconds = sum(result.seconds.values())
    click.echo(
        f"{target}: {result.frames} frames in {seconds:.1f} s ({result.frames / seconds:.1f} a second)", err=True
    )


def default_output(reference: Path, audio: Path) -> Path:
    """``CLIP_AUDIO.mp4`` in the current folder."""
    return Path(f"{reference.stem}_{'stdin' if str(audio) == '-' else audio.stem}.mp4")
