"""Layouts of well-known data sets: how they name their files, and what a name says of clip, speaker and split.

    voxceleb2   dev|test/mp4/id00012/21Uxsk56VDQ/00001.mp4, the test videos also under vox2_test_mp4/mp4
    lrs3        pretrain|trainval|test/0Fi83BHQsMA/00002.mp4
    lrw         ABOUT/train|val|test/ABOUT_00001.mp4
    grid        s1/bbaf2n.mpg, also s1/video/mpg_6000/bbaf2n.mpg
    crema-d     1001_DFA_ANG_XX.flv

Clips that a data set holds out for tests are for ``val``, the only split that a store holds out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Facts that the place of a file tells.

    clip: name that no other clip of the data set has
    subject: who speaks
    split: ``train``, ``val``, or None where the place does not tell
    """

    clip: str
    subject: str
    split: str | None


@dataclass(frozen=True)
class Layout:
    """Layout of a data set.

    read: returns what a path (folders and name without suffix, joined by ``/``) tells, or None for any other path
    expected: example of such a path, for messages
    note: what a user has to know about subjects and splits
    """

    read: Callable[[str], Place | None]
    expected: str
    note: str = ""


_VIDEO_ID = r"[\w-]{11}"
"""Pattern of YouTube's names of videos."""
_VOXCELEB2 = re.compile(rf"(?:^|/)(?:(?:vox2_)?(dev|test)(?:_mp4)?/(?:mp4/)?)?(id\d{{5}})/({_VIDEO_ID})/(\d{{5}})$")
_LRS3 = re.compile(rf"(?:.*/)?(pretrain|trainval|test)/({_VIDEO_ID})/(\d{{5}})")
_LRW = re.compile(r"(?:.*/)?([A-Z]+)/(train|val|test)/\1_(\d{5})")
_GRID = re.compile(
    r"(?:.*/)?(s(?:[1-9]|[12]\d|3[0-4]))/(?:[^/]+/)*(?:id\d+_[a-z0-9]+_)?([blps][bgrw][abiw][a-vx-z][1-9z][anps])"
)
_CREMA_D = re.compile(r"(?:.*/)?((10(?:0[1-9]|[1-8]\d|9[01]))_[A-Z]{3}_(?:ANG|DIS|FEA|HAP|NEU|SAD)_(?:LO|MD|HI|XX?))")
_GRID_HELD_OUT = frozenset({"s1", "s2", "s20", "s22"})
"""Speakers that are held out: the unseen speakers of LipNet, two men and two women, whom others have held out since."""


def _voxceleb2(path: str) -> Place | None:
    found = _VOXCELEB2.search(path)
    if not found:
        return None
    split = {"dev": "train", "test": "val"}.get(found[1] or "")
    return Place("_".join(found.groups()[1:]), found[2], split)


def _lrs3(path: str) -> Place | None:
    found = _LRS3.fullmatch(path)
    return Place("_".join(found.groups()), found[2], "val" if found[1] == "test" else "train") if found else None


def _lrw(path: str) -> Place | None:
    found = _LRW.fullmatch(path)
    # The clips of a word are numbered anew in each of the data set's splits.
    clip = f"{found[1]}_{found[2]}_{found[3]}" if found else ""
    return Place(clip, clip, "train" if found[2] == "train" else "val") if found else None


def _grid(path: str) -> Place | None:
    found = _GRID.fullmatch(path)
    split = "val" if found and found[1] in _GRID_HELD_OUT else "train"
    return Place(f"{found[1]}_{found[2]}", found[1], split) if found else None


def _crema_d(path: str) -> Place | None:
    found = _CREMA_D.fullmatch(path)
    return Place(found[1], found[2], None) if found else None


LAYOUTS = {
    "voxceleb2": Layout(_voxceleb2, "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4"),
    "lrs3": Layout(
        _lrs3,
        "trainval/0Fi83BHQsMA/00002.mp4",
        "lrs3 names talks, not people: a talk counts as a subject, so who gives two talks counts twice; "
        "test shares no talk with pretrain and trainval",
    ),
    "lrw": Layout(
        _lrw,
        "ABOUT/train/ABOUT_00001.mp4",
        "lrw does not say who speaks: every clip counts as a subject, the data set's own sets are kept, "
        "and a speaker may be in several of them; "
        "its clips of 1.2 s are too short to tell whether their sound is in step",
    ),
    "grid": Layout(_grid, "s1/bbaf2n.mpg"),
    "crema-d": Layout(_crema_d, "1001_DFA_ANG_XX.flv"),
}
"""Layouts by the names that ``--layout`` takes besides ``files``."""
