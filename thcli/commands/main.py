"""``thgen``: the group of all commands. A command's module is imported when it is called, so ``--help`` is quick."""

from __future__ import annotations

import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from thcli import __version__
from thcli.commands.failures import Failure, failure_of

COMMANDS = {
    "generate": "Make a talking video of the person in a clip or photo, saying what a recording says.",
    "batch": "Make many videos: of each line of a list, with networks loaded once and each clip tracked once.",
    "demo": "Make a talking video from a public-domain portrait.",
    "inspect": "Show what a clip holds: the face, its motion, the speech, and what a reference should have.",
    "evaluate": "Measure videos against the real ones, beside the real ones' own figures and trivial baselines.",
    "study": "Let viewers rate videos of several methods, and see what their answers come to.",
    "preprocess": "Turn clips into training data, or write their landmarks, poses, meshes or audio features.",
    "train": "Train the networks on preprocessed clips.",
    "export": "Write all networks as ONNX files, each compared with PyTorch on random input.",
    "weights": "List, show and verify the files of the networks, and add your own.",
    "doctor": "Look whether thgen works here and say what to do where it does not; or say what a VIDEO was made from.",
    "completion": "Print a script that lets a shell complete commands, options, their values, and file names.",
}
"""Name of the command, which is also its module's, and its one-line help."""


class LazyGroup(click.Group):
    """Imports a command when it is asked for, and turns errors into one line and an exit code (DESIGN.md §6)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"thcli.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names from the table above: importing all commands would keep whoever pressed the key waiting."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs |= {"standalone_mode": False, "prog_name": "thgen"}
        if isinstance(sys.stdout, TextIOWrapper):
            # names of files need not be text, and a terminal need not know Greek
            sys.stdout.reconfigure(errors="backslashreplace")
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
            # Whoever read our output has closed it, as `head` does. Nothing more to say: the shell's code for SIGPIPE.
            return _abandon_stdout()
        except (Exception, KeyboardInterrupt) as error:
            if ctx.meta.get("thgen.debug"):
                import traceback

                click.echo(traceback.format_exc(), err=True, nl=False)
            raise failure_of(error) from error


def _abandon_stdout() -> int:
    import os
    import sys

    # The interpreter flushes standard output when it ends; without this it would complain there.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _say(failure: Failure) -> None:
    if failure.message:
        click.echo(f"thgen: {failure.message}", err=True)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="thgen", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Talking-head video from about three seconds of a person, or one photo, and any speech recording.

    \b
    thgen generate --ref clip.mp4 --audio speech.wav -o out.mp4
    thgen generate --ref photo.jpg --audio speech.mp3
    thgen demo
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
