"""``thgen --defaults FILE.yaml``: options of any command from a file, below those of the command line."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from thcli.commands import generate
from thcli.commands import main as group
from thcli.doctor import installation, self_test
from thcli.doctor.check import Check


@pytest.fixture
def defaults(folder):
    """defaults(text, name="studio.yaml"): a file of default options."""

    def write(text: str, name: str = "studio.yaml") -> Path:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
        return Path(name)

    return write


@pytest.fixture
def taken(monkeypatch):
    """Options that ``generate`` is called with; it does nothing."""
    found = {}
    monkeypatch.setattr(generate.command, "callback", lambda **given: found.update(given))
    return found


GENERATE = ("generate", "--ref", "a.mp4", "--audio", "b.wav")


def test_defaults_apply_where_the_command_line_gives_no_option(thgen, defaults, taken):
    defaults("generate: {seed: 7, size: 512, motion-scale: 0.5, overwrite: true, blink: none}")
    said = thgen("--defaults", "studio.yaml", *GENERATE, "--seed", 3)
    assert (said.code, said.out, said.err) == (0, "", "")
    given = {name: taken[name] for name in ("seed", "size", "motion_scale", "overwrite", "blink", "silence")}
    assert given == {
        "seed": 3, "size": "512", "motion_scale": 0.5, "overwrite": True, "blink": "none", "silence": "close",
    }  # fmt: skip


def test_defaults_hold_for_required_options_and_renamed_ones(thgen, defaults, taken):
    defaults("generate: {ref: ada.mp4, audio: '-', output: out.mp4}")
    assert thgen("--defaults", "studio.yaml", "generate").code == 0
    assert (taken["reference"], taken["audio"], taken["output"]) == (Path("ada.mp4"), Path("-"), Path("out.mp4"))


def test_paths_in_defaults_are_relative_to_their_file(thgen, defaults, taken, tmp_path):
    defaults(
        f"generate: {{sign: cert.pem, key: ../key.pem, motion: nod.csv, report: {tmp_path}/r.html}}", "keys/d.yaml"
    )
    assert thgen("--defaults", "keys/d.yaml", *GENERATE).code == 0
    assert (taken["sign"], taken["key"]) == (Path("keys/cert.pem"), Path("keys/../key.pem"))
    assert (taken["motion"], taken["expression"]) == ("keys/nod.csv", "audio")
    assert taken["report"] == tmp_path / "r.html"


def test_words_in_defaults_are_no_paths(thgen, defaults, taken):
    defaults("generate: {motion: still, expression: audio}", "keys/d.yaml")
    assert thgen("--defaults", "keys/d.yaml", *GENERATE).code == 0
    assert (taken["motion"], taken["expression"]) == ("still", "audio")


def test_the_variable_names_defaults_and_the_option_goes_before_it(thgen, defaults, taken, monkeypatch):
    monkeypatch.setenv("THGEN_DEFAULTS", str(defaults("generate: {seed: 7}")))
    defaults("generate: {seed: 8}", "other.yaml")
    for arguments, seed in (((), 7), (("--defaults", "other.yaml"), 8), (("--defaults", "/dev/null"), 0)):
        assert thgen(*arguments, *GENERATE).code == 0
        assert taken["seed"] == seed


def test_help_shows_the_defaults_in_use(thgen, defaults):
    defaults("study: {make: {title: Who is real}}")
    assert "[default: Who is real]" in thgen("--defaults", "studio.yaml", "study", "make", "--help").out


def test_every_command_takes_defaults_for_all_its_options(defaults):
    """Each option of each command is named in a file, with a value that it takes."""
    from thcli.commands.defaults import Defaults

    def values(command: click.Command) -> dict[str, object]:
        if isinstance(command, click.Group):
            return {name: values(inner) for name, inner in command.commands.items()}
        options = [option for option in command.params if isinstance(option, click.Option)]
        longs = {option: next(name for name in option.opts if name.startswith("--")) for option in options}
        return {longs[option].removeprefix("--"): value_for(option) for option in options}

    def value_for(option: click.Option) -> object:
        if option.is_flag:
            return True
        return option.type.choices[0] if isinstance(option.type, click.Choice) else 1

    for name in group.COMMANDS:
        command = group.main.get_command(click.Context(group.main), name)
        assert command is not None
        wanted = values(command)
        found = Defaults(Path("studio.yaml"), {name: wanted}).map_of(name, command)
        assert len(found) == len(wanted)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("generat: {seed: 7}", "unknown command 'generat'; did you mean 'generate'?"),
        ("generate: {sed: 7}", "generate: unknown option 'sed'; did you mean 'seed'?"),
        ("generate: {motion_scale: 1}", "generate: unknown option 'motion_scale'; did you mean 'motion-scale'?"),
        ("generate: {seed: often}", "generate: seed: 'often' is not a valid integer"),
        ("generate: {seed: 7.5}", "generate: seed: '7.5' is not a valid integer"),
        ("generate: {references: 0}", "generate: references: 0 is not in the range 1<=x<=32"),
        ("generate: {silence: shut}", "generate: silence: 'shut' is not one of 'close', 'ignore'"),
        ("generate: {blink: no}", "generate: blink: found true or false, expected text or a number; put a word such as "
         "'no' into quotes"),
        ("generate: {overwrite: please}", "generate: overwrite: found text, expected true or false"),
        ("generate: {seed: }", "generate: seed: found no value, expected text or a number"),
        ("generate: {seed: [7]}", "generate: seed: found a list, expected text or a number"),
        ("generate: {seed: 2020-01-02}", "generate: seed: found a date, expected text or a number"),
        ("generate: {weights: ''}", "generate: weights: '', expected the name of a file"),
        ('generate: {weights: "\\0"}', "generate: weights: '\\x00', expected the name of a file"),
        ("generate: 7", "generate: found a number, expected options such as 'seed: 7'"),
        ("[generate]", "found a list at the top, expected commands such as 'generate:'"),
        ("generate: {seed: 7", "not YAML (see line 1); expected lines such as 'generate: {seed: 7}'"),
        ("generate:\n\tseed: 7", "not YAML (see line 2); expected lines such as 'generate: {seed: 7}'"),
        ("generate: {seed: 2020-13-45}", "not YAML; expected lines such as 'generate: {seed: 7}'"),
        ("\x00", "not YAML; expected lines such as 'generate: {seed: 7}'"),
        ("[" * 999, "not YAML; expected lines such as 'generate: {seed: 7}'"),
    ],
)  # fmt: skip
def test_wrong_defaults_are_refused_in_one_line_with_code_2(thgen, defaults, text, message):
    defaults(text)
    thgen("--defaults", "studio.yaml", *GENERATE).refused(2, f"studio.yaml: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weights: {lst: {}}", "weights: unknown command 'lst'; did you mean 'list'?"),
        ("weights: {list: {weight: a}}", "weights: list: unknown option 'weight'; did you mean 'weights'?"),
    ],
)
def test_wrong_defaults_of_a_subcommand_are_refused(thgen, defaults, text, message):
    defaults(text)
    thgen("--defaults", "studio.yaml", "weights", "list").refused(2, f"studio.yaml: {message}")


def test_defaults_that_are_not_there_are_refused(thgen):
    expected = "expected a YAML file of default options"
    thgen("--defaults", "a.yaml", *GENERATE).refused(
        2, f"a.yaml: cannot be read (No such file or directory); {expected}"
    )
    thgen("--defaults", ".", *GENERATE).refused(2, f".: cannot be read (Is a directory); {expected}")


def test_a_value_that_a_command_itself_refuses_is_traced_to_the_file(thgen, defaults):
    defaults("generate: {blink: often}")
    message = "--blink often: expected reference, none, or seconds above 0 (studio.yaml sets --blink)"
    thgen("--defaults", "studio.yaml", *GENERATE).refused(2, message)
    assert "studio.yaml" not in thgen("--defaults", "studio.yaml", *GENERATE, "--learn-from", "x").err.split("(")[0]


@pytest.mark.parametrize("text", ["|\n    {}", '"{}"', "{}"])
def test_the_text_of_a_key_in_defaults_is_refused_and_never_printed(thgen, defaults, text, certify, tmp_path):
    _, key = certify(tmp_path / "keys")
    lines = key.read_text().strip().splitlines()
    defaults("generate:\n  key: " + text.format("\n    ".join(lines)) + "\n")
    said = thgen("--defaults", "studio.yaml", *GENERATE)
    assert (said.code, said.out, said.new) == (2, "", ())
    assert said.err.startswith("thgen: error: studio.yaml: ") and said.err.count("\n") == 1
    assert lines[1] not in said.err


def test_a_broken_file_that_holds_a_key_is_not_quoted(thgen, defaults):
    defaults("generate: {key: c2VjcmV0: [")
    said = thgen("--defaults", "studio.yaml", *GENERATE)
    assert said.code == 2 and "c2VjcmV0" not in said.err


def test_a_video_is_signed_by_defaults_and_its_sidecar_holds_nothing_of_the_key(
    thgen, defaults, portrait_png, say, certify
):
    pytest.importorskip("c2pa")
    say(Path("word.wav"), 0.4)
    _, key = certify(Path("keys"))
    defaults("generate: {sign: cert.pem, key: key.pem, renderer: warp, device: cpu}", "keys/d.yaml")
    given = ("--ref", portrait_png, "--audio", "word.wav", "-o", "out.mp4")
    said = thgen("--defaults", "keys/d.yaml", "generate", *given)
    assert (said.code, said.new) == (0, ("out.mp4", "out.mp4.json")), said.err
    written = Path("out.mp4.json").read_text()
    assert json.loads(written)["options"]["sign"] == "keys/cert.pem"
    assert "key.pem" not in written and not any(line in written + said.err for line in key.read_text().splitlines())


def test_a_batch_takes_its_own_defaults(thgen, defaults, portrait_png, say):
    defaults("generate: {seed: 1}\nbatch: {out-dir: videos, renderer: warp, device: cpu, dry-run: true}", "list/d.yaml")
    job = {"id": "a", "ref": str(portrait_png), "audio": str(say(Path("word.wav").absolute(), 0.4))}
    Path("jobs.jsonl").write_text(json.dumps(job))
    said = thgen("--defaults", "list/d.yaml", "batch", "jobs.jsonl")
    assert (said.code, said.err) == (0, "")
    assert said.out == f"a: {Path('list/videos/a.mp4').absolute()}, 10 frames, cpu\n"


def test_defaults_of_another_kind_do_not_disturb_preprocess(thgen, defaults, faceless_clip):
    defaults("preprocess: {quality: 80, out: features}")
    said = thgen("--defaults", "studio.yaml", "preprocess", "audio", faceless_clip)
    assert (said.code, said.new) == (0, ("features/bars.audio.npz",)), said.err


@pytest.fixture
def quick(monkeypatch):
    """Leave out the checks of the installation and the self-test."""
    monkeypatch.setattr(installation, "installation", lambda *_: iter([]))
    monkeypatch.setattr(self_test, "self_test", lambda *_: Check("self-test", True, "13 frames"))


def test_doctor_lists_the_options_that_defaults_set_and_no_value(thgen, defaults, quick):
    path = defaults("generate: {sign: c.pem, key: k.pem}\nstudy: {make: {title: Hello}}").absolute()
    said = thgen("--defaults", "studio.yaml", "doctor")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0] == f"ok    {'defaults':<27}{path}: generate sign, key; study title"
    assert "defaults" not in thgen("doctor").out


def test_doctor_finds_a_fault_in_defaults_of_any_command(thgen, defaults, quick):
    defaults("generate: {sed: 7}")
    said = thgen("--defaults", "studio.yaml", "doctor", "--json")
    assert said.code == 7
    assert json.loads(said.out)["checks"][0] == {
        "name": "defaults",
        "ok": False,
        "found": "studio.yaml: generate: unknown option 'sed'; did you mean 'seed'?",
        "fix": "mend the file, or do without it: --defaults /dev/null",
    }
