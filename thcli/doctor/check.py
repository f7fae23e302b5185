"""Result of one check."""

from __future__ import annotations

from dataclasses import dataclass

from thcli.errors import ThgenError


@dataclass(frozen=True)
class Check:
    """Result of one check.

    name: name of what was checked
    ok: whether nothing needs to be done
    found: what was found
    fix: what to do about it; empty where ``ok``
    """

    name: str
    ok: bool
    found: str
    fix: str = ""


def failed(name: str, error: Exception, otherwise: str) -> Check:
    """Return the result of a check that raised an error.

    otherwise: the fix, for errors other than ThgenError, whose messages hold their own
    """
    if isinstance(error, ThgenError):
        found, _, fix = str(error).rpartition("; ")
        return Check(name, False, found or fix, fix)
    reason = str(error).splitlines()[0] if str(error) else "no reason given"
    return Check(name, False, f"{type(error).__name__}: {reason}", otherwise)
