"""Pictures in other sizes than 256²: what they show, and where Θ paints on a whole frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torch import Tensor

from thcli.errors import UsageError
from thcli.face_model import LANDMARKS_68
from thcli.faces.backends import load_face_model
from thcli.faces.crop import CropBox
from thcli.faces.pose import to_pixels
from thcli.pipeline import GenerateOptions
from thcli.pipeline.person import MAX_SIDE, Person, crop_side, notes_on_size, person_of
from thcli.pipeline.target import Tracked
from thcli.records import Clip, FaceTrack
from thcli.render.frames import draw_frames
from thcli.rotations import apply_pose, placement
from thgen_models.embedding import Embedding
from thgen_models.generator import Frames

SCALE = 1 / 56
FRAME = (420, 500)
"""Height and width: more than the crop needs."""
BOX = CropBox(110, 60, 290)


@pytest.fixture(autouse=True)
def _nothing_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fine detail that is added again is no change of the network's."""
    monkeypatch.setattr("thcli.render.detail.LOST", 0)


def nodding(frames: int, angle: float) -> FaceTrack:
    """A face in a crop of 256² that nods by up to an angle."""
    model = load_face_model(None)
    pose = np.zeros((frames, 6))
    pose[:, 0] = np.linspace(0, angle, frames)
    pose[:, 3] = np.linspace(0, angle, frames) / 2
    mesh = to_pixels(apply_pose(np.repeat(model.canonical[None], frames, 0), placement(pose)), SCALE, (256, 256))
    mesh = mesh.astype(np.float32)
    box, ones = np.tile(np.float32([60, 60, 200, 200]), (frames, 1)), np.ones(frames, np.float32)
    return FaceTrack(box, mesh, mesh[:, LANDMARKS_68], placement(pose).astype(np.float32), SCALE, ones, (256, 256), "x")


def person(**options) -> Person:
    frame = astronaut()[: FRAME[0], : FRAME[1]]
    return person_of(
        Clip(np.stack([frame]), Path("photo.png")), nodding(1, 0.0), BOX, None, GenerateOptions(references=1, **options)
    )


def drawn(somebody: Person, full: bool = False, theta: Lamp | None = None) -> np.ndarray:
    return np.stack(list(draw_frames(somebody, Tracked(nodding(3, 0.2)), "cpu", full, theta=theta))).astype(int)


class Lamp:
    """A network that makes everything lighter by 20 of 255, and nothing else."""

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        assert images.shape[-1] == maps.shape[-1] == 256
        return Embedding(*[torch.zeros(1)] * 5)

    def draw(self, frames: Frames, embedding: Embedding) -> Tensor:
        assert frames.geometric.shape[-1] == frames.projected.shape[-1] == frames.matched.shape[-1] == 256
        return frames.geometric + 40 / 255


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        (None, 300, 256), ("256", 900, 256), ("512", 900, 512), ("512", 300, 512), ("source", 300, 300),
        ("source", 909, 908), ("source", 5000, MAX_SIDE),
    ],
)  # fmt: skip
def test_sides(size, side, expected):
    assert crop_side(CropBox(0, 0, side), GenerateOptions(size=size)) == expected


@pytest.mark.parametrize("size", ["255", "full", "", "1024"])
def test_sizes_that_there_are_not(size):
    with pytest.raises(UsageError, match=r"^--size .*: expected 256 or 512 or source$"):
        GenerateOptions(size=size)


@pytest.mark.parametrize("size", ["256", "512"])
def test_a_full_frame_has_its_own_size(size):
    with pytest.raises(UsageError, match=rf"^--size {size}: --frame full has the clip's own size"):
        GenerateOptions(frame="full", size=size)
    assert GenerateOptions(frame="full", size="source").size == "source"


def test_notes():
    assert notes_on_size(person(), GenerateOptions()) == ()
    assert notes_on_size(person(size="source"), GenerateOptions(size="source")) == ()
    (said,) = notes_on_size(person(size="512"), GenerateOptions(size="512"))
    assert "--size 512" in said and str(BOX.side) in said


def test_larger_pictures_show_the_same_in_more_detail():
    small, large = drawn(person()), drawn(person(size="source"))
    assert small.shape == (3, 256, 256, 3) and large.shape == (3, BOX.side, BOX.side, 3)

    def reduced(frames, size):
        image = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
        return torch.nn.functional.interpolate(image, size=(size, size), mode="bilinear", antialias=True)

    assert (reduced(small, 64) - reduced(large, 64)).abs().mean() < 2
    detail = [np.abs(np.diff(drawn(person(size=size))[0, :, :, 0], axis=1)).sum() for size in ("256", "512")]
    assert detail[1] > 1.2 * detail[0]


def test_what_a_network_does_at_256_is_done_to_larger_pictures():
    for size in ("256", "512"):
        somebody = person(size=size)
        warp, made = drawn(somebody), drawn(somebody, theta=Lamp())
        assert np.abs(made - np.minimum(warp + 20, 255)).max() <= 1


def test_detail_that_a_network_does_not_see_stays():
    """One that leaves nothing but one grey takes away what a picture of 256² has, and no more."""

    class Fog(Lamp):
        def draw(self, frames: Frames, embedding: Embedding) -> Tensor:
            return torch.zeros_like(frames.geometric)

    somebody = person(size="512")
    warp, made = drawn(somebody), drawn(somebody, theta=Fog())
    inside = np.s_[:, 40:-40, 40:-40]
    left, before = (np.abs(np.diff(frames[inside], n=2, axis=2)).mean() for frames in (made, warp))
    assert 0.2 * before < left < before
    blurred = torch.nn.functional.avg_pool2d(torch.from_numpy(made).permute(0, 3, 1, 2).float(), 8)
    assert (blurred[..., 5:-5, 5:-5] - 127.5).abs().mean() < 6


def test_a_network_changes_the_head_in_a_whole_frame_and_not_the_rest():
    somebody = person(frame="full")
    assert somebody.scene.side > somebody.box.side == BOX.side
    warp, made = drawn(somebody, True), drawn(somebody, True, Lamp())
    assert made.shape == (3, *FRAME, 3)
    change = (made - warp).mean(-1)
    mesh = somebody.box.to_frame(nodding(3, 0.2).mesh)
    for t in range(3):
        x, y = mesh[t, 4, :2].round().astype(int)
        assert change[t, y, x] > 15
        assert np.abs(change[t, :40]).max() == np.abs(change[t, -20:]).max() == np.abs(change[t, :, :100]).max() == 0
        # lightness that saturates apart, the change has no edge
        open_to_change = np.where(warp[t].max(-1) < 230, change[t], np.nan)
        assert np.nanmax(np.abs(np.diff(open_to_change, axis=0))) < 5
        assert np.nanmax(np.abs(np.diff(open_to_change, axis=1))) < 5


def test_what_a_network_sees_of_a_whole_frame_is_what_it_is_laid_on():
    """Else what it takes away would not be there, and what it adds would lie beside it."""

    class Watched(Lamp):
        seen: list[Tensor]

        def draw(self, frames: Frames, embedding: Embedding) -> Tensor:
            self.seen.append(frames.geometric)
            return super().draw(frames, embedding)

    somebody, watched = person(frame="full"), Watched()
    watched.seen = []
    drawn(somebody, True, watched)
    place = np.s_[:, BOX.y0 : BOX.y0 + BOX.side, BOX.x0 : BOX.x0 + BOX.side]
    there = torch.from_numpy(drawn(somebody, True)[place]).permute(0, 3, 1, 2).float()
    there = torch.nn.functional.interpolate(there, size=(256, 256), mode="bilinear", antialias=True)
    assert ((torch.cat(watched.seen) + 1) * 127.5 - there).abs().max() < 1


def test_a_whole_frame_goes_on_where_the_picture_ends():
    """The head moves, its surroundings come to rest, and there is no seam where they do."""
    somebody = person(frame="full")
    frame, made = somebody.frames[0].astype(int), drawn(somebody, True)[2]
    moved = np.abs(made - frame).max(-1) > 24
    assert moved.sum() > 2000
    scene = somebody.scene
    outside = np.ones(FRAME, bool)
    outside[max(scene.y0, 0) + 6 : scene.y0 + scene.side - 6, max(scene.x0, 0) + 6 : scene.x0 + scene.side - 6] = False
    assert not moved[outside].any()


def test_a_clip_taken_whole_is_drawn_whole():
    frame = astronaut()[:300, 80:380]
    whole = person_of(
        Clip(np.stack([frame]), Path("photo.png")), nodding(1, 0.0), CropBox(0, 0, 300), None,
        GenerateOptions(references=1, frame="full"),
    )  # fmt: skip
    assert whole.scene == whole.box == CropBox(0, 0, 300)
    assert np.abs(drawn(whole, True, Lamp()) - np.minimum(drawn(whole, True) + 20, 255)).max() <= 1
