"""Faces that do not stand upright are told by how little sure the tracker is of their meshes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage import data

from thcli.errors import NoFaceError
from thcli.faces.upright import UNSTABLE, check_upright, instability, turns_to_upright
from thcli.pipeline.models import load_models
from thcli.records import Float, Image

TRACKER = load_models(device="cpu").tracker


def turned(turns: int) -> Image:
    """A photograph of a face, turned by quarter turns counterclockwise."""
    return np.ascontiguousarray(np.rot90(data.astronaut(), turns))


def mesh_of(frame: Image) -> Float | None:
    found = TRACKER.detect(frame)
    return TRACKER.mesh(frame, found[0].box)[0] if found else None


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_turns_to_upright_undo_those_of_a_photo(turns: int) -> None:
    frame = turned(turns)
    assert turns_to_upright(frame, mesh_of(frame), TRACKER) == -turns % 4
    if turns:
        assert turns_to_upright(frame, None, TRACKER) == -turns % 4


def test_an_upright_face_is_stable_and_its_mesh_upside_down_is_not() -> None:
    frame = turned(0)
    mesh = mesh_of(frame)
    assert mesh is not None and instability(frame, mesh, TRACKER) < UNSTABLE
    upside_down = turned(2)
    low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
    box = np.concatenate([511 - high, 511 - low]).astype(np.float32)
    assert instability(upside_down, TRACKER.mesh(upside_down, box)[0], TRACKER) > 2 * UNSTABLE


def test_a_picture_without_a_face_is_not_turned() -> None:
    assert turns_to_upright(data.coffee(), None, TRACKER) == 0


@pytest.mark.parametrize(("turns", "fix"), [(1, "90° clockwise"), (2, "180°"), (3, "90° counterclockwise")])
def test_check_upright_says_how_to_turn_the_picture(turns: int, fix: str) -> None:
    frame = turned(turns)
    with pytest.raises(NoFaceError) as caught:
        check_upright(frame, mesh_of(frame), TRACKER, Path("a.png"))
    assert str(caught.value) == f"a.png: the face does not stand upright; turn the picture by {fix}"
    check_upright(turned(0), mesh_of(turned(0)), TRACKER, Path("a.png"))
