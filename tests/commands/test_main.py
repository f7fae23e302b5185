"""The group ``thgen`` shows help without slow imports, and turns errors into one line and an exit code."""

from __future__ import annotations

import errno
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from thcli.commands import main as group
from thcli.commands import options
from thcli.commands.failures import failure_of
from thcli.errors import DeviceError, MediaError, NoFaceError, UsageError, WeightsError
from thcli.signals import Stopped
from thcli.version import __version__


def test_thgen_help_lists_every_command(thgen):
    said = thgen("--help")
    assert (said.code, said.err) == (0, "")
    assert all(f"  {name} " in said.out for name in group.COMMANDS)


def test_thgen_without_arguments_shows_its_help(thgen):
    assert thgen().out == thgen("--help").out


def test_thgen_version_is_that_of_the_package(thgen):
    assert thgen("--version").out == f"thgen {__version__}\n"


@pytest.mark.parametrize("name", group.COMMANDS)
def test_command_help_shows_usage_and_summary(thgen, name):
    said = thgen(name, "--help")
    assert (said.code, said.err) == (0, "")
    assert " ".join(said.out.split()).startswith(f"Usage: thgen {name} ")
    assert group.COMMANDS[name] in " ".join(said.out.split())


@pytest.mark.parametrize("name", group.COMMANDS)
def test_command_options_have_help(name):
    command = group.main.get_command(click.Context(group.main), name)
    assert all(param.help for param in command.params if isinstance(param, click.Option))


def test_thgen_help_imports_nothing_slow():
    check = (
        "import sys; from click.testing import CliRunner; from thcli.commands.main import main; "
        "CliRunner().invoke(main, ['--help']); "
        "print(*{'numpy', 'torch', 'scipy', 'onnxruntime', 'rich', 'thcli.commands.generate'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_python_m_thcli_runs_thgen():
    done = subprocess.run([sys.executable, "-m", "thcli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"thgen {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generat"], "No such command 'generat'."),
        (["generate", "--ref", "a.mp4"], "Missing option '--audio'. See 'thgen generate --help'."),
        (["generate", "--ref", "a", "--audio", "b", "--silence", "open"], "Invalid value for '--silence': 'open'"),
        (["generate", "--ref", "a", "--audio", "b", "--references", "0"], "0 is not in the range 1<=x<=32."),
        (["generate", "--ref", "a", "--audio", "b", "--seed", "x"], "'x' is not a valid integer."),
        (["train", "everything", "--data", "a", "--out", "b"], "'everything' is not one of 'face-model'"),
    ],
)
def test_thgen_refuses_wrong_use_in_one_line_with_code_2(thgen, arguments, message):
    said = thgen(*arguments)
    assert (said.code, said.out, said.new) == (2, "", ())
    assert said.err.startswith("thgen: error: ")
    assert message in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("a"), 2, "error: a"),
        (MediaError("a.mp4: broken;\n copy it again"), 3, "error: a.mp4: broken; copy it again"),
        (NoFaceError("a"), 4, "error: a"),
        (WeightsError("a"), 5, "error: a"),
        (DeviceError("a"), 6, "error: a"),
        (MemoryError(), 6, "error: out of memory; use a shorter or smaller clip, or --device cpu"),
        (
            OSError(errno.ENOSPC, "No space left on device", "out.mp4"),
            3,
            "error: out.mp4: no space left on the disk; free some, or write elsewhere",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "out.mp4"),
            3,
            "error: out.mp4: not allowed (Permission denied); check the permissions, or write elsewhere",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            ZeroDivisionError("division by zero"),
            1,
            "error: a bug in thgen (ZeroDivisionError: division by zero); please report it with what --debug prints",
        ),
    ],
)
def test_failure_of_gives_every_error_a_line_and_a_code(error, code, message):
    failure = failure_of(error)
    assert (failure.exit_code, failure.message) == (code, message)


@pytest.fixture
def failing(monkeypatch):
    """Make every command raise the error that is put into the list."""
    errors = []

    @click.command()
    @options.debug
    def command():
        raise errors[0]

    monkeypatch.setattr(group.LazyGroup, "get_command", lambda self, ctx, name: command)
    return errors


def test_thgen_prints_a_traceback_only_with_debug(failing):
    failing.append(ZeroDivisionError("why"))
    plain, debug = CliRunner().invoke(group.main, ["fail"]), CliRunner().invoke(group.main, ["fail", "--debug"])
    assert (plain.exit_code, debug.exit_code) == (1, 1)
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr and debug.stderr.endswith(plain.stderr)


def test_thgen_ends_with_130_when_interrupted(failing):
    failing.append(KeyboardInterrupt())
    result = CliRunner().invoke(group.main, ["fail"])
    assert (result.exit_code, result.stderr) == (130, "thgen: interrupted\n")


def test_thgen_ends_quietly_when_its_reader_closes_the_pipe():
    script = "import sys; from thcli.commands.main import main; sys.argv = ['thgen', 'generate', '--help']; main()"
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=reader.stdin, stderr=subprocess.PIPE, text=True, check=False
    )
    reader.stdin.close()
    assert (done.returncode, done.stderr) == (141, "")


def test_failure_of_names_the_signal_also_where_the_cleaning_up_failed():
    try:
        try:
            raise Stopped(1)
        finally:
            raise OSError(errno.EIO, "Input/output error")
    except OSError as error:
        failure = failure_of(error)
    assert (failure.message, failure.exit_code) == ("stopped by SIGHUP", 129)
