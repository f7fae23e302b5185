"""Report of a finished video: its measurements beside the motion asked for and normal ranges."""

from __future__ import annotations

from pathlib import Path

from thcli.errors import UsageError

SUFFIXES = (".html", ".json")
"""Suffixes of a report: a page, or the same as data."""


def check_suffix(path: Path) -> None:
    """Check the suffix of a report's file. Raises UsageError for one that is not in ``SUFFIXES``."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--report {path}: expected a name that ends in .html (a page) or .json (the same as data)")
