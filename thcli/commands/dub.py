"""``thgen dub``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from thcli.commands import options
from thcli.commands.generate import PRECISION, default_output, or_stream, say_warnings
from thcli.commands.progress import show_progress
from thcli.commands.tables import note
from thcli.pipeline.option_checks import MAX_REFERENCES, RENDERERS
from thcli.pipeline.options import LENGTHS, DubOptions

DEFAULT = DubOptions()


@click.command("dub")
@click.argument("video", type=options.PATH, metavar="VIDEO")
@click.option("--audio", required=True, type=options.PATH, help="Speech, an audio or video file; - reads stdin.")
@click.option("-o", "--output", type=options.PATH,
              help="MP4 or MKV to write; - for an MP4 on stdout.  [default: VIDEO_AUDIO.mp4 here]")  # fmt: skip
@click.option("--from", "begin", type=click.FloatRange(min=0), default=DEFAULT.begin, show_default=True,
              metavar="SECONDS", help="Second of the video at which the speech begins.")  # fmt: skip
@click.option("--to", "end", type=click.FloatRange(min=0), metavar="SECONDS",
              help="Second of the video up to which it is dubbed.  [default: its end]")  # fmt: skip
@click.option("--face", default=DEFAULT.face, show_default=True, metavar="largest|INDEX|X,Y,W,H",
              help="Person to dub where there are several: in the first frame that shows a face, the largest, the "
              "INDEX-th from the left (from 0), or the one in a box of pixels.")  # fmt: skip
@click.option("--length", type=click.Choice(LENGTHS), default=DEFAULT.length, show_default=True,
              help="What decides how long the video is. longest: after a shorter speech the person is silent, for a "
              "longer one the video goes on backwards and forwards.")  # fmt: skip
@click.option("--keep-sound", type=click.FloatRange(min=0), metavar="DB",
              help="Mix the video's own sound in below the speech, lowered by DB decibels.")  # fmt: skip
@click.option("--expression", type=options.WordOrFile("audio"), default=DEFAULT.expression, show_default=True,
              metavar="audio|VIDEO|CURVES.csv", help="What moves the lips.")  # fmt: skip
@click.option("--references", type=click.IntRange(1, MAX_REFERENCES), default=DEFAULT.references, show_default=True,
              metavar="K", help="Number of frames of the video out of which mouths are taken, 1 to 32.")  # fmt: skip
@click.option("--renderer", type=click.Choice(RENDERERS), default=DEFAULT.renderer, show_default=True,
              help="Whether the network Θ mends the warped frames.")  # fmt: skip
@options.device
@PRECISION
@options.workers
@options.tracker
@options.weights
@click.option("--save-curves", type=options.PATH, metavar="CURVES.csv",
              help="Also write head motion and expression of the part that is dubbed.")  # fmt: skip
@options.mesh
@options.report
@options.sign
@options.key
@options.overwrite
@options.dry_run
@options.progress
@options.debug
def command(video: Path, audio: Path, output: Path | None, dry_run: bool, progress: str, **given: Any) -> None:
    """Give a video new words: all stays as filmed, but the lips follow a new recording.

    \b
    thgen dub video.mp4 --audio translation.wav -o dubbed.mp4
    thgen dub video.mp4 --audio sentence.wav --from 12.4 --to 15
    thgen dub video.mp4 --audio translation.wav --keep-sound 20 --length video
    """
    from thcli.generation.dub import dub
    from thcli.generation.dub_plan import plan_dub

    chosen = DubOptions(**given)
    source, target = or_stream(audio), or_stream(output or default_output(video, audio))
    if dry_run:
        click.echo(str(plan_dub(video, source, target, chosen)))
        return
    with show_progress(progress) as display:
        result = dub(video, source, target, chosen, display)
    seconds = sum(result.seconds.values())
    rate = result.frames / seconds
    click.echo(f"{target}: {result.frames} frames in {seconds:.1f} s ({rate:.1f} a second)", err=True)
    click.echo(f"{target}: {result.dubbed:.1f} s dubbed", err=True)
    for text in result.notes:
        note(text)
    say_warnings(result, chosen.report)
