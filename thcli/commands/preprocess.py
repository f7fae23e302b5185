"""``thgen preprocess``."""

from __future__ import annotations

from pathlib import Path

import click

from thcli.commands import options
from thcli.commands.failures import SOME_FAILED, Failure
from thcli.commands.progress import show_progress


@click.command("preprocess")
@click.argument("kind", type=click.Choice(["landmarks", "poses", "mesh", "audio", "all"]))
@click.argument("source", nargs=-1, required=True, type=options.PATH)
@click.option("--out", required=True, type=options.PATH, metavar="DIR", help="Folder to write to.")
@options.tracker
@options.weights
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Clips at a time.")
@click.option("--resume", is_flag=True, help="Leave alone what has been done.")
@options.progress
@options.debug
def command(
    kind: str, source: tuple[Path, ...], out: Path, tracker: str, weights: Path | None, workers: int, resume: bool,
    progress: str,
) -> None:  # fmt: skip
    """Turn clips into training data, or write their landmarks, poses, meshes or audio features.

    SOURCE are video files, or folders that are searched for them. `all` makes the folder that `thgen train`
    reads; the other kinds write one NAME.KIND.npz a clip. A folder's subfolders train and val say which clips
    are held out, other subfolders who speaks.

    \b
    thgen preprocess all videos/ --out store --workers 2 --resume
    thgen preprocess landmarks clip.mp4 --out tracks
    """
    from thcli import preprocess

    chosen = preprocess.PreprocessOptions(tracker, weights, workers, resume)
    total, outcomes = preprocess.preprocess(kind, source, out, chosen)
    failed = 0
    with show_progress(progress, unit="clips") as display:
        display.stage("preprocess", total)
        for outcome in outcomes:
            display.advance()
            if outcome.status == "failed":
                failed += 1
                click.echo(f"thgen: {outcome.error}", err=True)
    click.echo(f"{out}: {total - failed} of {total} clips", err=True)
    if failed:
        raise Failure(f"error: {failed} of {total} clips failed; the others are in {out}", SOME_FAILED)
