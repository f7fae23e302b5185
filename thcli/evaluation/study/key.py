"""What a study asks, and its key: which of the anonymous videos shows which clip by which method."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thcli.errors import MediaError

FORMAT = 1
LOWEST, HIGHEST = 0, 10
"""The scale of §0.B.4, worst to best."""


@dataclass(frozen=True)
class Question:
    """One question to every video; ``lowest`` and ``highest`` are the words at the ends of its scale."""

    name: str
    text: str
    lowest: str
    highest: str


QUESTIONS = (
    Question("realism", "How realistic is the talking person?", "clearly artificial", "like a real recording"),
    Question("sync", "How well do the movements fit the sound?", "not at all", "perfectly"),
)
"""The two criteria of §0.B.4."""


@dataclass(frozen=True)
class StudyVideo:
    """One video of a study.

    source: the file it was made from, and its SHA-256; sha256: that of the anonymous copy in the page
    """

    method: str
    clip: str
    source: str
    source_sha256: str
    sha256: str


@dataclass(frozen=True)
class Key:
    """What the maker of a study keeps.

    study: random name of the study, which its answers carry; page_sha256: of the page as it was made
    videos: by the random names that the page knows them by
    """

    study: str
    title: str
    page_sha256: str
    videos: Mapping[str, StudyVideo]

    @property
    def methods(self) -> tuple[str, ...]:
        """In the order in which they were given."""
        return tuple(dict.fromkeys(video.method for video in self.videos.values()))


def to_json(key: Key) -> str:
    """The key as it is written to its file."""
    return json.dumps({"format": FORMAT, **asdict(key)}, indent=2, ensure_ascii=False) + "\n"


def read_key(path: Path) -> Key:
    """Raises MediaError for a file that is no key."""
    content = read_object(path, "the key that 'thgen study make' wrote (NAME.key.json)")
    try:
        if content["format"] != FORMAT:
            raise MediaError(f"{path}: a key of format {content['format']}, expected {FORMAT}; use the thgen it is of")
        videos = {token: StudyVideo(**video) for token, video in content["videos"].items()}
        return Key(content["study"], content["title"], content["page_sha256"], videos)
    except (KeyError, TypeError, AttributeError) as error:
        raise MediaError(f"{path}: not the key of a study; give the key.json that 'thgen study make' wrote") from error


def read_object(path: Path, expected: str) -> dict[str, Any]:
    """A JSON object from a file; MediaError where there is none."""
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
