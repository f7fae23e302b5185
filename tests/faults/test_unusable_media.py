"""Commands refuse what is not a video, photo or recording, or too little of one, all with the same line."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from thcli.motion.curves import read_curves

MOVING = ("-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:duration=1", "-pix_fmt", "yuv420p")


def missing(folder, media):
    return "gone.mp4: no such file; check the name and the folder"


def directory(folder, media):
    (folder / "gone.mp4").mkdir()
    return "gone.mp4: a folder, expected a media file; name one of the files in it"


def empty(folder, media):
    (folder / "gone.mp4").touch()
    return "gone.mp4: the file is empty; copy or record it again"


def text(folder, media):
    (folder / "gone.mp4").write_text("Dear Sir or Madam,\n" * 50)
    return "gone.mp4: not a video, photo or sound file that ffmpeg reads; expected MP4, MOV, WAV, MP3, JPEG…"


def truncated(folder, media):
    data = (folder / "clip.mp4").read_bytes()
    (folder / "gone.mp4").write_bytes(data[: len(data) // 2])
    return "gone.mp4: an MP4 that was cut off (its index is missing or broken); use a complete copy"


def truncated_with_its_index_in_front(folder, media):
    media("whole.mp4", "-i", "clip.mp4", "-c", "copy", "-movflags", "+faststart")
    data = (folder / "whole.mp4").read_bytes()
    (folder / "gone.mp4").write_bytes(data[: data.index(b"mdat") + 4])
    return "gone.mp4: cut off before its first frame; use a complete copy"


def without_frames(folder, media):
    media("gone.mp4", *MOVING, "-frames:v", 0)
    return "gone.mp4: no picture in it; give a video or a photo"


def one_pixel_high(folder, media):
    media("gone.mp4", "-f", "lavfi", "-i", "testsrc=size=64x2:rate=25:duration=1,crop=64:1", "-c:v", "png")
    return "gone.mp4: 64x1 pixels, expected at least 16 a side; use a larger clip"


def photo_one_pixel_high(folder, media):
    Image.new("RGB", (64, 1)).save(folder / "gone.png")
    (folder / "gone.png").rename(folder / "gone.mp4")
    return "gone.mp4: 64x1 pixels, expected at least 16 a side; use a larger photo"


def photo_that_is_cut_off(folder, media):
    data = (folder / "photo.png").read_bytes()
    (folder / "gone.mp4").write_bytes(data[: len(data) // 2])
    return "gone.mp4: the photo is damaged or cut off (image file is truncated); use a complete copy"


@pytest.mark.parametrize(
    "spoil",
    [missing, directory, empty, text, truncated, truncated_with_its_index_in_front, without_frames, one_pixel_high,
     photo_one_pixel_high, photo_that_is_cut_off],
)  # fmt: skip
def test_generate_and_inspect_refuse_an_unusable_reference(thgen, generate, folder, media, spoil):
    message = spoil(folder, media)
    generate("gone.mp4").refused(3, message)
    thgen("inspect", "gone.mp4").refused(3, message)


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize("spoil", [missing, directory, empty, text, truncated])
def test_generate_refuses_unusable_sound(generate, folder, media, spoil, dry):
    message = spoil(folder, media)
    generate("photo.png", "gone.mp4", *dry).refused(3, message)


def test_generate_and_inspect_refuse_images_for_sound_and_sound_for_images(thgen, generate, media):
    media("mute.mp4", *MOVING)
    for mute in ("mute.mp4", "photo.png"):
        generate("photo.png", mute).refused(3, f"{mute}: no audio stream; give a sound file or a video with sound")
    generate("speech.wav").refused(3, "speech.wav: no picture in it; give a video or a photo")
    thgen("inspect", "speech.wav").refused(3, "speech.wav: no video stream, only sound; expected a video or a photo")


def wav(samples: np.ndarray, rate: int = 16_000) -> bytes:
    """Return samples as a mono WAV of 32-bit floats."""
    raw = samples.astype("<f4").tobytes()
    head = struct.pack("<HHIIHH", 3, 1, rate, 4 * rate, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(raw)) + raw
    return b"RIFF" + struct.pack("<I", len(body)) + body


TONE = 0.4 * np.sin(np.arange(3200) * 0.1)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (TONE[:0], "0.00 s of sound, expected at least 0.1 s; use a longer recording"),
        (TONE[:800], "0.05 s of sound, expected at least 0.1 s; use a longer recording"),
        (np.where(np.arange(3200) == 99, np.nan, TONE),
         "1 samples are not numbers (NaN or infinite); export the recording again as 16-bit WAV"),
        (np.where(np.arange(3200) == 99, -np.inf, TONE),
         "1 samples are not numbers (NaN or infinite); export the recording again as 16-bit WAV"),
    ],
    ids=["nothing", "50 ms", "NaN", "infinity"],
)  # fmt: skip
def test_generate_refuses_sound_of_too_few_or_odd_samples(generate, folder, samples, message):
    (folder / "bad.wav").write_bytes(wav(samples))
    generate("photo.png", "bad.wav").refused(3, f"bad.wav: {message}")


def test_generate_warns_of_silence_and_keeps_the_face_still(generate, folder):
    (folder / "silent.wav").write_bytes(wav(np.zeros(3200)))
    said = generate("photo.png", "silent.wav", "--blink", "none", "--save-curves", "c.csv")
    assert (said.code, said.new) == (0, ("c.csv", "out.mp4", "out.mp4.json"))
    assert said.notes == ["no speech is heard in the sound: the mouth stays closed; give another recording"]
    expression = read_curves(folder / "c.csv").expression
    assert (expression == expression[0]).all()
    assert generate("photo.png", "speech.wav", "-o", "other.mp4").notes == []


def test_generate_warns_of_clipped_sound(generate, media):
    media("loud.wav", "-i", "speech.wav", "-af", "volume=50dB", "-c:a", "pcm_s16le")
    said = generate("photo.png", "loud.wav")
    assert (said.code, said.new) == (0, ("out.mp4", "out.mp4.json"))
    (note,) = said.notes
    assert note.startswith("the sound is clipped: ") and note.endswith("record it again with less gain")


def test_generate_does_not_warn_of_floats_beyond_full_scale(generate, media):
    media("hot.wav", "-i", "speech.wav", "-af", "volume=18dB", "-c:a", "pcm_f32le")
    assert generate("photo.png", "hot.wav").notes == []


def test_generate_says_which_of_several_tracks_of_sound_it_takes(generate, media):
    media("two.mka", "-i", "speech.wav", "-i", "speech.wav", "-map", 0, "-map", 1, "-c:a", "flac")
    said = generate("photo.png", "two.mka")
    assert said.code == 0
    assert said.notes == [
        "two.mka: 2 tracks of sound; number 1 is taken, as players do by default; save another to a file of its own "
        "to use it"
    ]
