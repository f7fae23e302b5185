"""Page of a study: one HTML file that works offline and holds the videos, without any trace of their origin."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from string import Template

from thcli.evaluation.study.key import HIGHEST, LOWEST, QUESTIONS


def render(study: str, title: str, videos: Mapping[str, bytes], shape: float, minutes: int) -> bytes:
    """Return the page as UTF-8 HTML.

    study: random name of the study
    title: title of the page
    videos: MP4 files by their random names; the page holds them in the order of these names
    shape: ratio of width to height of the box in which all videos are shown, whatever their own size
    minutes: time that rating them takes, minutes
    """
    files = resources.files(__package__)
    style, script = ((files / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    facts = {
        "study": study,
        "videos": sorted(videos),
        "shape": round(shape, 4),
        "minutes": minutes,
        "scale": [LOWEST, HIGHEST],
        "questions": [asdict(question) for question in QUESTIONS],
    }
    embedded = (
        f'<script type="text/plain" id="video-{name}">{base64.b64encode(videos[name]).decode()}</script>'
        for name in sorted(videos)
    )
    page = Template((files / "page.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        style=style,
        style_hash=_csp_hash(style),
        script=script,
        script_hash=_csp_hash(script),
        facts=json.dumps(facts).replace("<", "\\u003c"),
        videos="\n".join(embedded),
    )
    return page.encode()


def _csp_hash(text: str) -> str:
    """Return the hash by which the Content-Security-Policy allows the page's own script or style, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
