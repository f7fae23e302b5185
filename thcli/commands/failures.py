"""Messages and exit codes of exceptions; ``docs/inputs.md`` lists the exit codes."""

from __future__ import annotations

import errno
import signal

import click

from thcli.errors import ThgenError
from thcli.signals import Stopped

BUG, USAGE, MEDIA, DEVICE, SOME_FAILED, INTERRUPTED = 1, 2, 3, 6, 7, 130
BY_SIGNAL = 128
"""Number that is added to a signal's number to give the exit code, as in shells."""


class Failure(Exception):
    """The failed end of a command.

    message: line for standard error, without the leading ``thgen:``; empty where nothing is printed
    exit_code: exit code of the process
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.message, self.exit_code = message, exit_code


def failure_of(error: BaseException) -> Failure:
    """Return the message and the exit code for an exception."""
    if isinstance(error, Failure):
        return error
    if stopped := _stopped(error):
        return Failure(f"stopped by {signal.Signals(stopped.number).name}", BY_SIGNAL + stopped.number)
    if isinstance(error, click.exceptions.Exit):
        return Failure("", error.exit_code)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Failure("interrupted", INTERRUPTED)
    if isinstance(error, click.UsageError):
        return Failure(f"error: {_usage(error)}", USAGE)
    if isinstance(error, click.ClickException):
        return Failure(f"error: {_one_line(error.format_message())}", error.exit_code)
    if isinstance(error, ThgenError):
        return Failure(f"error: {_one_line(str(error))}", error.exit_code)
    if isinstance(error, OSError):
        return Failure(f"error: {_operating_system(error)}", MEDIA)
    # PyTorch's out-of-memory error is recognised by its name, because importing torch for its class takes seconds.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Failure("error: out of memory; use a shorter or smaller clip, or --device cpu", DEVICE)
    return Failure(
        f"error: a bug in thgen ({type(error).__name__}: {_one_line(str(error))}); "
        "please report it with what --debug prints",
        BUG,
    )


def _stopped(error: BaseException | None) -> Stopped | None:
    """Return the signal that an error comes from, also where cleaning up after it failed; None for any other error."""
    while error is not None and not isinstance(error, Stopped):
        error = error.__context__
    return error


def _usage(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "thgen"
    return f"{_one_line(error.format_message())} See '{path} --help'."


def _operating_system(error: OSError) -> str:
    name = error.filename if error.filename is not None else "output"
    if error.errno == errno.ENOSPC:
        return f"{name}: no space left on the disk; free some, or write elsewhere"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{name}: not allowed ({error.strerror}); check the permissions, or write elsewhere"
    return f"{name}: {error.strerror or _one_line(str(error))}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
