"""Help texts have examples that can be run, shells complete commands, and ``weights`` and ``export`` work."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from thcli import checkpoints
from thcli.checkpoints import SHIPPED
from thcli.commands import main as group
from thcli.commands.completion import SHELLS, VARIABLE
from thcli.commands.main import COMMANDS, main
from thcli.weights import adding, catalogue


def commands():
    """Yield every command after its words, such as ("weights", "list")."""
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        yield (name,), command
        if isinstance(command, click.Group):
            yield from (((name, sub), command.commands[sub]) for sub in command.commands)


def examples(command):
    """List the example lines of a command's help."""
    lines = [line.strip() for line in (command.help or "").splitlines()]
    return [line for line in lines if line.startswith(("thgen ", "torchrun ", "eval "))]


@pytest.mark.parametrize(
    ("words", "command"), list(commands()), ids=lambda value: "-".join(value) if type(value) is tuple else ""
)
def test_help_begins_with_a_sentence_and_has_examples(words, command):
    first = (command.help or "").strip().split("\n\n")[0]
    assert re.match(r"[A-Z].*\.$", " ".join(first.split())), first
    assert examples(command)


def test_help_examples_are_accepted_by_their_commands():
    """Options, their values and arguments are parsed; the files that they name are not there."""
    lines = [line for _, command in [((), main), *commands()] for line in examples(command)]
    assert len(lines) > 30
    for line in lines:
        words = shlex.split(re.sub(r"^torchrun .* -m thcli|^eval \"\$\((.*)\)\"", r"thgen \1", line).split(" | ")[0])
        words = [word for word in words if word != "thgen"] if words[1:2] == ["thgen"] else words[1:]
        command, context = main, click.Context(main, info_name="thgen")
        while isinstance(command, click.Group):
            command = command.get_command(context, words.pop(0))
            assert command is not None, line
        command.make_context(command.name, words, parent=context)


@pytest.fixture
def complete():
    """complete(words, incomplete) returns what click offers."""

    def ask(words, incomplete):
        return ShellComplete(main, {}, "thgen", VARIABLE).get_completions(list(words), incomplete)

    return ask


@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        ([], "gen", ["generate"]),
        ([], "we", ["weights"]),
        ([], "--v", ["--version"]),
        (["generate"], "--ref", ["--ref", "--references"]),
        (["generate", "--renderer"], "", ["network", "warp"]),
        (["generate", "--size"], "s", ["source"]),
        (["generate", "--motion"], "st", ["still"]),
        (["train"], "mo", ["mouth-interior", "motion"]),
        (["weights"], "", ["add", "list", "show", "verify"]),
        (["weights", "show"], "gen", ["generator.safetensors"]),
        (["completion"], "", list(SHELLS)),
    ],
)
def test_completion_offers_commands_options_and_values(complete, words, incomplete, offered):
    assert sorted(item.value for item in complete(words, incomplete)) == sorted(offered)


@pytest.mark.parametrize(
    ("words", "incomplete"),
    [
        (["generate", "--ref"], "cl"),
        (["generate", "--motion"], "curves"),
        (["generate", "--expression"], "o"),
        (["doctor"], "out"),
        (["inspect"], ""),
    ],
)
def test_completion_leaves_file_names_to_the_shell(complete, words, incomplete):
    assert [item.type for item in complete(words, incomplete)] == ["file"]


def test_completion_imports_no_command():
    check = (
        "import sys, os; os.environ.update(COMP_WORDS='thgen g', COMP_CWORD='1', _THGEN_COMPLETE='bash_complete');"
        "from thcli.commands.main import main\n"
        "try: main()\n"
        "except SystemExit: print(*(m for m in sys.modules if m in ('numpy', 'torch', 'thcli.commands.generate')))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["plain,generate"]


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_prints_a_script_that_its_shell_accepts(thgen, shell):
    said = thgen("completion", shell)
    assert (said.code, said.err) == (0, "")
    assert "thgen" in said.out and f"{shell}_complete" in said.out
    binary = shutil.which(shell)
    if binary is not None:  # The shell itself parses it.
        subprocess.run([binary, "-n", "/dev/stdin"], input=said.out, text=True, check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_script_completes_in_bash(thgen, folder):
    program = folder / "thgen"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m thcli "$@"\n')
    program.chmod(0o755)
    (folder / "clip one.mp4").touch()
    script = thgen("completion", "bash").out
    for words in ("thgen generate --rend", "thgen generate --renderer w"):
        script += f"COMPREPLY=(); COMP_WORDS=({words}); COMP_CWORD={words.count(' ')}\n"
        script += '_thgen_completion thgen; echo "${COMPREPLY[@]}"\n'
    done = subprocess.run(
        ["bash", "--norc"],
        input=script,
        text=True,
        capture_output=True,
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        check=True,
    )
    assert done.stdout.splitlines() == ["--renderer", "warp"], done.stderr


@pytest.fixture
def user(tmp_path, monkeypatch):
    """Name the user's folder of weights, which does not exist yet."""
    folder = tmp_path / "cache" / "models"
    for module in (checkpoints, catalogue, adding):
        monkeypatch.setattr(module, "user_folder", lambda: folder)
    return folder


def test_weights_alone_shows_its_help(thgen):
    said = thgen("weights")
    assert (said.code, said.err, said.out) == (0, "", thgen("weights", "--help").out)
    assert "..." not in said.out.split("Commands:")[1]  # No summary is cut off.


def test_weights_list_shows_every_entry(thgen, user):
    said = thgen("weights", "list")
    assert (said.code, said.err) == (0, "")
    heading, *rows = said.out.splitlines()
    assert heading.split() == ["file", "network", "MiB", "SHA-256", "licence", "found"]
    assert [row.split()[0] for row in rows] == [entry.name for entry in catalogue.ENTRIES]
    assert all("shipped: " in row and "research use" in row for row in rows[:9])


def test_weights_show_prints_a_file_with_its_card(thgen, user):
    said = thgen("weights", "show", "head_motion")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("file       ") and 'stage      "head_motion"' in said.out and "dims " in said.out
    assert "# head_motion.safetensors" in said.out
    said = thgen("weights", "show", "syncnet")
    assert (said.code, said.err) == (5, "thgen: error: syncnet.onnx: not there; add it with 'thgen weights add'\n")
    assert thgen("weights", "show", "vgg").code == 2


def test_weights_verify_names_files_that_are_not_as_listed(thgen, user):
    said = thgen("weights", "verify")
    assert (said.code, said.err) == (0, "")
    assert all(line.endswith(": ok") for line in said.out.splitlines()) and len(said.out.splitlines()) == len(SHIPPED)
    user.mkdir(parents=True)
    (user / "SHA256SUMS").write_text(f"{'0' * 64}  syncnet.onnx\n")
    said = thgen("weights", "verify")
    assert (said.code, said.out.splitlines()[-1]) == (5, f"{user / 'syncnet.onnx'}: missing")
    assert said.err == "thgen: error: 1 file is not as listed; get them again, or reinstall thgen\n"


def test_weights_add_copies_a_file_that_is_then_used(thgen, user):
    phi = checkpoints.shipped_weights() / "head_motion.safetensors"
    said = thgen("weights", "add", phi)
    assert (said.code, said.out, said.err) == (0, "", f"{user / phi.name}: added\n")
    assert f"yours: {user / phi.name}" in thgen("weights", "list").out
    assert checkpoints.find_weights(phi.name) == user / phi.name
    said = thgen("weights", "add", phi, "--sha256", "00", "--overwrite")
    assert said.code == 5 and said.err.count("\n") == 1


def test_export_prints_a_line_for_each_file(thgen, folder, monkeypatch):
    from thcli.export import run

    def exported(target, models, overwrite):
        assert (target, models.weights, models.device, overwrite) == (Path("onnx"), None, "cpu", False)
        return [run.Exported("a.onnx", "00", "Ψ", ("a.safetensors", "11"), False, {}, {}, 3e-7)]

    monkeypatch.setattr(run, "export_all", exported)
    said = thgen("export", "--onnx", "onnx")
    assert (said.code, said.out) == (0, "onnx/a.onnx: Ψ, converted; differs from PyTorch by 3e-07\n")
    assert thgen("export").err == "thgen: error: Missing option '--onnx'. See 'thgen export --help'.\n"
    assert group.COMMANDS["export"].startswith("Write all networks")
