"""Which takes Θ is trained on, and which are held out to choose the best network by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thcli.data.episodes import WINDOW, PackedTake
from thcli.errors import MediaError

SHARE = 5
"""Of a single subject's takes, or windows, one in so many is held out."""
PIECE = 2
"""Windows of a held-out piece of a take; a look sees so many of each."""


def hold_out(takes: Sequence[PackedTake], subjects: int, seed: int) -> tuple[list[PackedTake], list[PackedTake]]:
    """Takes to train on, and those held out.

    subjects: whole ones are held out, so many at most, and one stays; with 0 the takes are looked at themselves

    Of one subject, as for fine-tuning to them, the last fifth of the takes is held out, and of one take the last
    fifth of its windows. Takes of one clip may show the same frames, so what is held out is taken out of the others.
    Raises MediaError where nothing is left to train on.
    """
    names = sorted({take.meta.subject for take in takes})
    if subjects == 0:
        return list(takes), list(takes)
    if len(names) == 1:
        return _of_one_subject(takes)
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = {names[i] for i in order[: min(subjects, len(names) - 1)]}
    return (
        [take for take in takes if take.meta.subject not in chosen],
        [take for take in takes if take.meta.subject in chosen],
    )


def _of_one_subject(takes: Sequence[PackedTake]) -> tuple[list[PackedTake], list[PackedTake]]:
    if len(takes) > 1:
        count = -(-len(takes) // SHARE)
        rest, held_out = list(takes[:-count]), takes[-count:]
    else:
        windows = len(takes[0].landmarks) // WINDOW
        first = WINDOW * (windows - -(-windows // SHARE))
        rest, held_out = [takes[0].part(range(first))], [takes[0].part(range(first, WINDOW * windows))]
    seen = {frame.tobytes() for take in held_out for frame in take.landmarks}
    left = [part for take in rest if (part := _without(take, seen)).meta.frames]
    if not left:
        raise MediaError(
            f"{takes[0].meta.file}: takes of one subject, with too few frames to hold some out; "
            "make more takes, or of more clips"
        )
    return left, [piece for take in held_out for piece in _pieces(take)]


def _without(take: PackedTake, seen: set[bytes]) -> PackedTake:
    """The take without the windows that show frames with such landmarks: no two frames of a clip have the same."""
    shown = [frame.tobytes() in seen for frame in take.landmarks]
    firsts = range(0, len(shown) - WINDOW + 1, WINDOW)
    return take.part([t for first in firsts if not any(shown[first : first + WINDOW]) for t in _window(first)])


def _pieces(take: PackedTake) -> list[PackedTake]:
    """Parts of some windows each."""
    length = PIECE * WINDOW
    frames = range(len(take.landmarks))
    return [take.part(frames[first : first + length]) for first in range(0, len(frames), length)]


def _window(first: int) -> range:
    return range(first, first + WINDOW)
