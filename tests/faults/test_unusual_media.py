"""Videos made from unusual media show the person upright, in the right colours, at the right time."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from thcli.clips.decode import read_clip
from thcli.motion.curves import read_curves

STILL = ("--frame", "full", "--motion", "still", "--expression-scale", 0, "--blink", "none")
WIDE = (slice(256), slice(60, 380))
"""Part of the photograph that is wider than high, so that no turned image resembles it."""


@pytest.fixture(scope="module")
def picture(scene):
    return scene.whole()[WIDE]


@pytest.fixture
def shows(generate, folder):
    """shows(reference, expected [H, W, 3], tolerance) checks that a still video of it shows the expected image."""

    def check(reference, expected, tolerance=6.0):
        said = generate(reference, "speech.wav", *STILL)
        assert (said.code, said.new) == (0, ("out.mp4", "out.mp4.json")), said.err
        frames = read_clip(folder / "out.mp4").frames
        assert len(frames) == 5 and all(same(frame, expected, tolerance) for frame in frames)
        (folder / "out.mp4").unlink()
        (folder / "out.mp4.json").unlink()

    return check


def same(frame, expected, tolerance=6.0):
    """Return whether two images [H, W, 3] differ by no more than what an encoder loses, in mean colour too."""
    if frame.shape != expected.shape:
        return False
    difference = frame.astype(float) - expected
    return np.abs(difference).mean() < tolerance and np.abs(difference.mean(axis=(0, 1))).max() < tolerance / 2


def test_same_tells_turned_and_recoloured_images_apart(picture):
    assert same(picture, picture)
    turned = (picture[:, ::-1], picture[::-1], np.rot90(picture), np.roll(picture, 8, axis=1))
    for wrong in (*turned, picture[..., ::-1], picture // 2 + 64):
        assert not same(wrong, picture, 12.0)


def test_generate_shows_a_photo_as_it_is(shows, picture, folder):
    Image.fromarray(picture).save(folder / "a.png")
    shows("a.png", picture)


def test_generate_shows_a_grey_photo_in_grey(shows, picture, folder):
    grey = Image.fromarray(picture).convert("L")
    grey.save(folder / "a.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(folder / "b.png")
    for name in ("a.png", "b.png"):
        shows(name, np.asarray(grey.convert("RGB")))


def test_generate_shows_transparent_pixels_in_white(shows, picture, folder):
    alpha = np.full((*picture.shape[:2], 1), 255, np.uint8)
    alpha[:, :60] = 0
    Image.fromarray(np.concatenate([picture, alpha], axis=2)).save(folder / "a.png")
    shows("a.png", np.where(alpha == 0, 255, picture))


def test_generate_shows_a_cmyk_jpeg_in_its_colours(shows, picture, folder):
    Image.fromarray(picture).convert("CMYK").save(folder / "a.jpg", quality=95)
    shows("a.jpg", picture)


@pytest.mark.parametrize(("orientation", "turn"), [(3, 2), (6, 1), (8, 3)])
def test_generate_turns_a_photo_as_exif_says(shows, picture, folder, orientation, turn):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.rot90(picture, turn)).save(folder / "a.jpg", quality=95, exif=exif)
    shows("a.jpg", picture)


def test_generate_and_inspect_read_an_animated_gif(shows, thgen, picture, folder):
    shown = [Image.fromarray(np.roll(picture, t, axis=1)) for t in (0, 0, 1, 1)]
    shown[0].save(folder / "a.gif", save_all=True, append_images=shown[1:], duration=100)
    shows("a.gif", picture, 12.0)  # It has 256 colours.
    said = thgen("inspect", "a.gif")
    assert said.out.splitlines()[1] == "picture    320x256, 0.4 s, 10 frames at 25 a second"


def test_generate_shows_hevc_of_ten_bits_in_its_colours(shows, film, picture):
    film("a.mp4", np.stack([picture] * 3), "-c:v", "libx265", "-x265-params", "log-level=error:qp=18",
         "-pix_fmt", "yuv420p10le", "-tag:v", "hvc1")  # fmt: skip
    shows("a.mp4", picture)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_generate_turns_a_video_as_its_display_matrix_says(shows, film, media, picture, degrees):
    # Frames are stored turned clockwise; the display matrix turns them back.
    film("stored.mp4", np.stack([np.rot90(picture, -degrees // 90)] * 3), "-qp", 12)
    media("a.mp4", "-display_rotation", degrees, "-i", "stored.mp4", "-c", "copy")
    shows("a.mp4", picture)


def test_generate_and_inspect_take_a_clip_of_one_frame_for_a_photo(shows, film, picture, thgen):
    film("a.mp4", picture[None], "-qp", 12)
    shows("a.mp4", picture)
    assert thgen("inspect", "a.mp4").out.splitlines()[1] == "picture    320x256, a photo"


def test_generate_crops_frames_of_8k(generate, folder, picture, media):
    Image.fromarray(picture).save(folder / "a.png")
    media("a.mp4", "-loop", 1, "-i", "a.png", "-frames:v", 1, "-vf", "scale=7680:4320", "-preset", "ultrafast",
         "-pix_fmt", "yuv420p")  # fmt: skip
    said = generate("a.mp4")
    assert (said.code, said.new) == (0, ("out.mp4", "out.mp4.json"))
    assert read_clip(folder / "out.mp4").frames.shape == (5, 512, 512, 3)


def test_generate_keeps_the_time_of_a_variable_frame_rate(generate, scene, folder, film):
    # The face stands, jumps, and goes on; frames are dropped where nothing changes.
    where = [0] * 9 + [12] * 6 + list(range(12, 2, -1))
    pictures = np.stack([scene.portrait(shift) for shift in where])
    film("even.mp4", pictures, "-qp", 12)
    film("uneven.mp4", pictures, "-qp", 12, "-vf", "select=not(between(n\\,1\\,8)+between(n\\,10\\,14))",
         "-fps_mode", "vfr")  # fmt: skip
    nods = []
    for name in ("even", "uneven"):
        said = generate("photo.png", "clip.mp4", "--motion", f"{name}.mp4", "--save-curves", f"{name}.csv", "-o",
                        f"{name}_out.mp4")  # fmt: skip
        assert said.code == 0, said.err
        nods.append(read_curves(folder / f"{name}.csv").pose)
    even, uneven = nods
    moved = np.abs(even - even[0]).max()
    assert moved > 0.05
    assert np.abs(even - uneven).max() < 0.15 * moved
