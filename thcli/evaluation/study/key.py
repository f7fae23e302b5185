"""Questions of a study, and its key: which anonymous video shows which clip by which method."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thcli.errors import MediaError

FORMAT = 1
"""Version of the format of keys and answers."""
LOWEST, HIGHEST = 0, 10
"""Ends of the scale of §0.B.4: the worst and the best rating."""


@dataclass(frozen=True)
class Question:
    """One question that is asked about every video.

    name: key in answers and results
    text: the question as viewers read it
    lowest, highest: words at the ends of its scale
    """

    name: str
    text: str
    lowest: str
    highest: str


QUESTIONS = (
    Question("realism", "How realistic is the talking person?", "clearly artificial", "like a real recording"),
    Question("sync", "How well do the movements fit the sound?", "not at all", "perfectly"),
)
"""Questions for the two criteria of §0.B.4."""


@dataclass(frozen=True)
class StudyVideo:
    """One video of a study.

    method, clip: names of its method and its clip
    source: file that it was copied from
    source_sha256: SHA-256 of that file
    sha256: SHA-256 of the anonymous copy in the page
    """

    method: str
    clip: str
    source: str
    source_sha256: str
    sha256: str


@dataclass(frozen=True)
class Key:
    """Key of a study, which its maker keeps.

    study: random name of the study, which is also in its answers
    title: title of the page
    page_sha256: SHA-256 of the page as it was made
    videos: videos by their random names in the page
    """

    study: str
    title: str
    page_sha256: str
    videos: Mapping[str, StudyVideo]

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in the order in which they were given."""
        return tuple(dict.fromkeys(video.method for video in self.videos.values()))


def to_json(key: Key) -> str:
    """Return the key as it is written to its file."""
    return json.dumps({"format": FORMAT, **asdict(key)}, indent=2, ensure_ascii=False) + "\n"


def read_key(path: Path) -> Key:
    """Read the key of a study. Raises MediaError for a file that is no key."""
    content = read_object(path, "the key that 'thgen study make' wrote (NAME.key.json)")
    try:
        if content["format"] != FORMAT:
            raise MediaError(f"{path}: a key of format {content['format']}, expected {FORMAT}; use the thgen it is of")
        videos = {token: StudyVideo(**video) for token, video in content["videos"].items()}
        return Key(content["study"], content["title"], content["page_sha256"], videos)
    except (KeyError, TypeError, AttributeError) as error:
        raise MediaError(f"{path}: not the key of a study; give the key.json that 'thgen study make' wrote") from error


def read_object(path: Path, expected: str) -> dict[str, Any]:
    """Read a JSON object from a file. Raises MediaError, which names what was expected, where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise MediaError(f"{path}: no such file, expected {expected}") from error
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror}), expected {expected}") from error
    except (ValueError, RecursionError) as error:
        raise MediaError(f"{path}: not JSON, expected {expected}; use a complete copy") from error
    if not isinstance(content, dict):
        raise MediaError(f"{path}: not a JSON object, expected {expected}")
    return content
