"""``thgen generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from thcli.commands import options
from thcli.commands.progress import show_progress
from thcli.commands.tables import note
from thcli.generation.result import FineTuneReport, Result
from thcli.pipeline.option_checks import MAX_REFERENCES, PRECISIONS, RENDERERS
from thcli.pipeline.options import FRAMINGS, MAX_SCALE, RETARGETS, SILENCES, SIZES, GenerateOptions, Stream

DEFAULT = GenerateOptions()
SCALE = click.FloatRange(0, MAX_SCALE)
PRECISION = click.option("--precision", type=click.Choice(PRECISIONS), default=DEFAULT.precision, show_default=True,
                         help="Number format of Θ. auto: bf16 on a CPU that has it, else fp32.")  # fmt: skip


@click.command("generate")
@click.option(
    "--ref", "reference", required=True, type=options.PATH, metavar="CLIP|PHOTO", help="Person who is to speak."
)
@click.option("--audio", required=True, type=options.PATH, help="Speech, an audio or video file; - reads stdin.")
@click.option("-o", "--output", type=options.PATH, help="MP4 to write; - for stdout.  [default: CLIP_AUDIO.mp4 here]")
@click.option("--start", type=click.FloatRange(min=0), default=DEFAULT.start, show_default=True,
              help="Second of the clip from which it is used; where it is cut, 0 is its longest shot.")  # fmt: skip
@click.option("--face", default=DEFAULT.face, show_default=True, metavar="largest|INDEX|X,Y,W,H",
              help="Face to use where there are several: the largest, the INDEX-th from the left (from 0), or the "
              "one in a box of pixels.")  # fmt: skip
@click.option("--references", type=click.IntRange(1, MAX_REFERENCES), default=DEFAULT.references, show_default=True,
              metavar="K", help="Number of frames of the clip that the images are made of, 1 to 32.")  # fmt: skip
@click.option("--learn-from", default=DEFAULT.learn_from, show_default=True, metavar="SECONDS|whole",
              help="How much of the clip teaches how the person articulates, blinks and moves: up to so many seconds "
              "of the shot, or all of it; 0 learns no articulation.")  # fmt: skip
@click.option("--motion", type=options.WordOrFile("audio", "still"), default=DEFAULT.motion, show_default=True,
              metavar="audio|still|VIDEO|CURVES.csv", help="What moves the head.")  # fmt: skip
@click.option("--motion-scale", type=SCALE, default=DEFAULT.motion_scale, show_default=True,
              help="Strength of the head motion.")  # fmt: skip
@click.option("--expression", type=options.WordOrFile("audio"), default=DEFAULT.expression, show_default=True,
              metavar="audio|VIDEO|CURVES.csv", help="What moves the face.")  # fmt: skip
@click.option("--expression-scale", type=SCALE, default=DEFAULT.expression_scale, show_default=True,
              help="Strength of the expression.")  # fmt: skip
@click.option("--blink", default=DEFAULT.blink, show_default=True, metavar="reference|none|SECONDS",
              help="Blink at the clip's own rate, never, or every SECONDS seconds.")  # fmt: skip
@click.option("--silence", type=click.Choice(SILENCES), default=DEFAULT.silence, show_default=True,
              help="Whether silence closes the mouth.")  # fmt: skip
@click.option("--retarget", type=click.Choice(RETARGETS), default=DEFAULT.retarget, show_default=True,
              help="What a VIDEO gives: its movements, around this person's own pose and expression; or exactly both, "
              "for the same person in the same framing.")  # fmt: skip
@click.option("--renderer", type=click.Choice(RENDERERS), default=DEFAULT.renderer, show_default=True,
              help="Renderer of the images: the network Θ, or warped frames of the clip alone.")  # fmt: skip
@click.option("--adapt", type=click.IntRange(min=0), default=DEFAULT.adapt, show_default=True, metavar="STEPS",
              help="Fine-tune Θ to the clip first; 100 steps take a minute or two on two CPU cores.")  # fmt: skip
@click.option("--frame", type=click.Choice(FRAMINGS), default=DEFAULT.frame, show_default=True,
              help="Show a square around head and shoulders, or the clip's whole frame.")  # fmt: skip
@click.option("--size", type=click.Choice(SIZES), default=DEFAULT.size, show_default=True,
              help="Side of the square in pixels; source: its size in the clip; auto: the same, but from 256 to "
              "512.")  # fmt: skip
@options.device
@PRECISION
@click.option("--batch-size", type=click.IntRange(min=1), default=DEFAULT.batch_size, show_default=True,
              metavar="N", help="Most frames rendered at a time; fewer where they are large.")  # fmt: skip
@options.workers
@click.option("--seed", type=int, default=DEFAULT.seed, show_default=True, help="Seed of head motion and blinks.")
@options.tracker
@options.weights
@click.option("--save-curves", type=options.PATH, metavar="CURVES.csv", help="Also write the motion curves.")
@options.mesh
@options.report
@options.sign
@options.key
@options.overwrite
@options.dry_run
@options.progress
@options.debug
def command(reference: Path, audio: Path, output: Path | None, dry_run: bool, progress: str, **given: Any) -> None:
    """Make a video of the person in a clip or photo, speaking the words of a recording.

    \b
    thgen generate --ref clip.mp4 --audio speech.wav -o out.mp4
    thgen generate --ref photo.jpg --audio speech.mp3 --frame full
    thgen generate --ref clip.mp4 --audio speech.wav --motion other.mp4 --blink 4
    """
    from thcli.generation import generate
    from thcli.generation.checks import plan

    chosen = GenerateOptions(**given)
    source, target = or_stream(audio), or_stream(output or default_output(reference, audio))
    if dry_run:
        click.echo(str(plan(reference, source, target, chosen)))
        return
    with show_progress(progress) as display:
        result = generate(reference, source, target, chosen, display)
    seconds = sum(result.seconds.values())
    click.echo(
        f"{target}: {result.frames} frames in {seconds:.1f} s ({result.frames / seconds:.1f} a second)", err=True
    )
    for text in result.notes:
        note(text)
    if result.fine_tuned is not None:
        click.echo(_said_of(result.fine_tuned), err=True)
    say_warnings(result, chosen.report)


def say_warnings(result: Result, report: Path | None) -> None:
    """Print the warnings of a report, and where it is."""
    if report is None:
        return
    for warning in result.warnings:
        if warning not in result.notes:
            click.echo(f"warning: {warning}", err=True)
    click.echo(f"{report}: report, {_counted(len(result.warnings), 'warning')}", err=True)


def _said_of(adapted: FineTuneReport) -> str:
    """Return a line on the outcome of fine-tuning, measured on frames that were not trained on."""
    before, after = (
        f"mouth error {figures['mouth']:.1f}, SSIM {figures['ssim']:.3f}" for figures in (adapted.before, adapted.after)
    )
    if adapted.kept == "adapted":
        return f"adapted in {adapted.steps} steps: on held-out frames {before}, then {after}"
    return f"not adapted: {adapted.steps} steps made held-out frames no better: {before}, then {after}"


def _counted(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"


def or_stream(path: Path) -> Path | Stream:
    return "-" if str(path) == "-" else path


def default_output(reference: Path, audio: Path) -> Path:
    """Return the default output, ``CLIP_AUDIO.mp4`` in the current folder."""
    return Path(f"{reference.stem}_{'stdin' if str(audio) == '-' else audio.stem}.mp4")
