"""Printing of tables and data, and writing of them to a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from thcli.commands.terminal import without_codes

if TYPE_CHECKING:
    from thcli.evaluation.table import Sheet

GAP = 2
"""Spaces between two columns."""


def check_output(output: Path | None, suffixes: Mapping[str, str], overwrite: bool) -> None:
    """Raise UsageError or MediaError, before the work, where the output file cannot be written.

    suffixes: allowed suffixes of the file, each with its format
    """
    from thcli.errors import MediaError, UsageError

    if output is None:
        return
    if output.suffix.lower() not in suffixes:
        raise UsageError(f"{output}: expected a name that ends in {', '.join(suffixes)}, which says what to write")
    if output.exists() and not overwrite:
        raise UsageError(f"{output}: exists already; add --overwrite, or name another file with -o")
    if not output.parent.is_dir():
        raise MediaError(f"{output.parent}: no such folder to write {output.name} to; make it first")


def deliver(
    written: Mapping[str, Callable[[], str]], kind: str, output: Path | None, suffixes: Mapping[str, str]
) -> None:
    """Print the text of one format, and write the text of the format that the output's suffix names.

    written: function that makes the text, for each format
    kind: format that is printed
    suffixes: format for each suffix
    """
    from thcli.checkpoints import write_atomic

    # color=True, because rich has already left out styles where they are not wanted; click would also drop wanted ones.
    click.echo(written[kind](), nl=False, color=True)
    if output is not None:
        write_atomic(output, written[suffixes[output.suffix.lower()]]().encode())
        click.echo(f"{output}: written", err=True)


def note(text: str) -> None:
    """Print a note for readers of the figures on standard error."""
    click.echo(f"thgen: note: {text}", err=True)


def table(sheet: Sheet, names: int = 1) -> str:
    """Return a sheet as text: for a terminal in blocks of its width, elsewhere in one block without colours and lines.

    names: number of columns, from the left, that name a row
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, color_system=None if without_codes() else "auto")
    plain = not console.is_terminal
    if plain:
        console = Console(highlight=False, width=10_000)
    widths = _widths(sheet)
    with console.capture() as captured:
        for columns in [range(len(widths))] if plain else _blocks(widths, console.width):
            # rich adds one character between columns where it draws lines
            rule, gap = (None, GAP) if plain else (box.SIMPLE_HEAD, GAP - 1)
            table = Table(box=rule, padding=(0, gap, 0, 0), pad_edge=False, show_edge=False)
            for i in columns:
                heading = Text(sheet.headings[i], style="bold")
                table.add_column(heading, justify="left" if i < names else "right", min_width=widths[i], no_wrap=plain)
            for cells in sheet.cells:
                table.add_row(*(Text(cells[i]) for i in columns))
            console.print(table, "" if columns[-1] + 1 == len(widths) else "\n")
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join([*lines, *sheet.remarks, ""])


def _widths(sheet: Sheet) -> list[int]:
    """Return the smallest widths of the columns, in characters.

    Headings may be broken between words, except the first one.
    """
    columns = list(zip(*sheet.cells, strict=True))
    words = [[sheet.headings[0]], *(heading.split() for heading in sheet.headings[1:])]
    return [max(len(text) for text in (*heading, *cells)) for heading, cells in zip(words, columns, strict=True)]


def _blocks(widths: Sequence[int], width: int) -> list[list[int]]:
    """Return blocks of columns that fit into ``width`` characters; every block begins with the first column."""
    blocks = [[0]]
    for i in range(1, len(widths)):
        if len(blocks[-1]) > 1 and sum(widths[j] + GAP for j in [*blocks[-1], i]) > width:
            blocks.append([0])
        blocks[-1].append(i)
    return blocks
