"""Reading of JSON Lines: UTF-8 text with one JSON value on each line."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import TypeVar

from thcli.errors import ThgenError

Kind = TypeVar("Kind", bound=ThgenError)
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""Marks with which text in UTF-16 begins, as Windows' shells write it."""


def numbered_lines(content: bytes, name: str, error: type[Kind]) -> Iterator[tuple[int, str]]:
    """Yield the lines of JSON Lines that are not blank, with their numbers from 1.

    A line ends at a line feed alone: JSON strings may hold the other characters at which text is often split, such as
    U+2028.

    name: name of the file, for the message
    error: kind of error to raise where the content is not UTF-8
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        encoding = "UTF-16" if content.startswith(_WIDE) else "not UTF-8"
        raise error(f"{name}: {encoding} text; expected JSON Lines in UTF-8: save it in that encoding") from cause
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line
