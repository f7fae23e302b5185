"""Episodes: what is rendered of a clip is what the geometric renderer makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from thcli.data.episodes import WINDOW
from thcli.pipeline import episodes
from thcli.pipeline.episodes import CONTEXT, render_episode
from thcli.pipeline.models import Models, load_models
from thcli.pipeline.options import ReferenceOptions
from thcli.pipeline.person import person_from_track
from thcli.pipeline.target import TrackedTarget
from thcli.records import WHOLE_CROP, Clip, FaceTrack, Person, ReferenceWeights
from thcli.render.frames import TargetRenderer
from thcli.render.geometric import GeometricRenderer
from thcli.render.matcher import Costs, costs

FRAMES, SHOWN = 80, 40
PARTS = ("base", "mouth", "eyes")


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models(device="cpu")


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
def person(models: Models, clip: Clip, track: FaceTrack) -> Callable[[int], Person]:
    """person(K): the person of the clip's first frames, with K references."""

    def make(references: int) -> Person:
        shown = Clip(clip.frames[:SHOWN], clip.path)
        options = ReferenceOptions(references=references)
        return person_from_track(models.face_model, shown, track.select(slice(SHOWN)), WHOLE_CROP, None, options)

    return make


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[ReferenceWeights]:
    """The weights that the renderer is asked for. Its images are single black pixels, so many windows are quick."""
    known: list[ReferenceWeights] = []

    class Black:
        def __init__(self, *_: object) -> None:
            pass

        references = torch.zeros(1, 3, 1, 1)

        def render_each(self, mesh: Tensor, several: Sequence[tuple[Tensor, ReferenceWeights]]) -> list[Tensor]:
            known.extend(weights for _, weights in several)
            return [torch.zeros(len(mesh), 3, 1, 1) for _ in several]

    monkeypatch.setattr(episodes, "GeometricRenderer", Black)
    return known


class Hides:
    """A source of chance by which every window does without the given references of ``count``."""

    def __init__(self, hidden: list[int], count: int) -> None:
        self.hidden, self.count = hidden, count

    def random(self) -> float:
        return 0.0

    def permutation(self, count: int) -> NDArray[np.intp]:
        assert count == self.count
        return np.array([*self.hidden, *(k for k in range(count) if k not in self.hidden)])

    def integers(self, low: int, high: int) -> int:
        assert low <= len(self.hidden) < high
        return len(self.hidden)


def around(track: FaceTrack, first: int) -> tuple[TrackedTarget, slice]:
    """A window with its surroundings, and where the window lies in them."""
    before = max(0, first - CONTEXT)
    shown = slice(before, first + WINDOW + CONTEXT)
    return TrackedTarget(track.select(shown)), slice(first - before, first - before + WINDOW)


def assert_nearly_equal(images: np.ndarray, others: np.ndarray) -> None:
    """But for the light of patches, which is evened out over all frames that are rendered together."""
    error = np.abs(images.astype(float) - others)
    assert error.max() <= 4 and error.mean() < 0.05


def test_render_episode_gives_the_images_of_the_geometric_renderer(models, clip, track, person):
    known, windows = person(3), [41, FRAMES - 2]
    episode = render_episode(models, known, clip, track, windows, np.random.default_rng(0), worse=0)
    frames = [41, 42, FRAMES - 2, FRAMES - 1]
    np.testing.assert_array_equal(episode.real, clip.frames[frames])
    np.testing.assert_array_equal(episode.landmarks, track.landmarks[frames, :, :2])
    np.testing.assert_array_equal(episode.references, clip.frames[known.reference_indices])
    np.testing.assert_array_equal(episode.reference_landmarks, track.landmarks[known.reference_indices, :, :2])
    target, inside = around(track, FRAMES - 2)
    rendered, cost = list(TargetRenderer(models, known, target).frames()), costs(known, target)
    assert_nearly_equal(episode.geometric[2:], np.stack(rendered)[inside])
    np.testing.assert_array_equal(episode.matched[2:], cost.match().base[inside].argmax(1))
    mesh = torch.from_numpy(target.meshes(inside))
    blended = GeometricRenderer(models, known).render(mesh, cost.blend().select(inside)).clamp(0, 1)
    assert_nearly_equal(episode.projected[2:], (255 * blended).round().permute(0, 2, 3, 1).numpy())
    assert np.abs(episode.geometric.astype(int) - episode.projected).mean() > 0.1
    assert {len(episode.geometric), len(episode.projected), len(episode.real), len(episode.landmarks)} == {4}
    assert episode.matched.dtype == np.int64
    assert episode.landmarks.dtype == episode.reference_landmarks.dtype == np.float32


@pytest.mark.parametrize("hidden", [[3], [0, 5], [1, 2, 3, 4, 5, 6, 7]], ids=str)
def test_hidden_references_have_no_weight_and_the_others_weigh_as_if_alone(models, clip, track, person, asked, hidden):
    known, first = person(8), 50
    episode = render_episode(models, known, clip, track, [first], Hides(hidden, 8), worse=1)
    rest = [k for k in range(8) if k not in hidden]
    target, inside = around(track, first)
    cost = costs(known, target)
    alone = Costs(*(getattr(cost, part)[:, rest] for part in PARTS))
    for got, want in zip(asked, (alone.match().select(inside), alone.blend().select(inside)), strict=True):
        for part in PARTS:
            assert not getattr(got, part)[:, hidden].any()
            np.testing.assert_allclose(getattr(got, part)[:, rest], getattr(want, part), atol=1e-6)
    assert set(episode.matched) <= set(rest)


@pytest.mark.usefixtures("asked")
def test_matched_frames_are_worse_the_more_often_it_is_asked_for(models, clip, track, person):
    """§4.1: without it the matched reference is the nearest in pose, with it often another."""
    known = person(8)
    nearest = costs(known, TrackedTarget(track)).base.argmin(1)
    windows = list(range(0, FRAMES, WINDOW))

    def share_of_others(worse: float, seed: int) -> float:
        episode = render_episode(models, known, clip, track, windows, np.random.default_rng(seed), worse=worse)
        return float((episode.matched != nearest).mean())

    assert share_of_others(0, seed=1) == share_of_others(0, seed=2) < 0.25
    assert 0.35 < share_of_others(1, seed=1) < 0.9
    assert share_of_others(0, seed=1) < share_of_others(0.5, seed=1) < share_of_others(1, seed=1)


@pytest.mark.usefixtures("asked")
def test_hidden_references_follow_the_seed(models, clip, track, person):
    known, windows = person(8), list(range(40, 80, WINDOW))
    first, again, other = (
        render_episode(models, known, clip, track, windows, np.random.default_rng(seed), worse=1).matched
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_photo_is_its_own_and_only_match(models, clip, track, person):
    episode = render_episode(models, person(1), clip, track, [50], np.random.default_rng(0), worse=1)
    assert episode.references.shape == (1, 256, 256, 3) and episode.matched.tolist() == [0, 0]
    np.testing.assert_array_equal(episode.geometric, episode.projected)
    assert episode.geometric.std() > 10
