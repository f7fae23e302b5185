"""Commands write escape codes only to terminals that know them and whose users want colours."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading

import pytest

PROGRAM = """
import sys
from thcli.commands.progress import show_progress
from thcli.commands.tables import table
from thcli.evaluation.table import Sheet
with show_progress(sys.argv[1]) as display:
    display.stage("track", 3)
    display.advance(3)
    display.stage("draw", None)
    display.advance(5)
print(table(Sheet(("a", "b"), (("x", "1"),), ("remark",))))
"""


def on_a_terminal(kind: str, **environment: str) -> str:
    """Run the program on a terminal, and return what it wrote to both streams."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", "FORCE_COLOR")}
    got = bytearray()

    def read() -> None:
        try:
            while block := os.read(ours, 4096):
                got.extend(block)
        except OSError:  # The other end is closed.
            pass

    reader = threading.Thread(target=read)
    reader.start()
    command = [sys.executable, "-c", PROGRAM, kind]
    subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs, env={**kept, **environment}, check=True)
    os.close(theirs)
    reader.join(10)
    os.close(ours)
    return got.decode()


def test_terminal_gets_a_bar_with_colours():
    said = on_a_terminal("auto", TERM="xterm-256color")
    assert "\x1b[" in said and "m" in said and "3/3" in said


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1", "TERM": "xterm-256color"}, {"TERM": "dumb"}])
def test_terminal_gets_no_escape_codes_where_they_are_not_wanted(environment):
    said = on_a_terminal("auto", **environment)
    assert "\x1b" not in said
    lines = said.splitlines()
    assert lines[0].startswith("track: 3 frames, ") and lines[1].startswith("draw: 5 frames, ")
    assert "remark" in said


def test_terminal_gets_escape_codes_where_no_color_is_empty():
    assert "\x1b[" in on_a_terminal("auto", TERM="xterm", NO_COLOR="")


@pytest.mark.parametrize("kind", ["auto", "bar", "json", "none"])
def test_pipe_gets_no_escape_codes(kind):
    kept = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind], env={**kept, "TERM": "xterm-256color"}, capture_output=True, check=True
    )
    assert b"\x1b" not in done.stdout + done.stderr
    assert (b"track" in done.stderr) == (kind in ("bar", "json"))
