"""Default options of commands, which ``thgen --defaults FILE.yaml`` reads; see ``docs/defaults.md``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from thcli.commands.options import PATH, WordOrFile
from thcli.errors import UsageError, did_you_mean

META = "thgen.defaults"
"""Key of the Defaults in use in click's ``meta``."""
PEM = "-----BEGIN"
"""Beginning of a key or certificate in PEM; such text is never part of a message."""
_KINDS = {
    bool: "true or false",
    type(None): "no value",
    list: "a list",
    dict: "a section",
    str: "text",
    int: "a number",
    float: "a number",
}
"""Names in messages of most types that YAML has."""


@dataclass(frozen=True)
class Defaults:
    """Default options as their file has them.

    path: the file
    sections: options by command; those of a command that has subcommands by subcommand
    """

    path: Path
    sections: Mapping[str, Any]

    def map_of(self, name: str, command: click.Command) -> dict[str, Any]:
        """Return the default values of a command in the form of click's ``default_map``, with files found.

        Raises UsageError for an option that the command does not have, and for a value that it does not take.
        """
        return _map_of(command, self.sections.get(name), f"{self.path}: {name}", self.path.parent)

    def names(self, name: str) -> Iterator[str]:
        """Yield the options that are set for a command, those of its subcommands after these."""
        section = self.sections.get(name)
        for key, value in (section if isinstance(section, Mapping) else {}).items():
            yield from (str(inner) for inner in value) if isinstance(value, Mapping) else (str(key),)

    def traced(self, name: str, message: str) -> str:
        """Add to a message on the use of a command which of the options in it the file has set."""
        found = [f"--{key}" for key in self.names(name) if re.search(rf"--{re.escape(key)}(?![\w-])", message)]
        return f"{message} ({self.path} sets {' and '.join(found)})" if found else message


def read_defaults(path: Path, commands: Iterable[str]) -> Defaults:
    """Read a file of default options; raise UsageError where it is missing, not YAML, or has other sections.

    commands: names of all commands
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); expected a YAML file of default options"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # YAML's own message quotes the file, which may hold a key by mistake.
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f" (see line {mark.line + 1})"
        raise UsageError(f"{path}: not YAML{place}; expected lines such as 'generate: {{seed: 7}}'") from None
    if content is None:
        return Defaults(path, {})
    if not isinstance(content, Mapping):
        raise UsageError(f"{path}: found {_kind(content)} at the top, expected commands such as 'generate:'")
    for name in content:
        _check_known(name, commands, str(path), "command")
    return Defaults(path, content)


def _map_of(command: click.Command, section: Any, where: str, folder: Path) -> dict[str, Any]:
    """Convert a section to a ``default_map``, recursively for a command that has subcommands."""
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise UsageError(f"{where}: found {_kind(section)}, expected options such as 'seed: 7'")
    found: dict[str, Any] = {}
    if isinstance(command, click.Group):
        for name, inner in section.items():
            _check_known(name, command.commands, where, "command")
            found[name] = _map_of(command.commands[name], inner, f"{where}: {name}", folder)
        return found
    options = {
        long.removeprefix("--"): option
        for option in command.params
        if isinstance(option, click.Option)
        for long in option.opts
        if long.startswith("--")
    }
    for name, value in section.items():
        _check_known(name, options, where, "option")
        option = options[name]
        found[str(option.name)] = _value(option, value, f"{where}: {name}", folder)
    return found


def _check_known(name: Any, known: Iterable[str], where: str, what: str) -> None:
    known = list(known)
    if name not in known:
        raise UsageError(f"{where}: unknown {what} '{name}'; {did_you_mean(str(name), known)}")


def _value(option: click.Option, value: Any, where: str, folder: Path) -> Any:
    """Return the value of an option as click takes it, with the path of a file relative to ``folder``."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{where}: found {_kind(value)}, expected true or false")
        return value
    if option.multiple:
        return [_text(option, one, where, folder) for one in (value if isinstance(value, list) else [value])]
    return _text(option, value, where, folder)


def _text(option: click.Option, value: Any, where: str, folder: Path) -> str:
    """Return a value as one would type it on the command line."""
    if isinstance(value, bool):
        raise UsageError(
            f"{where}: found true or false, expected text or a number; put a word such as 'no' into quotes"
        )
    if not isinstance(value, (str, int, float)):
        raise UsageError(f"{where}: found {_kind(value)}, expected text or a number")
    text, kind = str(value), option.type
    if PEM in text:
        raise UsageError(f"{where}: found the text of a key or certificate, expected the name of its file")
    if kind is PATH or (isinstance(kind, WordOrFile) and text not in kind.words):
        if not text or "\0" in text:
            raise UsageError(f"{where}: {text!r}, expected the name of a file")
        return text if text == "-" else str(folder / text)
    try:
        kind.convert(text, option, None)
    except click.BadParameter as error:
        raise UsageError(f"{where}: {error.message.rstrip('.')}") from error
    return text


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), f"a {type(value).__name__}")
