"""``thgen``: the group of all commands. A command's module is imported when it is called, to keep ``--help`` fast."""

from __future__ import annotations

import atexit
import gc
import sys
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from thcli.commands.defaults import META, read_defaults
from thcli.commands.failures import USAGE, Failure, failure_of
from thcli.commands.options import PATH
from thcli.signals import stopped_by_signals
from thcli.version import __version__

COMMANDS = {
    "generate": "Make a video of the person in a clip or photo, speaking the words of a recording.",
    "dub": "Give a video new words: all stays as filmed, but the lips follow a new recording.",
    "batch": "Make one video per line of a list; networks are loaded once, and each clip is tracked once.",
    "demo": "Make a talking video from a public-domain portrait.",
    "inspect": "Measure face, motion and speech of a clip, and advise on its use as a reference.",
    "evaluate": "Compare videos with the real ones, beside the figures of the real videos and of trivial baselines.",
    "study": "Let viewers rate videos of several methods, and evaluate their answers.",
    "preprocess": "Turn clips into training data, or write their landmarks, poses, meshes or audio features.",
    "train": "Train the networks on preprocessed clips.",
    "export": "Write all networks as ONNX files, each compared with PyTorch on random input.",
    "weights": "List, show and verify the files of the networks, and add your own.",
    "doctor": "Check whether thgen works on this machine, and how to repair it; or show what a VIDEO was made from.",
    "completion": "Print a script that lets a shell complete commands, options, their values, and file names.",
}
"""One-line help of each command by its name, which is also the name of its module."""


atexit.register(gc.freeze)  # else a process that ends searches for half a second what it is about to give back


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and turns errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"thcli.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is called, with its default options in place."""
        name, command, rest = super().resolve_command(ctx, args)
        if name and command and META in ctx.meta:
            ctx.default_map = {name: ctx.meta[META].map_of(name, command)}
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete command names from ``COMMANDS``, because importing all commands would make completion slow."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs |= {"standalone_mode": False, "prog_name": "thgen"}
        if isinstance(sys.stdout, TextIOWrapper):
            # File names may hold bytes that are no text, and terminals may lack Greek letters.
            sys.stdout.reconfigure(errors="backslashreplace")
        with stopped_by_signals():
            try:
                code = super().main(*args, **kwargs)
            except (Exception, KeyboardInterrupt) as error:
                failure = failure_of(error)
                _say(failure)
                code = failure.exit_code
        raise SystemExit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader has closed our standard output, as `head` does; end quietly with the shell's code for SIGPIPE.
            return _abandon_stdout()
        except (Exception, KeyboardInterrupt) as error:
            if ctx.meta.get("thgen.debug"):
                import traceback

                click.echo(traceback.format_exc(), err=True, nl=False)
            failure = failure_of(error)
            if failure.exit_code == USAGE and META in ctx.meta and ctx.invoked_subcommand:
                failure = Failure(ctx.meta[META].traced(ctx.invoked_subcommand, failure.message), USAGE)
            raise failure from error


def _abandon_stdout() -> int:
    """Redirect standard output to the null device, and return the exit code for a closed pipe."""
    import os
    import sys

    # The interpreter flushes standard output at its end, and would print an error for the closed pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _say(failure: Failure) -> None:
    if failure.message:
        with suppress(OSError):  # the terminal may be closed
            click.echo(f"thgen: {failure.message}", err=True)


def _use_defaults(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is not None and not ctx.resilient_parsing:
        ctx.meta[META] = read_defaults(path, COMMANDS)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="thgen", message="%(prog)s %(version)s")
@click.option(
    "--defaults",
    type=PATH,
    metavar="FILE.yaml",
    envvar="THGEN_DEFAULTS",
    show_envvar=True,
    expose_value=False,
    callback=_use_defaults,
    help="Take options that are not given from this file; stands before the command.",
)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Make a talking-head video from a clip of about three seconds or a photo of a person, and any speech recording.

    \b
    thgen generate --ref clip.mp4 --audio speech.wav -o out.mp4
    thgen generate --ref photo.jpg --audio speech.mp3
    thgen demo
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
