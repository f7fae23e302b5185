"""The list of jobs: what a line means, and one clear message for each way in which it can be wrong."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from pathlib import Path

import pytest

from thcli.batch.jobs import DUB_KEYS, KEYS, Job, Shard, read_jobs
from thcli.errors import MediaError, UsageError
from thcli.pipeline.options import GenerateOptions

FINE = {"id": "a", "ref": "clip.mp4", "audio": "speech.wav"}


@pytest.fixture
def read(tmp_path: Path):
    """read(*lines, **defaults): the jobs of a list in ``tmp_path / "lists"``, with outputs in ``tmp_path / "out"``."""

    def run(*lines: object, **defaults: object) -> list[Job]:
        source = tmp_path / "lists" / "jobs.jsonl"
        source.parent.mkdir(exist_ok=True)
        source.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        return read_jobs(source, tmp_path / "out", GenerateOptions(**defaults))

    return run


def test_read_jobs_finds_inputs_beside_the_list_and_outputs_in_the_folder(read, tmp_path: Path) -> None:
    given = {"motion": "m.mp4", "expression": "e.csv", "save-curves": "c.csv", "report": "sub/r.html", "weights": "w"}
    given |= {"mesh": "m.glb", "sign": "cert.pem", "key": "/abs/key.pem"}
    first, second = read({**FINE, **given}, "", {**FINE, "id": 7, "audio": "/abs/s.wav", "output": "sub/x.mp4"})
    lists, out = tmp_path / "lists", tmp_path / "out"
    assert (first.reference, first.audio, first.output) == (lists / "clip.mp4", lists / "speech.wav", out / "a.mp4")
    options = first.options
    assert (options.motion, options.expression) == (str(lists / "m.mp4"), str(lists / "e.csv"))
    assert (options.save_curves, options.mesh, options.report) == (out / "c.csv", out / "m.glb", out / "sub" / "r.html")
    assert options.weights == lists / "w"
    assert (options.sign, options.key) == (lists / "cert.pem", Path("/abs/key.pem"))
    assert first.outputs == (out / "a.mp4", out / "c.csv", out / "m.glb", out / "sub" / "r.html")
    assert (second.id, second.audio, second.output) == ("7", Path("/abs/s.wav"), out / "sub" / "x.mp4")
    assert second.options == GenerateOptions()


def test_read_jobs_puts_a_job_before_the_defaults_and_takes_no_word_for_a_file(read) -> None:
    job, other = read(
        {**FINE, "device": "cpu", "size": 512, "blink": 2.5, "face": 1, "motion": "still", "motion-scale": 2},
        {**FINE, "id": "b", "overwrite": False},
        device="cuda",
        references=3,
        overwrite=True,
        weights=Path("mine"),
        expression="e.mp4",
    )
    assert (job.options.device, job.options.size, job.options.blink, job.options.face) == ("cpu", "512", "2.5", "1")
    assert (job.options.motion, job.options.motion_scale) == ("still", 2.0)
    here = Path.cwd()
    assert (job.options.references, job.options.overwrite, job.options.weights) == (3, True, here / "mine")
    assert job.options.expression == str(here / "e.mp4")
    assert (other.options.device, other.options.overwrite) == ("cuda", False)


@pytest.mark.parametrize("person", ["ref", "dub"])
def test_read_jobs_takes_every_option_and_names_the_type_of_all(read, person: str) -> None:
    job = {"id": "a", person: "c.mp4", "audio": "s.wav"}
    assert read({**job, "workers": 2})[0].options.workers == 2
    for key in sorted(set(DUB_KEYS if person == "dub" else KEYS) - {"id", "ref", "dub", "audio", "output"}):
        with pytest.raises(UsageError, match=f"{key}: .*, expected (a|the|text|true)"):
            read({**job, key: [1]})


def test_keys_of_a_job_are_the_long_options_of_generate() -> None:
    from thcli.commands.generate import command

    options = {option.removeprefix("--") for p in command.params for option in p.opts if option.startswith("--")}
    assert set(KEYS) - {"id"} == options - {"dry-run", "progress", "debug"}
    assert {key.replace("-", "_") for key in KEYS} >= {field.name for field in fields(GenerateOptions)}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "a"', "not JSON (Expecting ',' delimiter at character 11); expected one object a line"),
        ("[" * 100_000, "not a job: nested too deeply; expected one flat object a line"),
        ('["a"]', 'not a job; expected an object such as {"id": "a", "ref": "clip.mp4", "audio": "speech.wav"}'),
        ({"ref": "c", "audio": "s"}, "no 'id'; every job needs a name of its own"),
        ({"id": "a", "audio": "s"}, "no 'ref'; expected the name of a file"),
        ({"id": "a", "ref": "c"}, "no 'audio'; expected the name of a file"),
        ({**FINE, "audio": 3}, "audio: 3, expected the name of a file"),
        ({**FINE, "audio": "-"}, "audio: -, which a batch cannot use; expected the name of a file"),
        ({**FINE, "motion_scale": 1}, "unknown key 'motion_scale'; did you mean 'motion-scale'?"),
        ('{"id": "a", "ref": "c", "ref": "d", "audio": "s"}', "key 'ref' twice; leave out one of the two"),
        ({**FINE, "references": 2.5}, "references: 2.5, expected a whole number"),
        ({**FINE, "references": 40}, "--references 40: expected 1 to 32"),
        ({**FINE, "overwrite": 1}, "overwrite: 1, expected true or false"),
        ({**FINE, "start": "3"}, 'start: "3", expected a number'),
        ({**FINE, "seed": True}, "seed: true, expected a whole number"),
        ({**FINE, "size": None}, "size: null, expected text or a number; leave out the key for the default"),
        ({**FINE, "weights": 3}, "weights: 3, expected the name of a file"),
        ({**FINE, "output": "../a.mp4"}, "output: ../a.mp4, expected the name of a file in --out-dir"),
        ({**FINE, "report": "/tmp/a.html"}, "report: /tmp/a.html, expected the name of a file in --out-dir"),
        ({**FINE, "frame": "whole"}, "--frame whole: expected crop or full"),
    ],
)  # fmt: skip
def test_read_jobs_names_the_line_that_is_wrong_and_why(read, tmp_path: Path, line: object, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read({**FINE, "id": "fine"}, line)
    assert str(caught.value) == f"{tmp_path}/lists/jobs.jsonl:2: {said}"


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "-x", "a\n", "a.", "x" * 201, None, True, 1.5])
def test_read_jobs_refuses_an_id_that_is_no_file_name(read, name: object) -> None:
    with pytest.raises(UsageError, match="expected a name for a file"):
        read({**FINE, "id": name})


@pytest.mark.parametrize("key", ["output", "save-curves"])
@pytest.mark.parametrize("name", ["outcomes.jsonl", "outcomes.2-of-3.jsonl"])
def test_read_jobs_refuses_to_overwrite_its_own_log(read, key: str, name: str) -> None:
    with pytest.raises(UsageError, match=f"jobs.jsonl:1: .*{name}: such names are those of the logs of a batch"):
        read({**FINE, key: name})


def test_read_jobs_refuses_scales_outside_0_to_3(read) -> None:
    for key in ("motion-scale", "expression-scale"):
        for value in (-0.1, 3.1, float("nan")):
            with pytest.raises(UsageError, match=f"--{key} .*expected 0 to 3"):
                read({**FINE, key: value})


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({}, 'id "a" is that of line 1 already'),
        ({"id": "b", "output": "a.mp4"}, "a.mp4 is that of line 1 already"),
        ({"id": "b", "save-curves": "a.mp4"}, "a.mp4 is that of line 1 already"),
        ({"id": "b", "report": "a.mp4.json"}, "a.mp4.json is that of line 1 already"),
    ],
)
def test_read_jobs_refuses_two_jobs_that_write_the_same_file(read, second: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=f"jobs.jsonl:2: .*{said}; every job needs its own"):
        read(FINE, {**FINE, **second})


def test_read_jobs_names_the_first_wrong_line_and_counts_the_others(read) -> None:
    with pytest.raises(UsageError, match=r":2: not JSON .* \(2 more of the lines are wrong\)$"):
        read(FINE, "{", "{", "{")


def test_read_jobs_refuses_a_list_that_is_empty_missing_or_not_text(
    read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no jobs in it"):
        read("", "  ")
    with pytest.raises(MediaError, match=r"nothing\.jsonl: cannot be read \(No such file"):
        read_jobs(tmp_path / "nothing.jsonl", tmp_path, GenerateOptions())
    (tmp_path / "bytes").write_bytes(b"\x80\x00")
    with pytest.raises(UsageError, match="not UTF-8 text"):
        read_jobs(tmp_path / "bytes", tmp_path, GenerateOptions())
    (tmp_path / "wide").write_text('{"id": "a"}', encoding="utf-16")
    with pytest.raises(UsageError, match="wide: UTF-16 text; expected JSON Lines in UTF-8: save it in that encoding"):
        read_jobs(tmp_path / "wide", tmp_path, GenerateOptions())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MediaError, match=r"standard input: cannot be read \(No such file"):
        read_jobs(Path("standard input"), tmp_path, GenerateOptions())  # A file of that name, which is not there.


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_read_jobs_ends_lines_at_line_feeds_alone(read, separator: str) -> None:
    name = f"Talk{separator}part 1.wav"
    first, second = read(json.dumps({**FINE, "audio": name}, ensure_ascii=False) + "\r", {**FINE, "id": "b"})
    assert first.audio.name == name and second.id == "b"


def test_read_jobs_takes_files_of_standard_input_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + json.dumps(FINE).encode())))
    (job,) = read_jobs(Path("-"), Path("out"), GenerateOptions())
    assert (job.reference, job.output) == (tmp_path / "clip.mp4", tmp_path / "out" / "a.mp4")


def test_shards_hold_every_job_once_whatever_the_list(read) -> None:
    lines = [{**FINE, "id": f"job {n}"} for n in range(300)]
    jobs, backward = read(*lines), read(*reversed(lines[:50]))
    for count in (1, 4):
        parts = [[job.id for job in jobs if job in Shard(index, count)] for index in range(1, count + 1)]
        assert sorted(name for part in parts for name in part) == sorted(job.id for job in jobs)
        assert min(map(len, parts)) > 300 / count * 0.7
        for index, part in enumerate(parts, 1):
            assert {job.id for job in backward if job in Shard(index, count)} <= set(part)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "1/3/4", "-1/3", "1/3 "])
def test_shard_parse_refuses_other_text(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected I/N, the I-th of N parts, with I from 1 to N"):
        Shard.parse(text)
    assert Shard.parse("3/3") == Shard(3, 3)
