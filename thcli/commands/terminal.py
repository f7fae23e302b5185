"""Whether escape codes may be printed."""

from __future__ import annotations

import os


def without_codes() -> bool:
    """Whether the terminal knows no escape codes (``TERM=dumb``), or its user wants no colours (``NO_COLOR``)."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
