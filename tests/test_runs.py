"""Runs of frames."""

from __future__ import annotations

import numpy as np

from thcli.runs import runs_of


def test_runs_are_found_with_their_ends_and_none_where_nothing_holds():
    closed = np.array([1, 0, 0, 1, 1, 0, 1], bool)
    assert runs_of(closed) == [(0, 1), (3, 5), (6, 7)]
    assert runs_of(~closed & False) == []
