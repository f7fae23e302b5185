"""The report of a finished video: what came out, tracked anew, beside what was asked for and what is normal."""

from __future__ import annotations

from pathlib import Path

from thcli.errors import UsageError

SUFFIXES = (".html", ".json")


def check_suffix(path: Path) -> None:
    """UsageError for a name that says neither page nor data."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--report {path}: expected a name that ends in .html (a page) or .json (the same as data)")
