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
"""Parameters that apply to every kind but ``episodes``."""
_OF_EPISODES = ("episodes", "frames", "windows", "quality", "seed")
"""Parameters that apply to the kind ``episodes`` only."""
LISTED = 20
"""Most clips with audio out of sync that are printed; the index of the store lists them all."""


@click.command("preprocess")
@click.argument(
    "kind", type=click.Choice(["landmarks", "poses", "mesh", "audio", "all", "episodes", "takes"]), metavar="KIND"
)
@click.argument("source", nargs=-1, required=True, type=options.PATH)
@click.option("--out", required=True, type=options.PATH, metavar="DIR", help="Folder to write to.")
@options.tracker
@options.weights
@click.option(
    "--layout",
    type=click.Choice(["files", "voxceleb2", "lrs3", "lrw", "grid", "crema-d"]),
    default="files",
    show_default=True,
    help="Naming of the files: that of a data set, which tells subjects and splits, or files for any other.",
)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Clips processed at a time.")
@click.option("--resume", is_flag=True, help="Skip clips that are done.")
@click.option("--episodes", "--takes", type=click.IntRange(min=1), default=3, show_default=True,
              help="episodes: number of episodes per clip.")  # fmt: skip
@click.option("--frames", type=click.IntRange(min=1), metavar="N",
              help="episodes: most frames in all, spread evenly over the clips; replaces --episodes.")  # fmt: skip
@click.option("--windows", type=click.IntRange(min=1), default=8, show_default=True,
              help="episodes: pairs of consecutive frames per episode.")  # fmt: skip
@click.option("--quality", type=click.IntRange(1, 95), default=92, show_default=True,
              help="episodes: JPEG quality.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="episodes: seed of the random choices.")  # fmt: skip
@options.progress
@options.debug
def command(
    kind: str, source: tuple[Path, ...], out: Path, tracker: str, weights: Path | None, layout: str, workers: int,
    resume: bool, progress: str, **of_episodes: Any,
) -> None:  # fmt: skip
    """Turn clips into training data, or write their landmarks, poses, meshes or audio features.

    KIND is landmarks, poses, mesh, audio, all or episodes.

    SOURCE names video files, or folders that are searched for videos. `all` makes the folder that `thgen train`
    reads, and prints the clips whose audio is out of sync. The kinds landmarks, poses, mesh and audio write one
    NAME.KIND.npz per clip. The subfolders train and val of a folder tell which clips are held out, and other
    subfolders tell who speaks; with --layout, the names of the data set's files tell both.

    `episodes` makes the folder that `thgen train generator` reads: images that the geometric renderer makes from a few
    frames of a clip, beside the real frames. SOURCE is one folder made by `all`. A frame takes about 40 kB at --quality
    85 and 60 kB at 92, so --frames 1400 --quality 85 make about 60 MB. `takes` is the older name of this kind.

    \b
    thgen preprocess all videos/ --out store --workers 2 --resume
    thgen preprocess all vox2/ --layout voxceleb2 --out store --workers 16 --resume
    thgen preprocess landmarks clip.mp4 --out tracks
    thgen preprocess episodes store --out episodes --frames 1400 --quality 85 --workers 2 --resume
    """
    kind = "episodes" if kind == "takes" else kind
    _check(kind)
    if kind == "episodes":
        _render_episodes(source, out, progress, workers=workers, resume=resume, weights=weights, **of_episodes)
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
    """Raise UsageError for options that do not apply to the kind."""
    ctx = click.get_current_context()
    given = {
        parameter.name: parameter.opts[0]
        for parameter in ctx.command.params
        if parameter.name and ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    }
    for name, option in given.items():
        if kind == "episodes" and name in _OF_VIDEOS:
            raise click.UsageError(f"{option} cannot be used with 'episodes': its clips have been tracked.")
        if kind != "episodes" and name in _OF_EPISODES:
            raise click.UsageError(f"{option} applies to 'preprocess episodes' only.")
    if "episodes" in given and "frames" in given:
        raise click.UsageError("--frames sets the number of episodes; leave out --episodes.")


def _render_episodes(source: tuple[Path, ...], out: Path, progress: str, **chosen: Any) -> None:
    if len(source) > 1:
        raise click.UsageError(
            f"episodes: {len(source)} sources, expected one folder that 'thgen preprocess all' made."
        )
    from thcli.data.episodes import read_index
    from thcli.data.store import Store
    from thcli.preprocess.episodes import EpisodeOptions, make_episodes

    run = make_episodes(Store(source[0]), out, EpisodeOptions(**chosen))
    failed = _follow(run, progress)
    episodes = read_index(out)
    size = sum((out / episode.file).stat().st_size for episode in episodes) / (1 << 20)
    click.echo(
        f"{out}: {run.total - failed} of {run.total} clips; there are {len(episodes)} episodes now, of "
        f"{sum(episode.frames for episode in episodes)} frames, {size:.1f} MiB",
        err=True,
    )
    _end(out, failed, run.total)


def _follow(run: Run, progress: str) -> int:
    """Process the clips with a progress display, and return how many failed."""
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
    """Print the clips of the store whose audio is out of sync and by how many frames, the worst first."""
    clips = sorted(clips, key=lambda meta: -abs(meta.av_lag or 0))
    for meta in clips[:LISTED]:
        lag = meta.av_lag or 0
        click.echo(
            f"off sync: {meta.clip}: mouth {abs(lag)} frames {'later' if lag > 0 else 'earlier'} than usual", err=True
        )
    if len(clips) > LISTED:
        click.echo(f"off sync: {len(clips) - LISTED} more clips; see av_lag in index.jsonl", err=True)
