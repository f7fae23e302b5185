"""Whether whoever reads a stream wants escape codes."""

from __future__ import annotations

import os


def without_codes() -> bool:
    """On a terminal that knows no codes (``TERM=dumb``), or whose user wants no colours (``NO_COLOR``)."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
