"""Takes: what is drawn of a clip is what the geometric path makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from thcli.faces.crop import CropBox
from thcli.pipeline import episodes as takes
from thcli.pipeline.episodes import CONTEXT, draw_take
from thcli.pipeline.options import GenerateOptions
from thcli.pipeline.person import Person, person_of
from thcli.pipeline.target import Tracked
from thcli.records import Clip, FaceTrack
from thcli.render.frames import draw_frames
from thcli.render.geometric import Sketcher
from thcli.render.matching import costs

FRAMES, SHOWN = 80, 40
PARTS = ("base", "mouth", "eyes")


@pytest.fixture(scope="module")
def clip(portrait_png: Path) -> Clip:
    """Every frame is a little brighter than the one before."""
    portrait = np.asarray(Image.open(portrait_png).convert("RGB"))
    light = np.linspace(0.5, 1, FRAMES)[:, None, None, None]
    return Clip((portrait * light).astype(np.uint8), Path("made up"))


@pytest.fixture(scope="module")
def track(talking) -> FaceTrack:
    return talking(0, FRAMES)


@pytest.fixture(scope="module")
def person(clip: Clip, track: FaceTrack) -> Callable[[int], Person]:
    """person(K): of the clip's first frames, with K references."""

    def make(references: int) -> Person:
        shown = Clip(clip.frames[:SHOWN], clip.path)
        options = GenerateOptions(references=references)
        return person_of(shown, track.select(slice(SHOWN)), CropBox(0, 0, 256), None, options)

    return make


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes whose pictures are black, where only the choice of references matters."""
    monkeypatch.setattr(takes, "Sketcher", lambda *_: None)
    monkeypatch.setattr(takes, "_drawn", lambda _, mesh, __: np.zeros((2, len(mesh), 256, 256, 3), np.uint8))


def around(track: FaceTrack, first: int) -> tuple[Tracked, slice]:
    """A window's surroundings, and where the window lies in them."""
    before = max(0, first - CONTEXT)
    return Tracked(track.select(slice(before, first + 2 + CONTEXT))), slice(first - before, first - before + 2)


def same(pictures: np.ndarray, others: np.ndarray) -> None:
    """But for the light of parts, which is evened out over a window that holds all frames that are drawn together."""
    error = np.abs(pictures.astype(float) - others)
    assert error.max() <= 4 and error.mean() < 0.05


def test_a_take_is_what_the_geometric_path_draws(clip, track, person):
    known, windows = person(3), [41, FRAMES - 2]
    take = draw_take(known, clip, track, windows, np.random.default_rng(0), worse=0)
    frames = [41, 42, FRAMES - 2, FRAMES - 1]
    np.testing.assert_array_equal(take.real, clip.frames[frames])
    np.testing.assert_array_equal(take.landmarks, track.landmarks[frames, :, :2])
    np.testing.assert_array_equal(take.references, clip.frames[known.chosen])
    np.testing.assert_array_equal(take.reference_landmarks, track.landmarks[known.chosen, :, :2])
    target, inside = around(track, FRAMES - 2)
    drawn, shares = list(draw_frames(known, target, "cpu", full=False)), costs(known, target)
    same(take.geometric[2:], np.stack(drawn)[inside])
    np.testing.assert_array_equal(take.matched[2:], shares.match().base[inside].argmax(1))
    mesh = torch.from_numpy(target.meshes(inside))
    blended = Sketcher(known, "cpu").draw(mesh, shares.blend().part(inside)).clamp(0, 1)
    same(take.projected[2:], (255 * blended).round().permute(0, 2, 3, 1).numpy())
    assert np.abs(take.geometric.astype(int) - take.projected).mean() > 0.1
    assert {len(take.geometric), len(take.projected), len(take.real), len(take.landmarks)} == {4}
    assert take.matched.dtype == np.int64 and take.landmarks.dtype == take.reference_landmarks.dtype == np.float32


def test_references_that_are_hidden_have_no_share_and_the_others_share_as_if_alone(track, person):
    known = costs(person(8), Tracked(track))
    for hidden in ([3], [0, 5], [1, 2, 3, 4, 5, 6, 7]):
        without = takes._without(known, np.array(hidden))
        rest = [k for k in range(8) if k not in hidden]
        alone = type(known)(*(getattr(known, name)[:, rest] for name in PARTS))
        for got, want in ((without.match(), alone.match()), (without.blend(), alone.blend())):
            for name in PARTS:
                assert not getattr(got, name)[:, hidden].any()
                np.testing.assert_allclose(getattr(got, name)[:, rest], getattr(want, name), atol=1e-6)
    assert all(np.isfinite(getattr(known, name)).all() for name in PARTS)


@pytest.mark.usefixtures("undrawn")
def test_matched_frames_are_worse_on_purpose(clip, track, person):
    """§4.1: without it the matched one is the nearest in pose, with it often another."""
    known = person(8)
    nearest = costs(known, Tracked(track)).base.argmin(1)
    windows = list(range(0, FRAMES, 2))

    def far(worse: float, seed: int) -> float:
        take = draw_take(known, clip, track, windows, np.random.default_rng(seed), worse=worse)
        return float((take.matched != nearest).mean())

    assert far(0, seed=1) == far(0, seed=2) < 0.25
    assert 0.35 < far(1, seed=1) < 0.9
    assert far(0, seed=1) < far(0.5, seed=1) < far(1, seed=1)


@pytest.mark.usefixtures("undrawn")
def test_what_is_hidden_follows_the_seed(clip, track, person):
    known, windows = person(8), list(range(40, 80, 2))
    first, again, other = (
        draw_take(known, clip, track, windows, np.random.default_rng(seed), worse=1).matched for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_photo_is_its_own_and_only_match(clip, track, person):
    take = draw_take(person(1), clip, track, [50], np.random.default_rng(0), worse=1)
    assert take.references.shape == (1, 256, 256, 3) and take.matched.tolist() == [0, 0]
    np.testing.assert_array_equal(take.geometric, take.projected)
    assert take.geometric.std() > 10
