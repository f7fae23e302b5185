"""Training configuration, read from and written to YAML; its sections and all defaults are in ``configs/sections.py``.

``lite`` is these defaults; the other files in ``configs/`` and a user's own file list only the values that differ.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml

from thcli.configs.sections import Config
from thcli.errors import UsageError, did_you_mean

SHIPPED = ("lite", "tiny", "paper")
Dims = TypeVar("Dims")


def load_config(source: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration by name (``SHIPPED``) or from a YAML file, and apply ``a.b=value`` overrides.

    Raises UsageError for a file that is missing or not YAML, and for unknown keys and values of the wrong type.
    """
    config = Config() if source is None else _merge(Config(), _read(source), str(source))
    for override in overrides:
        config = _merge(config, _parse_override(override), f"--set {override}")
    return config


def make_dims(kind: type[Dims], changes: Mapping[str, Any], source: str) -> Dims:
    """Return a network's ``Dims`` with changed fields. Raises UsageError, naming ``source``, for unknown fields."""
    return typing.cast("Dims", _merge(kind(), changes, source))


def to_yaml(config: Config) -> str:
    """Return all values as YAML that ``load_config`` reads back to the same configuration."""
    return str(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False))


def _read(source: str | Path) -> Mapping[str, Any]:
    path = Path(source)
    if str(source) in SHIPPED:
        text = resources.files("thcli.configs").joinpath(f"{source}.yaml").read_text(encoding="utf-8")
    elif path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        raise UsageError(f"{source}: no such configuration; give a YAML file or one of {', '.join(SHIPPED)}")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{source}: not YAML ({' '.join(str(error).split())})") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(
            f"{source}: found {type(content).__name__} at the top, expected sections such as 'expression:'"
        )
    return content


def _parse_override(override: str) -> Mapping[str, Any]:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise UsageError(f"--set {override}: expected KEY=VALUE, such as expression.train.steps=500")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {override}: the value is not YAML") from error
    for key in reversed(dotted.split(".")):
        value = {key: value}
    return typing.cast("Mapping[str, Any]", value)


def _merge(base: Any, changes: Mapping[str, Any], source: str, prefix: str = "") -> Any:
    """Return a copy of the dataclass ``base`` with changes applied, recursively for nested sections."""
    hints = typing.get_type_hints(type(base))
    updates = {}
    for key, value in changes.items():
        name = f"{prefix}{key}"
        if key not in hints:
            valid = (f"{prefix}{f.name}" for f in dataclasses.fields(base))
            raise UsageError(f"{source}: unknown key '{name}'; {did_you_mean(name, valid)}")
        current = getattr(base, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise UsageError(f"{source}: '{name}' is a section, found {value!r}")
            updates[key] = _merge(current, value, source, f"{name}.")
        elif isinstance(current, Mapping):
            if not isinstance(value, Mapping):
                raise UsageError(f"{source}: '{name}' is a section, found {value!r}")
            updates[key] = {**current, **value}
        else:
            updates[key] = _convert(value, hints[key], name, source)
    return dataclasses.replace(base, **updates)


def _convert(value: Any, hint: Any, name: str, source: str) -> Any:
    """Convert a value to the type of its field; a number may be a string, because YAML reads 1e-4 as one."""
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for kind in kinds:
        if kind is type(None):
            if value is None:
                return None
        elif kind is float and not isinstance(value, bool):
            try:
                return float(value)
            except (TypeError, ValueError):
                continue
        elif typing.get_origin(kind) is tuple and isinstance(value, (list, tuple)):
            item = typing.get_args(kind)[0]
            return tuple(_convert(part, item, name, source) for part in value)
        elif typing.get_origin(kind) is typing.Literal:
            kinds = typing.get_args(kind)
            if value in kinds:
                return value
        elif isinstance(kind, type) and type(value) is kind:
            return value
    expected = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
    raise UsageError(f"{source}: '{name}' is {value!r}, expected {expected}")
