"""``thgen generate`` and ``thgen inspect`` refuse references without a whole face, and warn of unsuitable faces."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data

from thcli.clips.decode import read_clip


def test_generate_and_inspect_refuse_a_photo_without_a_face(thgen, generate, folder):
    Image.fromarray(data.coffee()).save(folder / "a.png")
    message = "a.png: no face found; choose a picture with a face at least 64 pixels high"
    generate("a.png").refused(4, message)
    thgen("inspect", "a.png").refused(4, message)


@pytest.mark.parametrize(("turns", "fix"), [(1, "90° clockwise"), (2, "180°"), (3, "90° counterclockwise")])
def test_photos_and_videos_that_do_not_stand_upright_are_refused(thgen, generate, film, folder, scene, turns, fix):
    image = np.ascontiguousarray(np.rot90(scene.portrait(), turns))
    Image.fromarray(image).save(folder / "a.png")
    film("a.mp4", np.stack([image] * 10))
    message = f"the face does not stand upright; turn the picture by {fix}"
    generate("a.png").refused(4, f"a.png: {message}")
    generate("a.mp4").refused(4, f"a.mp4: {message}")
    thgen("inspect", "a.png").refused(4, f"a.png: {message}")


def test_generate_and_inspect_name_the_frame_from_which_the_face_is_gone(thgen, generate, film, scene):
    room = np.full((256, 256, 3), 90, np.uint8)
    wide = np.concatenate([scene.portrait(), room], axis=1)
    images = np.stack([np.roll(wide, min(14 * t, 256), axis=1)[:, :256] for t in range(30)])
    film("a.mp4", images)
    said = generate("a.mp4")
    frame = int(said.err.split("frame ")[1].split()[0])
    assert 6 <= frame <= 14  # The middle of the face is past the border at frame 9.
    said.refused(4, f"a.mp4: no face from frame {frame} ({frame / 25:.1f} s) on, and at most 12 frames can be bridged; "
                    "choose another part with --start, or another face with --face")  # fmt: skip
    assert thgen("inspect", "a.mp4").err == said.err


def test_generate_takes_the_larger_of_two_faces_or_the_one_chosen(generate, folder, scene):
    large = scene.portrait()
    small = np.asarray(Image.fromarray(large[:, ::-1]).resize((200, 200)))
    both = np.concatenate([np.pad(small, ((0, 56), (0, 0), (0, 0)), mode="edge"), large], axis=1)
    Image.fromarray(both).save(folder / "a.png")
    middle = {}
    for face in ("largest", "0", "1"):
        said = generate("a.png", "speech.wav", "--face", face, "-o", f"{face}.mp4", "--motion", "still")
        assert said.code == 0
        note = "2 faces are in view, and the largest is used; --face 0 to --face 1 choose one, counted from the left"
        assert (note in said.notes) == (face == "largest")
        middle[face] = read_clip(folder / f"{face}.mp4").frames[0].astype(float)
    assert (middle["largest"] == middle["1"]).all()
    assert np.abs(middle["largest"] - middle["0"]).mean() > 10
    said = generate("a.png", "speech.wav", "--face", "2")
    said.refused(4, "a.png: 2 faces in view, counted from left to right from 0, and no face 2; "
                    "choose --face 0 to 1, or --face largest")  # fmt: skip


def test_generate_and_inspect_warn_of_a_face_from_the_side(generate, thgen, folder):
    Image.fromarray(data.camera()).save(folder / "a.png")
    turned = "the head is turned far to the side: choose a more frontal part"
    said = generate("a.png")
    assert (said.code, said.new) == (0, ("out.mp4", "out.mp4.json"))
    assert turned in said.notes
    assert f"advice     {turned}" in thgen("inspect", "a.png").out


@pytest.mark.parametrize("columns", [90, 110])
def test_generate_and_inspect_warn_of_a_face_cut_by_the_border(generate, thgen, folder, scene, columns):
    Image.fromarray(scene.portrait()[:, columns:]).save(folder / "a.png")
    said = generate("a.png")
    assert (said.code, said.new) == (0, ("out.mp4", "out.mp4.json"))
    (note,) = (note for note in said.notes if "cuts off" in note)
    share = int(note.split("cuts off ")[1].split("%")[0])
    assert note == (f"the picture's border cuts off {share}% of the face: choose a picture or a part that shows all of "
                    "it, with room around it")  # fmt: skip
    assert {90: 3 <= share <= 9, 110: 18 <= share <= 30}[columns]
    assert f"advice     {note}" in thgen("inspect", "a.png").out


def test_generate_and_inspect_refuse_half_a_face(generate, thgen, folder, scene):
    Image.fromarray(scene.portrait()[:, 128:]).save(folder / "a.png")
    said = generate("a.png")
    share = int(said.err.split("cuts off ")[1].split("%")[0])
    assert 35 <= share <= 60
    said.refused(4, f"a.png: the picture's border cuts off {share}% of the face; choose a picture or a part that "
                    "shows all of it, or another face with --face")  # fmt: skip
    assert thgen("inspect", "a.png").err == said.err


def test_generate_does_not_warn_of_whole_faces(generate):
    for reference in ("photo.png", "clip.mp4"):
        said = generate(reference, "speech.wav", "--overwrite")
        assert said.notes == []
