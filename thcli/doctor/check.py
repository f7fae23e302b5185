"""What one look came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """name: of what was looked at; ok: nothing needs to be done; found: what is there; fix: what to do, where not ok"""

    name: str
    ok: bool
    found: str
    fix: str = ""
