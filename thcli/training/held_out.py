"""Split of the episodes into those Θ is trained on and those held out, by which the best network is chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thcli.data.episodes import WINDOW, PackedEpisode
from thcli.errors import MediaError

SHARE = 5
"""Episodes of a single subject, or windows of its only episode, of which one is held out."""
PIECE = 2
"""Windows of a held-out piece of an episode, as many as a validation measures of each (``generator.VAL_WINDOWS``)."""


def hold_out(
    episodes: Sequence[PackedEpisode], subjects: int, seed: int
) -> tuple[list[PackedEpisode], list[PackedEpisode]]:
    """Return the episodes to train on, and those held out.

    subjects: most subjects that are held out with all their episodes; one always stays to train on. With 0 nothing is
        held out, and validation uses the training episodes themselves

    Of a single subject, as in fine-tuning, the last fifth of the episodes is held out, and of a single episode the last
    fifth of its windows. Episodes of one clip may show the same frames, so windows with held-out frames are removed
    from the others. Raises MediaError where nothing is left to train on.
    """
    names = sorted({episode.meta.subject for episode in episodes})
    if subjects == 0:
        return list(episodes), list(episodes)
    if len(names) == 1:
        return _of_one_subject(episodes)
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = {names[i] for i in order[: min(subjects, len(names) - 1)]}
    return (
        [episode for episode in episodes if episode.meta.subject not in chosen],
        [episode for episode in episodes if episode.meta.subject in chosen],
    )


def _of_one_subject(episodes: Sequence[PackedEpisode]) -> tuple[list[PackedEpisode], list[PackedEpisode]]:
    if len(episodes) > 1:
        count = -(-len(episodes) // SHARE)
        rest, held_out = list(episodes[:-count]), episodes[-count:]
    else:
        windows = len(episodes[0].landmarks) // WINDOW
        first = WINDOW * (windows - -(-windows // SHARE))
        rest, held_out = [episodes[0].part(range(first))], [episodes[0].part(range(first, WINDOW * windows))]
    seen = {frame.tobytes() for episode in held_out for frame in episode.landmarks}
    left = [part for episode in rest if (part := _without(episode, seen)).meta.frames]
    if not left:
        raise MediaError(
            f"{episodes[0].meta.file}: episodes of one subject, with too few frames to hold some out; "
            "make more episodes, or of more clips"
        )
    return left, [piece for episode in held_out for piece in _pieces(episode)]


def _without(episode: PackedEpisode, seen: set[bytes]) -> PackedEpisode:
    """Remove an episode's windows that show frames whose landmarks are in ``seen``.

    Landmarks identify a frame, because no two frames of a clip have the same.
    """
    shown = [frame.tobytes() in seen for frame in episode.landmarks]
    firsts = range(0, len(shown) - WINDOW + 1, WINDOW)
    return episode.part([t for first in firsts if not any(shown[first : first + WINDOW]) for t in _window(first)])


def _pieces(episode: PackedEpisode) -> list[PackedEpisode]:
    """Cut an episode into pieces of ``PIECE`` windows each."""
    length = PIECE * WINDOW
    frames = range(len(episode.landmarks))
    return [episode.part(frames[first : first + length]) for first in range(0, len(frames), length)]


def _window(first: int) -> range:
    """Frames of the window that begins at frame ``first``."""
    return range(first, first + WINDOW)
