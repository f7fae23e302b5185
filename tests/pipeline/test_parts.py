"""The reference is one shot that shows a face, and the user is told which; real videos, and the real tracker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thcli.clips.encode import VideoWriter
from thcli.clips.probe import probe
from thcli.generation.session import input_warnings
from thcli.pipeline.models import Models, load_models
from thcli.pipeline.options import ReferenceOptions
from thcli.pipeline.parts import ClipPart, choose_part
from thcli.pipeline.person import LIGHT_CHANGES, read_person

Film = Callable[..., Path]


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models(device="cpu")


@pytest.fixture(scope="module")
def portrait(portrait_png: Path) -> np.ndarray:
    return np.asarray(Image.open(portrait_png).convert("RGB"))


@pytest.fixture(scope="module")
def room() -> np.ndarray:
    """A picture without a face."""
    from skimage.data import coffee

    return np.asarray(Image.fromarray(coffee()).resize((256, 256)))


@pytest.fixture
def film(tmp_path: Path) -> Film:
    """film(*pieces): a video of pieces, each a picture or several and a number of frames."""

    def make(*pieces: tuple[np.ndarray, int]) -> Path:
        path = tmp_path / "clip.mp4"
        with VideoWriter(path, (256, 256), None, sum(count for _, count in pieces)) as writer:
            for picture, count in pieces:
                for _ in range(count):
                    writer.write(np.ascontiguousarray(picture))
        return path

    return make


def part_of(models: Models, path: Path, start: float = 0.0) -> ClipPart:
    return choose_part(models.tracker, probe(path), start, 4.0)


def test_choose_part_takes_the_beginning_of_a_clip_of_one_shot(models, film, portrait):
    part = part_of(models, film((portrait, 30)))
    assert part == ClipPart(0.0, 4.0) and part.notes() == ()
    assert part_of(models, film((portrait, 30)), 0.4) == ClipPart(0.4, 4.0)


def test_choose_part_takes_the_longest_shot_with_a_face(models, film, portrait, room):
    part = part_of(models, film((portrait, 20), (room, 40), (portrait[:, ::-1], 30)))
    assert (part.start, part.seconds) == (2.4, pytest.approx(1.2))
    assert part.notes() == (
        "the clip is cut at 0.80, 2.40 s: the reference is one shot, from 2.40 to 3.60 s; --start chooses another",
    )


def test_choose_part_takes_the_shot_at_start(models, film, portrait, room):
    part = part_of(models, film((portrait, 25), (room, 10), (portrait[:, ::-1], 40)), 0.4)
    assert (part.start, part.seconds) == (0.4, pytest.approx(0.6))
    assert "from 0.40 to 1.00 s" in part.notes()[0]


def test_choose_part_begins_where_the_face_does(models, film, portrait):
    title = np.full_like(portrait, (32, 48, 80))
    part = part_of(models, film((title, 30), (portrait, 30)))
    assert (part.start, part.seconds) == (1.2, pytest.approx(1.2))
    assert part.notes() == ("no face is seen before 1.20 s: the reference is what follows",)


def test_choose_part_leaves_it_to_tracking_to_find_no_face(models, film, room):
    assert part_of(models, film((room, 30))).start == 0


def test_read_person_takes_references_from_one_shot_and_tells_of_it(models, film, portrait, room):
    person = read_person(models, film((room, 20), (portrait, 25)))
    assert (person.start, len(person.track)) == (0.8, 25)
    assert person.notes[0].startswith("the clip is cut at 0.80 s")
    assert np.abs(person.reference_frames.astype(float) - portrait).mean() < 10


def test_read_person_has_references_of_one_light(models, film, portrait):
    fading = [((portrait * min((t + 4) / 20, 1)).astype(np.uint8), 1) for t in range(40)]
    person = read_person(models, film(*fading))
    assert person.notes == (LIGHT_CHANGES,)
    assert np.ptp(person.reference_images.mean(axis=(1, 2, 3))) < 3
    assert person.reference_frames.mean() == pytest.approx(portrait.mean(), abs=3)


@pytest.mark.parametrize(
    ("left", "right", "pasted", "said"), [(44, 210, False, "a square of"), (56, 198, True, "the whole frame is shown")]
)
def test_read_person_shows_nothing_made_up_of_a_close_picture(models, portrait, tmp_path, left, right, pasted, said):
    Image.fromarray(portrait[:, left:right]).save(tmp_path / "close.png")
    person = read_person(models, tmp_path / "close.png")
    assert person.paste_back == pasted and said in person.notes[-1]
    assert person.paste_back or person.box.beyond(person.frame_size) == 0
    full = read_person(models, tmp_path / "close.png", ReferenceOptions(frame="full"))
    assert len(full.notes) == 1 and "smiles" in full.notes[0] and full.paste_back


def test_read_person_reduces_a_large_photo_that_is_shown_whole(models, portrait, tmp_path):
    Image.fromarray(portrait[:, 56:198]).resize((994, 1792)).save(tmp_path / "close.png")
    assert read_person(models, tmp_path / "close.png").video_size == (710, 1280)
    assert read_person(models, tmp_path / "close.png", ReferenceOptions(size="source")).video_size == (994, 1792)


def test_input_warnings_of_a_video_name_the_cuts(models, film, portrait, room, inputs, theta_weights):
    from thcli.generation.session import Session
    from thcli.pipeline.options import GenerateOptions
    from thcli.pipeline.progress import Quiet

    options = GenerateOptions(renderer="warp", device="cpu", weights=theta_weights)
    job = Session().prepare(film((room, 20), (portrait, 25)), inputs / "word.wav", options, Quiet())
    said = [
        note for note in input_warnings(job) if note.startswith("the clip is cut at 0.80 s: the reference is one shot")
    ]
    assert len(said) == 1
