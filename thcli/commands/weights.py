"""``thgen weights``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from thcli.commands import options
from thcli.commands.failures import Failure
from thcli.commands.tables import table
from thcli.errors import WeightsError

if TYPE_CHECKING:
    from thcli.weights.catalogue import Entry, File


def _complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from thcli.weights.catalogue import ENTRIES

    return [CompletionItem(e.name, help=e.network) for e in ENTRIES if e.name.startswith(incomplete)]


@click.group("weights", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, show and verify the files of the networks, and add your own.

    Files that you add are copied to your own folder (~/.cache/thgen/models, or below XDG_CACHE_HOME), which is searched
    before the shipped files; a folder given by --weights is searched before both. Delete a file from your own folder
    to use the shipped one again.

    \b
    thgen weights list
    thgen weights show expression
    thgen weights verify
    thgen weights add runs/motion/head_motion.safetensors
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command.command("list")
@options.weights
@options.debug
def list_weights(weights: Path | None) -> None:
    """List every file that thgen can use.

    A line shows the file's network, size, SHA-256 and licence, and where it was found.

    \b
    thgen weights list
    thgen weights list --weights runs/motion
    """
    from thcli.evaluation.table import EMPTY, Sheet
    from thcli.weights.catalogue import ENTRIES, find

    headings = ("file", "network", "MiB", "SHA-256", "licence", "found")
    rows = []
    for entry in ENTRIES:
        file = find(entry, weights)
        rows.append((entry.name, entry.network, *([EMPTY] * 4 if file is None else _cells(file))))
    click.echo(table(Sheet(headings, tuple(rows), ()), names=len(headings)).rstrip(), color=True)


def _cells(file: File) -> list[str]:
    found = f"{file.place}: {file.path}" if not file.fault else f"{file.place}: {file.path}, {file.fault}"
    return [f"{file.size / (1 << 20):.1f}", file.sha256[:12], file.licence, found]


@command.command("show")
@click.argument("name", shell_complete=_complete_name)
@options.weights
@options.debug
def show(name: str, weights: Path | None) -> None:
    """Show a file's card and header.

    NAME is the name of a file, with or without its suffix. The header of a checkpoint tells the sizes of its network,
    its training steps, data and figures.

    \b
    thgen weights show expression
    thgen weights show generator
    """
    from thcli.weights.catalogue import card_of, entry_of, find, header_of

    entry = entry_of(name)
    file = find(entry, weights)
    if file is None:
        raise WeightsError(f"{entry.name}: not there; add it with 'thgen weights add'")
    click.echo(_lines(entry, file))
    header = header_of(file.path)
    if header is not None:
        click.echo("\n".join(f"{key:<10} {json.dumps(value, ensure_ascii=False)}" for key, value in header.items()))
    card = card_of(file.path)
    if card:
        click.echo(f"\n{card}", nl=False)
    if file.fault:
        raise WeightsError(f"{file.path}: {file.fault}; get the file again")


def _lines(entry: Entry, file: File) -> str:
    size = f"{file.size / (1 << 20):.1f} MiB"
    return "\n".join(
        [
            f"file       {file.path} ({file.place}, {size})",
            f"network    {entry.network}",
            f"sha256     {file.sha256}",
            f"licence    {file.licence}",
        ]
    )


@command.command("verify")
@click.argument("folder", type=options.PATH, required=False)
@options.debug
def verify(folder: Path | None) -> None:
    """Compare files with their listed SHA-256.

    The exit code is 5 where one differs. FOLDER holds files and their SHA256SUMS; without FOLDER, the shipped files
    and your own are verified.

    \b
    thgen weights verify
    thgen weights verify runs/motion
    """
    from thcli.checkpoints import shipped_weights, user_folder
    from thcli.weights.catalogue import verify_folder

    own = [user_folder()] if user_folder().is_dir() and any(user_folder().iterdir()) else []
    wrong = 0
    for each in [folder] if folder is not None else [shipped_weights(), *own]:
        for name, fault in verify_folder(each):
            click.echo(f"{each / name}: {fault or 'ok'}")
            wrong += bool(fault)
    if wrong:
        count = f"{wrong} {'file is' if wrong == 1 else 'files are'}"
        raise Failure(f"error: {count} not as listed; get them again, or reinstall thgen", WeightsError.exit_code)


@command.command("add")
@click.argument("files", type=options.PATH, nargs=-1, required=True, metavar="FILE…")
@click.option("--sha256", metavar="HEX", help="Expected SHA-256 of the one FILE.")
@options.overwrite
@options.debug
def add(files: tuple[Path, ...], sha256: str | None, overwrite: bool) -> None:
    """Copy files into your own folder.

    Your own files are used in place of those that ship. Each must have a name that `thgen weights list` shows, and is
    loaded once as it will be used: a file that holds no network of that kind is refused. A SHA256SUMS beside a file is
    checked.

    \b
    thgen weights add runs/motion/head_motion.safetensors
    thgen weights add identity.onnx --overwrite
    """
    from thcli.weights.adding import add_files

    for path in add_files(files, sha256, overwrite):
        click.echo(f"{path}: added", err=True)
