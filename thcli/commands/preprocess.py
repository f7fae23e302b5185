"""``thgen preprocess``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from thcli.commands import options
from thcli.commands.failures import SOME_FAILED, Failure
from thcli.commands.progress import show_progress

if TYPE_CHECKING:
    from thcli.data.store import ClipMeta
    from thcli.preprocess.clips import Run

_OF_VIDEOS = ("tracker", "layout")
_OF_TAKES = ("takes", "frames", "windows", "quality", "seed")
"""Parameters that mean nothing to the kind ``takes``, and to the others."""
LISTED = 20
"""Clips off sync that are named; the index has them all."""


@click.command("preprocess")
@click.argument("kind", type=click.Choice(["landmarks", "poses", "mesh", "audio", "all", "takes"]))
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
@click.option("--takes", type=click.IntRange(min=1), default=3, show_default=True, help="takes: so many of each clip.")
@click.option("--frames", type=click.IntRange(min=1), metavar="N",
              help="takes: N frames in all, at most, spread evenly over the clips, in place of --takes.")  # fmt: skip
@click.option("--windows", type=click.IntRange(min=1), default=8, show_default=True,
              help="takes: pairs of frames in a take.")  # fmt: skip
@click.option("--quality", type=click.IntRange(1, 95), default=92, show_default=True, help="takes: of the JPEGs.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="takes: what is drawn by lot.")
@options.progress
@options.debug
def command(
    kind: str, source: tuple[Path, ...], out: Path, tracker: str, weights: Path | None, layout: str, workers: int,
    resume: bool, progress: str, **of_takes: Any,
) -> None:  # fmt: skip
    """Turn clips into training data, or write their landmarks, poses, meshes or audio features.

    SOURCE are video files, or folders that are searched for them. `all` makes the folder that `thgen train`
    reads, and names the clips whose sound is off sync; the other kinds write one NAME.KIND.npz a clip. A folder's
    subfolders train and val say which clips are held out, other subfolders who speaks; with --layout, the names
    of a data set's files do.

    `takes` draws what `thgen train generator` reads: pictures of a clip as the geometric path makes them from a few
    of its frames, beside the real ones. SOURCE is the one folder that `all` made. A frame takes about 40 kB at
    --quality 85, 60 kB at 92: with --frames 1400 --quality 85, a set has about 60 MB.

    \b
    thgen preprocess all videos/ --out store --workers 2 --resume
    thgen preprocess all vox2/ --layout voxceleb2 --out store --workers 16 --resume
    thgen preprocess landmarks clip.mp4 --out tracks
    thgen preprocess takes store --out takes --frames 1400 --quality 85 --workers 2 --resume
    """
    _check(kind)
    if kind == "takes":
        _draw_takes(source, out, progress, workers=workers, resume=resume, weights=weights, **of_takes)
        return
    from thcli.preprocess import clips as preprocess

    chosen = preprocess.PreprocessOptions(tracker, weights, workers, resume, layout)
    run = preprocess.preprocess(kind, source, out, chosen)
    failed = _follow(run, progress)
    if kind == "all":
        _tell_off_sync(preprocess.off_sync(out))
    click.echo(f"{out}: {run.total - failed} of {run.total} clips", err=True)
    _end(out, failed, run.total)


def _check(kind: str) -> None:
    """Refuse options that the kind has no use for."""
    ctx = click.get_current_context()
    given = {
        parameter.name: parameter.opts[-1]
        for parameter in ctx.command.params
        if parameter.name and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    }
    for name, option in given.items():
        if kind == "takes" and name in _OF_VIDEOS:
            raise click.UsageError(f"{option} cannot be used with 'takes': its clips have been tracked.")
        if kind != "takes" and name in _OF_TAKES:
            raise click.UsageError(f"{option} is for 'preprocess takes'.")
    if "takes" in given and "frames" in given:
        raise click.UsageError("--frames says how many takes there are; leave out --takes.")


def _draw_takes(source: tuple[Path, ...], out: Path, progress: str, **chosen: Any) -> None:
    if len(source) > 1:
        raise click.UsageError(f"takes: {len(source)} sources, expected one folder that 'thgen preprocess all' made.")
    from thcli.data.episodes import read_index
    from thcli.data.store import Store
    from thcli.preprocess.episodes import TakesOptions, make_takes

    run = make_takes(Store(source[0]), out, TakesOptions(**chosen))
    failed = _follow(run, progress)
    takes = read_index(out)
    size = sum((out / take.file).stat().st_size for take in takes) / (1 << 20)
    click.echo(
        f"{out}: {run.total - failed} of {run.total} clips; there are {len(takes)} takes now, of "
        f"{sum(take.frames for take in takes)} frames, {size:.1f} MiB",
        err=True,
    )
    _end(out, failed, run.total)


def _follow(run: Run, progress: str) -> int:
    """Does the work; returns how many clips failed."""
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
    return failed


def _end(out: Path, failed: int, total: int) -> None:
    if failed:
        raise Failure(f"error: {failed} of {total} clips failed; the others are in {out}", SOME_FAILED)


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
