"""What one look came to."""

from __future__ import annotations

from dataclasses import dataclass

from thcli.errors import ThgenError


@dataclass(frozen=True)
class Check:
    """name: of what was looked at; ok: nothing needs to be done; found: what is there; fix: what to do, where not ok"""

    name: str
    ok: bool
    found: str
    fix: str = ""


def failed(name: str, error: Exception, otherwise: str) -> Check:
    """A look that failed is a finding too: ThgenErrors say what to do about it, for others that is ``otherwise``."""
    if isinstance(error, ThgenError):
        found, _, fix = str(error).rpartition("; ")
        return Check(name, False, found or fix, fix)
    reason = str(error).splitlines()[0] if str(error) else "no reason given"
    return Check(name, False, f"{type(error).__name__}: {reason}", otherwise)
