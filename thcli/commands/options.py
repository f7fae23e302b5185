"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem
from click.types import StringParamType

Decorator = Callable[[Any], Any]

PATH = click.Path(path_type=Path)
TRACKERS = click.Choice(["builtin", "mediapipe", "face-alignment"])


class WordOrFile(StringParamType):
    """The type of an option that takes one of some words, or the name of a file."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        fitting = [CompletionItem(word) for word in self.words if word.startswith(incomplete)]
        return fitting or [CompletionItem(incomplete, type="file")]


tracker: Decorator = click.option(
    "--tracker", type=TRACKERS, default="builtin", show_default=True, help="What finds and tracks the face."
)
weights: Decorator = click.option("--weights", type=PATH, metavar="DIR", help="Look for weights in this folder first.")
device: Decorator = click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]|mps", help="Where the networks run."
)
workers: Decorator = click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes that render on a CPU; the video is the same for any number.  [default: one on each core, up to 8]",
)
overwrite: Decorator = click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
mesh: Decorator = click.option(
    "--mesh", type=PATH, metavar="OUT.glb", help="Also write the face as an animated 3D file, for Blender and engines."
)
report: Decorator = click.option(
    "--report",
    type=PATH,
    metavar="REPORT.html|.json",
    help="Also measure the finished video: figures, curves and warnings, as a page or as data.",
)
sign: Decorator = click.option(
    "--sign", type=PATH, metavar="CERT.pem", help="Sign the video with this certificate (C2PA); --key is its key."
)
key: Decorator = click.option("--key", type=PATH, metavar="KEY.pem", help="Private key of --sign, without a password.")
dry_run: Decorator = click.option(
    "--dry-run", is_flag=True, help="Check everything, and print what would be done and about how long it takes."
)
progress: Decorator = click.option(
    "--progress",
    type=click.Choice(["auto", "bar", "json", "none"]),
    default="auto",
    show_default=True,
    help="Display of progress on standard error. auto: a bar on a terminal, plain lines on one without colours, else "
    "none.",
)


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.find_root().meta["thgen.debug"] = value


debug: Decorator = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_remember_debug,
    help="Print the traceback of an error.",
)
