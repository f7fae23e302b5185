"""Choice of the clips of a store that the suite renders."""

from __future__ import annotations

from dataclasses import dataclass

from thcli.data.store import ClipMeta, Store
from thcli.errors import MediaError, UsageError
from thcli.evaluation.baselines import PAST
from thcli.evaluation.suite.options import SuiteOptions
from thcli.records import FPS

LEAST = FPS
"""Least frames of a clip after the first 64; fewer say too little."""


@dataclass(frozen=True)
class Choice:
    """Clips that the suite renders.

    clips: each clip with the clip whose audio stands for a wrong one
    left_out: clips that are not rendered, with the reasons
    """

    clips: tuple[tuple[ClipMeta, ClipMeta], ...]
    left_out: tuple[str, ...]

    @property
    def subjects(self) -> int:
        """Number of people whom the clips show."""
        return len({meta.subject for meta, _ in self.clips})


def choose_clips(store: Store, options: SuiteOptions) -> Choice:
    """Choose the clips asked for that can be rendered.

    Raises UsageError for a clip that is not in the split, MediaError where no clip is left.
    """
    split = store.select(options.split)
    if not split:
        known = ", ".join(sorted({meta.split for meta in store.clips})) or "no clip at all"
        raise MediaError(f"{store.root}: no clip of split '{options.split}', it has {known}; choose another --split")
    for name in options.clips:
        if name not in {meta.clip for meta in split}:
            raise UsageError(f"--clips {name}: no such clip in split '{options.split}' of {store.root}")
    wanted = [meta for meta in split if not options.clips or meta.clip in options.clips]
    reasons = {meta.clip: _unfit(meta, options) for meta in wanted}
    left_out = tuple(f"{clip}: {reason}" for clip, reason in reasons.items() if reason)
    chosen = tuple((meta, _lender(meta, split)) for meta in wanted if not reasons[meta.clip])
    if not chosen:
        raise MediaError(f"{store.root}: no clip that the suite can draw ({'; '.join(left_out)}); add others")
    return Choice(chosen, left_out)


def _unfit(meta: ClipMeta, options: SuiteOptions) -> str:
    """Return why a clip cannot be rendered; empty where it can."""
    if options.drive == "audio" and meta.av_lag is None:
        return "its sound is not known to fit its picture (av_lag is null)"
    usable = meta.frames - abs(meta.lag)
    if usable < PAST + LEAST:
        return f"{meta.frames} frames, expected {PAST} for reference and {LEAST} to draw"
    return ""


def _lender(meta: ClipMeta, split: list[ClipMeta]) -> ClipMeta:
    """Return the clip whose audio stands for a wrong one: the next of another subject, else the next, else itself.

    It is searched in the whole split, so that it does not depend on ``--clips``.
    """
    place = split.index(meta)
    others = [other for other in split[place + 1 :] + split[:place] if other.frames >= PAST + LEAST]
    foreign = [other for other in others if other.subject != meta.subject]
    return [*foreign, *others, meta][0]
