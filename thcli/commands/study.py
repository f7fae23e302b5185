"""``thgen study``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from thcli.commands import options
from thcli.commands.progress import show_progress
from thcli.commands.tables import check_output, deliver, note, table

if TYPE_CHECKING:
    from thcli.evaluation.study.scoring import Result

FORMATS = ("table", "markdown", "json", "csv")
SUFFIXES = {".md": "markdown", ".json": "json", ".csv": "csv"}


@click.group("study", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Let viewers rate videos of several methods, and evaluate their answers.

    \b
    thgen study make ours=made/ theirs=other/ real=clips/ -o study.html
    thgen study score study.key.json answers_*.json
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command.command("make", short_help="Write the page on which viewers rate videos.")
@click.argument("methods", nargs=-1, required=True, metavar="METHOD=FOLDER…")
@click.option("-o", "--output", type=options.PATH, default=Path("study.html"), show_default=True, metavar="PAGE.html",
              help="The page to write; its key is written beside it.")  # fmt: skip
@click.option("--title", default="Rating videos of talking people", show_default=True, help="Heading of the page.")
@click.option("--seed", type=int, help="Seed of the videos' names in the page.  [default: random]")
@options.overwrite
@options.progress
@options.debug
def make(methods: tuple[str, ...], output: Path, title: str, seed: int | None, overwrite: bool, progress: str) -> None:
    """Write a page on which viewers rate videos without knowing which method made them.

    Each FOLDER holds the videos of a METHOD. Videos of the same name show the same clip, and every method needs all
    clips. The page is one file that works offline: give it to the viewers. Each viewer sees the videos in an order of
    their own, rates each from 0 to 10 for realism and for how well it fits the audio, and saves a file of answers,
    which you collect. Keep PAGE.key.json, which tells what the videos are, to yourself.

    \b
    thgen study make ours=made/ theirs=other/ real=clips/ -o study.html
    """
    from thcli.evaluation.study.make import make_study

    folders = _folders(methods)
    with show_progress(progress, unit="videos") as display:

        def report(done: int, total: int) -> None:
            if done == 1:
                display.stage("videos", total)
            display.advance(1)

        made = make_study(folders, output, title, seed=seed, overwrite=overwrite, progress=report)
    for text in made.notes:
        note(text)
    counts = f"methods: {made.methods}, clips: {made.clips}, videos: {made.methods * made.clips}"
    click.echo(f"{made.page}: for the viewers ({counts})", err=True)
    click.echo(f"{made.key}: keep it to yourself; 'thgen study score' needs it", err=True)


def _folders(methods: tuple[str, ...]) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for text in methods:
        name, equals, folder = text.partition("=")
        if not (name.strip() and equals and folder):
            raise click.UsageError(f"{text!r}: expected METHOD=FOLDER, such as ours=made/.")
        if name.strip() in folders:
            raise click.UsageError(f"The method {name.strip()!r} is given twice.")
        folders[name.strip()] = Path(folder)
    return folders


@command.command("score", short_help="Compute means, spread and paired tests of the ratings.")
@click.argument("key", type=options.PATH, metavar="KEY.json")
@click.argument("answers", nargs=-1, required=True, type=options.PATH, metavar="ANSWERS.json…")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True,
              help="What to print on standard output.")  # fmt: skip
@click.option("-o", "--output", type=options.PATH, metavar="FILE", help="Also write a .csv, .json or .md file.")
@options.overwrite
@options.debug
def score_answers(key: Path, answers: tuple[Path, ...], kind: str, output: Path | None, overwrite: bool) -> None:
    """Compute means, spread and paired tests of the ratings in the files that viewers saved.

    Ratings are first averaged over each viewer's clips, so that every viewer has the same weight however many ratings
    they gave. Every two methods are compared by Wilcoxon's signed-rank test over viewers, with Holm's correction.

    \b
    thgen study score study.key.json answers_*.json
    thgen study score study.key.json answers_*.json -o scores.csv
    """
    from thcli.evaluation.study.answers import missing, read_answers
    from thcli.evaluation.study.key import read_key
    from thcli.evaluation.study.scoring import score

    check_output(output, SUFFIXES, overwrite)
    study = read_key(key)
    read = read_answers(answers, study)
    result = score(study, read, missing(read, study))
    for text in result.notes:
        note(text)
    _show(result, kind, output)


def _show(result: Result, kind: str, output: Path | None) -> None:
    from thcli.evaluation.study.report import markdown, sheets, to_csv, to_json

    written: dict[str, Callable[[], str]] = {
        "table": lambda: "\n".join(table(sheet, names=2) for sheet in sheets(result) if sheet.cells),
        "markdown": lambda: markdown(result),
        "json": lambda: to_json(result),
        "csv": lambda: to_csv(result),
    }
    deliver(written, kind, output, SUFFIXES)
