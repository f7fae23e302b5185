"""The row ``frontal texture``: the textured mesh of the most frontal reference, moved to the target's head pose."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from thcli.data.store import Store
from thcli.errors import UsageError
from thcli.evaluation.suite.case import Case, load_case
from thcli.evaluation.suite.clips import choose_clips
from thcli.evaluation.suite.methods import FRONTAL, Method, choose_methods
from thcli.evaluation.suite.options import SuiteOptions
from thcli.records import Float, Image
from thcli.render.mesh import most_frontal
from thcli.rotations import placement

OPTIONS = SuiteOptions("landmarks", clips=("nodding",), seconds=1.0, renderer="warp", device="cpu")
FACE = (slice(90, 150), slice(100, 156))
"""Rows and columns of the image that show skin, eyes and nose in every frame of the nodding clip."""
CORNERS = (np.s_[:, :24, :24], np.s_[:, :24, -24:])
"""Corners of the background that are far from the face."""


@pytest.fixture(scope="module")
def case(store) -> Case:
    """One second of the nodding clip, driven by its landmarks."""
    return load_case(Store(store), *choose_clips(Store(store), OPTIONS).clips[0], OPTIONS)


def row(**options: str) -> Method:
    return {method.name: method for method in choose_methods(replace(OPTIONS, **options))}[FRONTAL]


def shown(case: Case) -> tuple[Image, Float]:
    """The most frontal of three references and its head pose [6]."""
    person = case.person(3)
    poses = person.track.pose[person.reference_indices]
    k = most_frontal(poses)
    return person.reference_images[k], poses[k]


def rendered(case: Case, pose: Float) -> Image:
    """Frames of the row for three references and head poses [T, 6], with the mesh of the first frames of the clip."""
    frames = slice(len(pose))
    track = replace(case.track.select(frames), pose=pose.astype(np.float32))
    return row().render(replace(case, track=track, real=case.real.select(frames)), 3)


def moved(pose: Float, *changes: tuple[float, ...]) -> Float:
    """Head poses [T, 6] with changes of the head's rotation (rad) and position (canonical face units)."""
    return placement(placement(pose.astype(np.float64)) + np.array(changes))


def difference(first: Image, second: Image) -> np.ndarray:
    return np.abs(first.astype(int) - second.astype(int))


def test_frontal_row_renders_every_frame_of_the_case_at_the_size_of_the_crop(case):
    made = row().render(case, 3)
    assert made.shape == (25, 256, 256, 3) == case.real.frames.shape
    assert made.dtype == np.uint8
    # The head moves five pixels up and down, and so does the texture.
    held = shown(case)[0][None]
    own, still = (difference(one, case.real.frames)[(slice(None), *FACE)].mean() for one in (made, held))
    assert own < still / 2


def test_frontal_row_leaves_the_reference_as_it_is_at_its_own_pose(case):
    reference, pose = shown(case)
    (made,) = rendered(case, pose[None])
    assert difference(made, reference).max() <= 1


def test_frontal_row_changes_the_face_and_not_the_background_for_a_turned_target(case):
    reference, pose = shown(case)
    made = rendered(case, moved(pose, (0, 0.3, 0, 0, 0, 0), (0.2, -0.2, 0.1, 0, 0, 0)))
    for frame in made:
        assert difference(frame, reference)[FACE].mean() > 5
    for corner in CORNERS:
        np.testing.assert_array_equal(made[corner], np.broadcast_to(reference, made.shape)[corner])


def test_frontal_row_moves_the_texture_with_the_head(case):
    reference, pose = shown(case)
    (made,) = rendered(case, moved(pose, (0, 0, 0, 8 * case.track.scale, 0, 0)))
    assert difference(made, np.roll(reference, 8, axis=1))[FACE].max() <= 2
    assert difference(made, reference)[FACE].mean() > 5


def test_choose_methods_refuses_an_unknown_rasterizer():
    with pytest.raises(UsageError, match=r"^rasterizer 'opengl': unknown; expected 'torch' or 'pytorch3d'$"):
        row(rasterizer="opengl")


def test_choose_methods_asks_to_install_a_missing_pytorch3d(monkeypatch):
    monkeypatch.delitem(sys.modules, "thcli.render.pytorch3d_backend", raising=False)
    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    message = r"^rasterizer 'pytorch3d': cannot be imported \(.*\); install pytorch3d, or choose 'torch'$"
    with pytest.raises(UsageError, match=message):
        row(rasterizer="pytorch3d")
