"""``thgen preprocess``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from thcli.commands import options
from thcli.commands.failures import SOME_FAILED, Failure
from thcli.commands.progress import show_progress

if TYPE_CHECKING:
    from thcli.data.store import ClipMeta

LISTED = 20
"""Clips off sync that are named; the index has them all."""


@click.command("preprocess")
@click.argument("kind", type=click.Choice(["landmarks", "poses", "mesh", "audio", "all"]))
@click.argument("source", nargs=-1, required=True, type=options.PATH)
@click.option("--out", required=True, type=options.PATH, metavar="DIR", help="Folder to write to.")
@options.tracker
@options.weights
@click.option(
    "--layout",
    type=click.Choice(["files", "voxceleb2", "lrs3", "lrw", "grid", "crema-d"]),
    default="files",
    show_default=True,
    help="How files are named: as in a data set, whose subjects and splits are taken, or in no known way.",
)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Clips at a time.")
@click.option("--resume", is_flag=True, help="Leave alone what has been done.")
@options.progress
@options.debug
def command(
    kind: str, source: tuple[Path, ...], out: Path, tracker: str, weights: Path | None, layout: str, workers: int,
    resume: bool, progress: str,
) -> None:  # fmt: skip
    """Turn clips into training data, or write their landmarks, poses, meshes or audio features.

    SOURCE are video files, or folders that are searched for them. `all` makes the folder that `thgen train`
    reads, and names the clips whose sound is off sync; the other kinds write one NAME.KIND.npz a clip. A folder's
    subfolders train and val say which clips are held out, other subfolders who speaks; with --layout, the names
    of a data set's files do.

    \b
    thgen preprocess all videos/ --out store --workers 2 --resume
    thgen preprocess all vox2/ --layout voxceleb2 --out store --workers 16 --resume
    thgen preprocess landmarks clip.mp4 --out tracks
    """
    from thcli import preprocess

    chosen = preprocess.PreprocessOptions(tracker, weights, workers, resume, layout)
    run = preprocess.preprocess(kind, source, out, chosen)
    for note in run.notes:
        click.echo(f"thgen: {note}", err=True)
    failed = 0
    with show_progress(progress, unit="clips") as display:
        display.stage("preprocess", run.total)
        for outcome in run.outcomes:
            display.advance()
            if outcome.status == "failed":
                failed += 1
                click.echo(f"thgen: {outcome.error}", err=True)
    if kind == "all":
        _tell_off_sync(preprocess.off_sync(out))
    click.echo(f"{out}: {run.total - failed} of {run.total} clips", err=True)
    if failed:
        raise Failure(f"error: {failed} of {run.total} clips failed; the others are in {out}", SOME_FAILED)


def _tell_off_sync(clips: list[ClipMeta]) -> None:
    """Names clips of the store whose sound is off sync, the worst first, and how far it is."""
    clips = sorted(clips, key=lambda meta: -abs(meta.av_lag or 0))
    for meta in clips[:LISTED]:
        lag = meta.av_lag or 0
        click.echo(
            f"off sync: {meta.clip}: mouth {'trails' if lag > 0 else 'leads'} sound by {abs(lag)} frames", err=True
        )
    if len(clips) > LISTED:
        click.echo(f"off sync: {len(clips) - LISTED} more clips; see av_lag in index.jsonl", err=True)
