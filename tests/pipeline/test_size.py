"""Frames of other sizes than 256²: what they show, and where Θ changes a whole frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torch import Tensor

from thcli.errors import UsageError
from thcli.face_model import LANDMARKS_68
from thcli.pipeline.models import load_models
from thcli.pipeline.options import GenerateOptions, ReferenceOptions
from thcli.pipeline.person import BACKGROUND_MOVES, MAX_SIDE, crop_side, person_from_track, size_warnings
from thcli.pipeline.target import TrackedTarget
from thcli.records import Clip, CropBox, FaceTrack, Person
from thcli.render.frames import TargetRenderer
from thcli.render.matting import Matting
from thcli.rotations import apply_pose, placement, to_pixels
from thgen_models.embedding import Embedding
from thgen_models.generator import Frames

MODELS = load_models(device="cpu")
SCALE = 1 / 56
FRAME = (420, 500)
"""Height and width: more than the crop needs."""
BOX = CropBox(110, 60, 290)


@pytest.fixture(autouse=True)
def no_detail_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fine detail that is added again is no change that the network makes."""
    for share in ("LOST", "LOST_OF_FEATURES"):
        monkeypatch.setattr(f"thcli.render.frames.{share}", 0)


def nodding(frames: int, angle: float) -> FaceTrack:
    """A face in a crop of 256² that nods by up to an angle."""
    model = MODELS.face_model
    pose = np.zeros((frames, 6))
    pose[:, 0] = np.linspace(0, angle, frames)
    pose[:, 3] = np.linspace(0, angle, frames) / 2
    mesh = to_pixels(apply_pose(np.repeat(model.canonical[None], frames, 0), placement(pose)), SCALE, (256, 256))
    mesh = mesh.astype(np.float32)
    box, ones = np.tile(np.float32([60, 60, 200, 200]), (frames, 1)), np.ones(frames, np.float32)
    return FaceTrack(box, mesh, mesh[:, LANDMARKS_68], placement(pose).astype(np.float32), SCALE, ones, (256, 256), "x")


def person(photo: np.ndarray | None = None, box: CropBox = BOX, matting: Matting | None = None, **options) -> Person:
    """The person of a photo, by default a part of the astronaut's that is larger than the crop."""
    shown = astronaut()[: FRAME[0], : FRAME[1]] if photo is None else photo
    usual = {"references": 1, "size": "auto" if options.get("frame") == "full" else "256"}
    clip, chosen = Clip(np.stack([shown]), Path("photo.png")), ReferenceOptions(**{**usual, **options})
    return person_from_track(MODELS.face_model, clip, nodding(1, 0.0), box, None, chosen, matting=matting)


def rendered(somebody: Person, theta: Lamp | None = None) -> np.ndarray:
    """Three frames of a person who nods, as integers."""
    return np.stack(
        list(TargetRenderer(MODELS, somebody, TrackedTarget(nodding(3, 0.2)), theta=theta).frames())
    ).astype(int)


class Lamp:
    """A network that makes everything lighter by 20 of 255, and nothing else."""

    size, reduction = 256, 1

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        assert images.shape[-1] == maps.shape[-1] == 256
        return Embedding(*[torch.zeros(1)] * 5)

    def render(self, frames: Frames, embedding: Embedding) -> Tensor:
        assert frames.geometric.shape[-1] == frames.projected.shape[-1] == frames.matched.shape[-1] == 256
        return frames.geometric + 40 / 255


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ("auto", 200, 256), ("auto", 301, 300), ("auto", 900, 512), ("1024", 300, 1024), ("256", 900, 256),
        ("512", 900, 512), ("512", 300, 512), ("source", 300, 300), ("source", 909, 908), ("source", 5000, MAX_SIDE),
    ],
)  # fmt: skip
def test_crop_side_follows_size(size, side, expected):
    assert crop_side(CropBox(0, 0, side), size) == expected


@pytest.mark.parametrize("size", ["255", "full", "", "2048"])
def test_generate_options_refuses_other_values_of_size(size):
    with pytest.raises(UsageError, match=r"^--size .*: expected auto or 256 or 512 or 1024 or source$"):
        GenerateOptions(size=size)


@pytest.mark.parametrize("size", ["256", "512", "1024"])
def test_generate_options_refuses_a_size_for_a_full_frame(size):
    with pytest.raises(UsageError, match=rf"^--size {size}: --frame full has the clip's own size"):
        GenerateOptions(frame="full", size=size)
    assert GenerateOptions(frame="full", size="source").size == "source"


@pytest.mark.parametrize("size", ["512", "1024"])
def test_size_warnings_tell_of_a_head_smaller_than_the_size_asked_for(size):
    assert size_warnings(person(), ReferenceOptions()) == ()
    assert size_warnings(person(size="source"), ReferenceOptions(size="source")) == ()
    assert size_warnings(person(size=size), ReferenceOptions(size=size)) == (
        f"--size {size}: head and shoulders are {BOX.side} pixels wide in the clip; enlarging them adds no detail",
    )


def test_larger_frames_show_the_same_in_more_detail():
    small, large = rendered(person()), rendered(person(size="source"))
    np.testing.assert_array_equal(rendered(person(size="auto")), large)
    assert small.shape == (3, 256, 256, 3) and large.shape == (3, BOX.side, BOX.side, 3)

    def reduced(frames, size):
        image = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
        return torch.nn.functional.interpolate(image, size=(size, size), mode="bilinear", antialias=True)

    assert (reduced(small, 64) - reduced(large, 64)).abs().mean() < 2
    detail = [np.abs(np.diff(rendered(person(size=size))[0, :, :, 0], axis=1)).sum() for size in ("256", "512")]
    assert detail[1] > 1.2 * detail[0]


def test_the_change_of_a_network_at_256_is_applied_to_larger_frames():
    for size in ("256", "512"):
        somebody = person(size=size)
        warp, made = rendered(somebody), rendered(somebody, theta=Lamp())
        assert np.abs(made - np.minimum(warp + 20, 255)).max() <= 1


def test_detail_that_a_network_does_not_see_is_kept():
    """One that leaves nothing but one grey takes away what an image of 256² has, and no more."""

    class Fog(Lamp):
        def render(self, frames: Frames, embedding: Embedding) -> Tensor:
            return torch.zeros_like(frames.geometric)

    somebody = person(size="512")
    warp, made = rendered(somebody), rendered(somebody, theta=Fog())
    inside = np.s_[:, 40:-40, 40:-40]
    left, before = (np.abs(np.diff(frames[inside], n=2, axis=2)).mean() for frames in (made, warp))
    assert 0.2 * before < left < before
    blurred = torch.nn.functional.avg_pool2d(torch.from_numpy(made).permute(0, 3, 1, 2).float(), 8)
    assert (blurred[..., 5:-5, 5:-5] - 127.5).abs().mean() < 6


def test_a_network_changes_only_the_head_in_a_whole_frame():
    somebody = person(frame="full")
    assert somebody.canvas.side > somebody.box.side == BOX.side
    warp, made = rendered(somebody), rendered(somebody, Lamp())
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


def test_a_network_sees_the_part_of_a_whole_frame_that_it_changes():
    """Else what it takes away would not be there, and what it adds would lie beside it."""

    class Watched(Lamp):
        seen: list[Tensor]

        def render(self, frames: Frames, embedding: Embedding) -> Tensor:
            self.seen.append(frames.geometric)
            return super().render(frames, embedding)

    somebody, watched = person(frame="full"), Watched()
    watched.seen = []
    rendered(somebody, watched)
    place = np.s_[:, BOX.y0 : BOX.y0 + BOX.side, BOX.x0 : BOX.x0 + BOX.side]
    there = torch.from_numpy(rendered(somebody)[place]).permute(0, 3, 1, 2).float()
    there = torch.nn.functional.interpolate(there, size=(256, 256), mode="bilinear", antialias=True)
    assert ((torch.cat(watched.seen) + 1) * 127.5 - there).abs().max() < 1


def test_a_whole_frame_has_no_seam_around_the_head():
    """The head moves, its surroundings come to rest, and there is no seam where they do."""
    somebody = person(frame="full")
    frame, made = somebody.reference_frames[0].astype(int), rendered(somebody)[2]
    moved = np.abs(made - frame).max(-1) > 24
    assert moved.sum() > 2000
    canvas = somebody.canvas
    outside = np.ones(FRAME, bool)
    rows, columns = (slice(max(first, 0) + 6, first + canvas.side - 6) for first in (canvas.y0, canvas.x0))
    outside[rows, columns] = False
    assert not moved[outside].any()


def test_a_frame_that_is_its_own_crop_is_rendered_whole():
    whole = person(astronaut()[:300, 80:380], CropBox(0, 0, 300), frame="full")
    assert whole.canvas == whole.box == CropBox(0, 0, 300)
    assert np.abs(rendered(whole, Lamp()) - np.minimum(rendered(whole) + 20, 255)).max() <= 1


@pytest.mark.parametrize("size", ["256", "512"])
def test_opacity_is_that_of_the_images_whatever_their_size(size: str) -> None:
    somebody = person(matting=MODELS.matting, size=size)
    opacity = somebody.reference_opacity
    assert opacity is not None and opacity.shape == somebody.reference_images.shape[:3]
    assert opacity[0, int(size) // 2, int(size) // 2] > 250 and somebody.notes == ()


def test_theta_changes_the_person_and_not_the_background_of_a_whole_frame() -> None:
    somebody = person(frame="full", matting=MODELS.matting)
    change = rendered(somebody, Lamp()) - rendered(somebody)
    assert change[:, 195:215, 245:265].mean() > 10  # the face
    assert np.abs(change[:, :100, :100]).max() <= 1  # a flag, no lower than the head


def test_references_with_different_backgrounds_are_not_layered() -> None:
    shown = np.stack([astronaut()[: FRAME[0], : FRAME[1]]] * 2)
    shown[1, :170, :180] = 255 - shown[1, :170, :180]  # somebody draws a curtain
    clip, options = Clip(shown, Path("clip.mp4")), ReferenceOptions(references=2, size="256")
    track = nodding(2, 0.1)
    moving = person_from_track(MODELS.face_model, clip, track, BOX, None, options, matting=MODELS.matting)
    assert moving.reference_opacity is None and moving.notes == (BACKGROUND_MOVES,)
    still = Clip(np.stack([shown[0]] * 2), clip.path)
    resting = person_from_track(MODELS.face_model, still, track, BOX, None, options, matting=MODELS.matting)
    assert resting.reference_opacity is not None and resting.notes == ()
