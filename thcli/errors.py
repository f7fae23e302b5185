"""Errors that are reported to the user.

Every error names the file, what was found, what was expected, and the fix, in one line.
Only ``thcli.commands`` turns an error into an exit code.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from pathlib import Path


class ThgenError(Exception):
    """Base of all errors that are not bugs; ``exit_code`` is the exit code of the command."""

    exit_code = 1


class UsageError(ThgenError):
    """Options that contradict each other, or an unknown configuration key."""

    exit_code = 2


class MediaError(ThgenError):
    """Media that cannot be read or written, or are unsuitable."""

    exit_code = 3


class NoFaceError(ThgenError):
    """A clip or photo without a usable face."""

    exit_code = 4


class WeightsError(ThgenError):
    """Weights that are missing, damaged or of another network."""

    exit_code = 5


class DeviceError(ThgenError):
    """A device that is missing or out of memory."""

    exit_code = 6


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Say which of some valid names, of which there is at least one, an unknown name is nearest to."""
    from difflib import get_close_matches

    return f"did you mean '{get_close_matches(name, list(valid), n=1, cutoff=0.0)[0]}'?"


def named_bug(error: Exception) -> str:
    """Name an error that is a bug, with the file and line where it was raised: ``KeyError: 'x'; clips.py line 12``."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error}; {Path(place.filename).name} line {place.lineno}"
