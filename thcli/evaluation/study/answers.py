"""Reading of the answers that viewers saved, with checks that they belong to the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thcli.errors import MediaError, UsageError
from thcli.evaluation.study.key import FORMAT, HIGHEST, LOWEST, QUESTIONS, Key, read_object

_EXPECTED = "the answers that a viewer saved from the page"


@dataclass(frozen=True)
class Answers:
    """Answers of one viewer.

    viewer: name or alias of the viewer
    path: file of the answers
    ratings: ratings from ``LOWEST`` to ``HIGHEST``, by (random name of the video, name of the question)
    """

    viewer: str
    path: Path
    ratings: Mapping[tuple[str, str], int]


def read_answers(paths: Sequence[Path], key: Key) -> list[Answers]:
    """Read the answers of all viewers of the study.

    Raises MediaError for a file that is not of this study, UsageError for two files of the same viewer.
    """
    read: dict[str, Answers] = {}
    for path in paths:
        answers = _read(path, key)
        other = read.setdefault(answers.viewer.casefold(), answers)
        if other is not answers:
            raise UsageError(
                f"{other.path} and {path}: both are by the viewer {answers.viewer!r}; give one of them, "
                'or change "viewer" in one if they are two people'
            )
    return list(read.values())


def missing(answers: Sequence[Answers], key: Key) -> list[str]:
    """Return one line for every viewer who left something unrated."""
    wanted = len(key.videos) * len(QUESTIONS)
    return [
        f"{own.viewer}: answered {len(own.ratings)} of {wanted} questions; what is there counts"
        for own in answers
        if len(own.ratings) < wanted
    ]


def _read(path: Path, key: Key) -> Answers:
    content = read_object(path, _EXPECTED)
    viewer, given = content.get("viewer"), content.get("answers")
    if content.get("format") != FORMAT or not isinstance(viewer, str) or not isinstance(given, dict):
        raise MediaError(f"{path}: not {_EXPECTED}; use the file as it was saved")
    if not viewer.strip():
        raise MediaError(f'{path}: the viewer has no name; put a name or any alias into "viewer"')
    if content.get("study") != key.study:
        raise MediaError(
            f"{path}: answers to the study {content.get('study')}, expected {key.study}, which the key is of"
        )
    ratings = {}
    for video, own in given.items():
        if video not in key.videos or not isinstance(own, dict):
            raise MediaError(
                f"{path}: answers for {video!r}, which is no video of this study; use the file as it was saved"
            )
        for question, value in own.items():
            ratings[video, _known(path, question)] = _in_range(path, video, value)
    return Answers(viewer.strip(), path, ratings)


def _known(path: Path, question: str) -> str:
    names = [question.name for question in QUESTIONS]
    if question not in names:
        raise MediaError(
            f"{path}: an answer to {question!r}, expected {' and '.join(names)}; use the file as it was saved"
        )
    return question


def _in_range(path: Path, video: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not LOWEST <= value <= HIGHEST:
        raise MediaError(
            f"{path}: rates {video} with {value!r}, expected a whole number from {LOWEST} to {HIGHEST}; "
            "use the file as it was saved"
        )
    return value
