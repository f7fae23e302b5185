"""What can go wrong, as a person should hear of it.

Every error names the file, what was found, what was expected, and the fix, in one line.
Only ``thcli.commands`` turns an error into an exit code.
"""

from __future__ import annotations


class ThgenError(Exception):
    """Base of all errors that are not bugs; ``exit_code`` is what the shell sees."""

    exit_code = 1


class UsageError(ThgenError):
    """Options that contradict each other, or an unknown configuration key."""

    exit_code = 2


class MediaError(ThgenError):
    """Media that cannot be read, is unsuitable, or cannot be written."""

    exit_code = 3


class NoFaceError(ThgenError):
    """No face good enough to work with."""

    exit_code = 4


class WeightsError(ThgenError):
    """Weights that are missing or do not match."""

    exit_code = 5


class DeviceError(ThgenError):
    """Out of memory, or no such device."""

    exit_code = 6
