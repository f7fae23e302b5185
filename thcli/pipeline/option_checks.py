"""Checks of options that several commands share; each raises UsageError."""

from __future__ import annotations

from pathlib import Path

from thcli.errors import UsageError

MAX_REFERENCES = 32
"""Most references, K."""
RENDERERS = ("network", "warp")
SOURCE_WORDS = ("audio", "still")
"""Sources of motion that are no files."""
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def is_curve_file(source: str) -> bool:
    """Whether a source of motion is a file of curves."""
    return source.lower().endswith(".csv")


def is_video(source: str) -> bool:
    """Whether a source of motion is a video, or a photo."""
    return source not in SOURCE_WORDS and not is_curve_file(source)


def check_references(count: int) -> None:
    """Raise UsageError for a number of references that is out of range."""
    if not 1 <= count <= MAX_REFERENCES:
        raise UsageError(f"--references {count}: expected 1 to {MAX_REFERENCES}")


def check_workers(workers: int | None) -> None:
    """Raise UsageError for a number of processes that is none."""
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: expected processes from 1")


def check_pair(sign: Path | None, key: Path | None) -> None:
    """Raise UsageError for a certificate without its key, or a key without its certificate."""
    if (sign is None) != (key is None):
        raise UsageError(f"{'--key' if sign is None else '--sign'}: --sign CERT.pem and --key KEY.pem need each other")


def check_renderer(renderer: str, precision: str) -> None:
    """Raise UsageError for an unknown renderer or precision, and for a precision of a renderer without a network."""
    check_choice("--renderer", renderer, RENDERERS)
    check_choice("--precision", precision, PRECISIONS)
    if precision != "auto" and renderer != "network":
        raise UsageError(
            f"--precision {precision} applies to --renderer network only, and the renderer is {renderer}; "
            "leave out --precision"
        )


def check_choice(option: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise UsageError for a value of an option that is not allowed."""
    if value not in allowed:
        raise UsageError(f"{option} {value}: expected {' or '.join(allowed)}")
