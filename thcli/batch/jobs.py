"""The list of jobs: JSON Lines of ``id`` and the long options of ``generate`` or ``dub``; see ``docs/files.md``."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, get_type_hints

from thcli.errors import MediaError, ThgenError, UsageError
from thcli.generation.sidecar import sidecar_path
from thcli.json_lines import numbered_lines
from thcli.pipeline.options import WRITTEN, DubOptions, GenerateOptions, written_beside

READ = ("weights", "sign", "key")
"""Options that name a file or a folder to read, but for ``SOURCES``."""
ID = re.compile(r"[^\W_][\w.+@=, -]{0,199}")
"""Pattern of a job's id: a file name that every system accepts and that begins with a letter or a digit."""
SOURCES = ("motion", "expression")
"""Options that take a word or the name of a file to read."""
_TYPES = {f.name.replace("_", "-"): get_type_hints(GenerateOptions)[f.name] for f in fields(GenerateOptions)}
"""Type of each long option of ``generate``."""
KEYS = ("id", "ref", "audio", "output", *_TYPES)
"""Keys that a job may have."""
LOGS = "outcomes*.jsonl"
"""Names of the logs of outcomes, which lie beside the videos (``outcomes.log_path``)."""
RENAMED = {"from": "begin", "to": "end"}
"""Fields of ``DubOptions`` by the long options of ``dub`` that are called otherwise."""
_CALLED = {field: option for option, field in RENAMED.items()}
_DUB_TYPES = {
    _CALLED.get(f.name, f.name).replace("_", "-"): get_type_hints(DubOptions)[f.name] for f in fields(DubOptions)
}
"""Type of each long option of ``dub``."""
DUB_KEYS = ("id", "dub", "audio", "output", *_DUB_TYPES)
"""Keys that a job may have that dubs a video."""
SHARED = ({f.name for f in fields(DubOptions)} & {f.name for f in fields(GenerateOptions)}) - {"references"}
"""Options of ``dub`` whose defaults a batch takes from those of ``generate``."""


@dataclass(frozen=True)
class Job:
    """One video to make; its paths are absolute, so that it can run in any process and folder.

    reference: clip or photo of the person or, where the options are those of ``dub``, the video to dub
    """

    id: str
    reference: Path
    audio: Path
    output: Path
    options: GenerateOptions | DubOptions

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Files that the job writes, without the sidecar."""
        return (self.output, *written_beside(self.options).values())

    def with_folders(self, scratch: Path) -> Job:
        """Return the job with those outputs moved to ``scratch`` whose folders do not exist yet; a run creates them."""

        def there(path: Path) -> Path:
            return path if path.parent.is_dir() else scratch / path.name

        beside = {name: there(path) for name, path in written_beside(self.options).items()}
        options = replace(self.options, **beside)  # type: ignore[arg-type]
        return replace(self, output=there(self.output), options=options)


@dataclass(frozen=True)
class Shard:
    """One part of a list of jobs.

    index: number of the part, from 1
    count: number of parts
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse ``I/N``; raise UsageError for anything else."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"--shard {text}: expected I/N, the I-th of N parts, with I from 1 to N")
        return cls(int(match[1]), int(match[2]))

    def __contains__(self, job: object) -> bool:
        """Whether a job is in this part; the id alone decides, whatever the order and the other jobs of the list."""
        if not isinstance(job, Job):
            return False
        return int(hashlib.sha256(job.id.encode()).hexdigest(), 16) % self.count == self.index - 1


def read_jobs(source: Path, folder: Path, defaults: GenerateOptions) -> list[Job]:
    """Read all jobs of a file, or of standard input where ``source`` is ``-``.

    Inputs are relative to the folder of the file, or for standard input to the current folder.

    folder: folder of the outputs
    defaults: options that apply where a job gives none

    Raises UsageError, with the first wrong line, where any line is wrong, and MediaError where the file cannot be read.
    """
    name = "standard input" if str(source) == "-" else str(source)
    inputs = Path.cwd() if str(source) == "-" else source.parent.absolute()
    place = _Place(inputs, folder.absolute(), replace(defaults, **_placed(asdict(defaults), Path.cwd())))
    jobs: list[Job] = []
    wrong: list[str] = []
    taken: dict[str | Path, int] = {}
    for number, line in numbered_lines(_content_of(source, name), name, UsageError):
        try:
            job = _job(line, place)
            _check_unique(job, taken, number)
            jobs.append(job)
        except ThgenError as error:
            wrong.append(f"{name}:{number}: {error}")
    if wrong:
        others = "" if len(wrong) == 1 else f" ({len(wrong) - 1} more of the lines are wrong)"
        raise UsageError(wrong[0] + others)
    if not jobs:
        raise UsageError(f"{name}: no jobs in it; expected JSON Lines, one job a line")
    return jobs


@dataclass(frozen=True)
class _Place:
    """Folders of a list's inputs and outputs, and the default options of its jobs."""

    inputs: Path
    outputs: Path
    defaults: GenerateOptions


def _content_of(source: Path, name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(source) == "-" else source.read_bytes()
    except OSError as error:
        raise MediaError(f"{name}: cannot be read ({error.strerror}); expected JSON Lines, one job a line") from error


def _check_unique(job: Job, taken: dict[str | Path, int], number: int) -> None:
    """Raise UsageError where an earlier line has the same id or writes the same file, or a file has the name of a log.

    A sidecar counts as a file.

    taken: line number of each id and file so far, to which those of this job are added
    """
    names: list[str | Path] = [job.id, *job.outputs, sidecar_path(job.output)]
    for path in job.outputs:
        if fnmatch(path.name, LOGS):
            raise UsageError(f"{path}: such names are those of the logs of a batch; choose another one")
    for name in names:
        first = taken.setdefault(name, number)
        if first != number:
            what = f'id "{name}"' if name == job.id else f"{name}"
            raise UsageError(f"{what} is that of line {first} already; every job needs its own")


def _job(line: str, place: _Place) -> Job:
    record = _record(line)
    name = _id(record)
    dubs = "dub" in record
    types = _DUB_TYPES if dubs else _TYPES
    values = {key: _typed(types[key], key, value) for key, value in record.items() if key in types}
    values |= _placed(values, place.inputs)
    for key in (name.replace("_", "-") for name in WRITTEN):
        if key in values:
            values[key] = _below(place.outputs, key, str(values[key]))
    reference, audio = (place.inputs / _text(record, key) for key in ("dub" if dubs else "ref", "audio"))
    output = _below(place.outputs, "output", _text(record, "output")) if "output" in record else None
    given = {RENAMED.get(key, key.replace("-", "_")) if dubs else key.replace("-", "_"): values[key] for key in values}
    options = replace(_dub_defaults(place.defaults) if dubs else place.defaults, **given)
    return Job(name, reference, audio, output or place.outputs / f"{name}.mp4", options)


def _dub_defaults(defaults: GenerateOptions) -> DubOptions:
    """Return the default options of a job that dubs: those that it shares with ``generate`` are taken over."""
    return DubOptions(**{name: getattr(defaults, name) for name in SHARED})


def _record(line: str) -> dict[str, Any]:
    """Parse the JSON object of a line; raise UsageError for anything else and for unknown keys."""
    try:
        record = json.loads(line, object_pairs_hook=_without_twins)
    except json.JSONDecodeError as error:
        raise UsageError(f"not JSON ({error.msg} at character {error.pos + 1}); expected one object a line") from error
    except RecursionError as error:
        raise UsageError("not a job: nested too deeply; expected one flat object a line") from error
    if not isinstance(record, dict):
        raise UsageError('not a job; expected an object such as {"id": "a", "ref": "clip.mp4", "audio": "speech.wav"}')
    keys = DUB_KEYS if "dub" in record else KEYS
    for key in record:
        if key not in keys:
            near = get_close_matches(key, keys, 1)
            meant = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(keys)}"
            raise UsageError(f"unknown key {key!r}; {meant}")
    return record


def _without_twins(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object as a dictionary; raise UsageError for a repeated key."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UsageError(f"key {key!r} twice; leave out one of the two")
        found[key] = value
    return found


def _id(record: Mapping[str, Any]) -> str:
    if "id" not in record:
        raise UsageError("no 'id'; every job needs a name of its own")
    given = record["id"]
    name = str(given) if isinstance(given, int) and not isinstance(given, bool) else given
    if not isinstance(name, str) or not ID.fullmatch(name) or name[-1] in ". ":
        raise UsageError(
            f"id {given!r}: expected a name for a file, with letters, digits and . _ - + @ = , or spaces, that begins "
            "with a letter or a digit"
        )
    return name


def _text(record: Mapping[str, Any], key: str) -> str:
    """Return the file name under a key of a job; raise UsageError where it is missing or no file name."""
    value = record.get(key)
    if key not in record:
        raise UsageError(f"no {key!r}; expected the name of a file")
    if not isinstance(value, str) or not value or "\0" in value:
        raise UsageError(f"{key}: {json.dumps(value)}, expected the name of a file")
    if value == "-":
        raise UsageError(f"{key}: -, which a batch cannot use; expected the name of a file")
    return value


def _typed(kind: Any, key: str, value: Any) -> Any:
    """Return a JSON value as its option takes it; where the command line takes text, a number is accepted too."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is None:
        raise UsageError(f"{key}: null, expected {_SAID[kind]}; leave out the key for the default")
    if kind is bool and isinstance(value, bool):
        return value
    if kind in (int, int | None) and number and isinstance(value, int):
        return value
    if kind in (float, float | None) and number:
        return float(value)
    if kind == Path | None and isinstance(value, str):
        return Path(_text({key: value}, key))
    if kind in (str, str | None) and (number or isinstance(value, str)):
        return str(value)
    raise UsageError(f"{key}: {json.dumps(value)}, expected {_SAID[kind]}")


_SAID = {
    bool: "true or false",
    int: "a whole number",
    int | None: "a whole number",
    float: "a number",
    float | None: "a number",
    str: "text or a number",
    str | None: "text or a number",
    Path | None: "the name of a file",
}
"""Names of the types in messages."""


def _placed(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the options that name inputs, with their paths made absolute, relative to ``folder``."""
    words = {"motion": ("audio", "still"), "expression": ("audio",)}
    placed = {key: str(folder / values[key]) for key in SOURCES if key in values and values[key] not in words[key]}
    return placed | {key: folder / values[key] for key in READ if values.get(key) is not None}


def _below(folder: Path, key: str, name: str) -> Path:
    """Return the path of a file in the folder of the outputs or below it; raise UsageError for any other place."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or path.name.startswith(".") or not path.name:
        raise UsageError(f"{key}: {name}, expected the name of a file in --out-dir")
    return folder / path
