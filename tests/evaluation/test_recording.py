"""Pairs of videos as metrics get them. The face is a red disc, which a tracker made for these tests finds exactly."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest

from thcli.clips.audio import read_speech
from thcli.clips.decode import read_clip
from thcli.clips.encode import VideoWriter
from thcli.clips.ffmpeg import executable
from thcli.errors import MediaError, NoFaceError, UsageError
from thcli.evaluation import recording as recordings
from thcli.evaluation.recording import Recording, align, read_pair, videos_in
from thcli.faces.protocol import Detection
from thcli.faces.track import face_boxes
from thcli.pipeline.models import Models
from thcli.records import FPS, SAMPLES_PER_FRAME

UNIT = 1.4
"""Canonical units over the disc's radius: the face fills the usual part of a square of 256 where the disc's is 50."""


class DiscTracker:
    """It finds a face of the disc's size where the disc is, and none in frames without a disc."""

    name = "disc 1"

    def __init__(self, model):
        self.model = model

    def detect(self, frame):
        mesh = self._mesh(frame)
        return [] if mesh is None else [Detection(face_boxes(mesh), 0.9)]

    def mesh(self, frame, prior):
        mesh = self._mesh(frame)
        return (np.asarray(prior), 0.0) if mesh is None else (mesh, 0.9)

    def _mesh(self, frame):
        red = (frame[..., 0] > 150) & (frame[..., 1] < 100)
        if red.sum() < 20:
            return None
        y, x = np.nonzero(red)
        centre = np.array([x.mean() + 0.5, y.mean() + 0.5, 0], np.float32)
        return (self.model.canonical * np.float32(UNIT * np.sqrt(red.sum() / np.pi)) + centre).astype(np.float32)


@pytest.fixture(autouse=True)
def discs(monkeypatch):
    """Faces are tracked by ``DiscTracker``."""
    monkeypatch.setattr(Models, "tracker", property(lambda models: DiscTracker(models.face_model)))


def picture(size, centre, radius, shade=0):
    """A frame of (width, height) with a disc on a pattern that is fixed to it, and a shade of blue."""
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    x, y = (x - centre[0]) / radius, (y - centre[1]) / radius
    pattern = np.where((np.floor(x * 2) + np.floor(y * 2)) % 2 == 0, 110, 150)
    frame = np.stack([pattern, pattern, np.full_like(pattern, shade)], axis=-1)
    frame[x**2 + y**2 < 1] = (220, 40, 40)
    return frame.astype(np.uint8)


@pytest.fixture
def video(tmp_path, speech_wav):
    """video(name, frames, sound=the demo's speech) writes an MP4."""

    def make(name, frames, sound=speech_wav):
        height, width = frames[0].shape[:2]
        with VideoWriter(tmp_path / name, (width, height), sound, len(frames)) as writer:
            for frame in frames:
                writer.write(frame)
        return tmp_path / name

    return make


@pytest.fixture
def square(video):
    """A head crop of 256² of one second, whose shade of blue tells the frame."""
    return video("square.mp4", [picture((256, 256), (128, 130), 50, 8 * t) for t in range(25)])


def ffmpeg(*arguments):
    subprocess.run([executable(), "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def difference(pair):
    return np.abs(pair.predicted.frames.astype(float) - pair.reference.frames).mean()


def test_read_pair_leaves_a_head_crop_as_it_is(square):
    pair = read_pair(square, square)
    assert pair.notes == ()
    assert (len(pair), len(pair.predicted), len(pair.reference)) == (25, 25, 25)
    np.testing.assert_array_equal(pair.predicted.frames, read_clip(square).frames)
    np.testing.assert_array_equal(pair.reference.frames, pair.predicted.frames)
    assert pair.predicted.track.size == (256, 256)
    assert pair.predicted.name == str(square)
    assert len(pair.predicted.speech.samples) == 25 * SAMPLES_PER_FRAME


def test_read_pair_starts_reference_and_sound_at_reference_start(video, speech_wav):
    frames = [picture((256, 256), (128, 130), 50, 5 * t) for t in range(50)]
    whole, later = video("whole.mp4", frames), video("later.mp4", frames[20:45])
    pair = read_pair(later, whole, reference_start=20 / FPS)
    assert pair.notes == ("lengths differ (1.00 s and 1.20 s): the shorter is compared",)
    assert len(pair) == 25
    assert difference(pair) < 1
    assert np.abs(pair.reference.frames[0, ..., 2].astype(int) - pair.predicted.frames[1, ..., 2]).max() > 2
    np.testing.assert_array_equal(pair.reference.speech.samples, read_speech(whole, 0.8, 1.0).samples)


def test_read_pair_reads_only_the_seconds_asked_for(square):
    pair = read_pair(square, square, reference_start=0.4, seconds=0.2)
    assert (len(pair), pair.notes) == (5, ())
    np.testing.assert_array_equal(pair.reference.frames, read_clip(square).frames[10:15])
    np.testing.assert_array_equal(pair.predicted.frames, read_clip(square).frames[:5])


def test_read_pair_resizes_frames_of_another_size_and_says_so(square, video):
    small = video("small.mp4", [picture((128, 128), (64, 65), 25, 8 * t) for t in range(25)])
    pair = read_pair(small, square)
    assert pair.notes == ("sizes differ (128x128 and 256x256): both are resized to 256x256",)
    assert difference(pair) < 4
    np.testing.assert_allclose(pair.predicted.track.landmarks, pair.reference.track.landmarks, atol=1)


def test_read_pair_crops_larger_frames_by_a_larger_square(video):
    small, large = (video(f"{k}.mp4", [picture((160 * k, 120 * k), (100 * k, 55 * k), 14 * k)] * 3) for k in (2, 3))
    pair = read_pair(large, small)
    assert pair.notes == ("sizes differ (480x360 and 320x240): both are resized to 256x256",)
    np.testing.assert_allclose(pair.predicted.track.landmarks, pair.reference.track.landmarks, atol=1.5)


def test_read_pair_crops_wide_frames_around_the_reference_s_face(video):
    wide = video("wide.mp4", [picture((320, 240), (200, 110), 25)] * 5)
    moved = video("moved.mp4", [picture((320, 240), (204, 110), 25)] * 5)
    pair = read_pair(moved, wide)
    (note,) = pair.notes
    assert note.startswith("measured on the head: ") and note.endswith(" of 320x240")
    side = int(note.split(": ")[1].split("x")[0])
    made, true = (one.track.landmarks[..., :2].mean((0, 1)) for one in (pair.predicted, pair.reference))
    # Both are cut to the same square: a face that is elsewhere is not moved into place.
    np.testing.assert_allclose(made - true, [4 * 256 / side, 0], atol=1)
    assert abs(true[0] - 128) < 20


@pytest.mark.parametrize("whole", [(480, 360), (400, 400)])
def test_read_pair_lays_a_crop_on_a_whole_frame_by_the_face(square, video, whole):
    frames = [picture(whole, (210, 170), 30, 8 * t) for t in range(25)]
    pair = read_pair(square, video("whole.mp4", frames))
    (note,) = pair.notes
    assert note.startswith(f"frames differ (256x256 and {whole[0]}x{whole[1]}, the face 1.6")
    assert difference(pair) < 8
    np.testing.assert_array_equal(pair.predicted.frames, read_clip(square).frames)
    np.testing.assert_allclose(pair.predicted.track.landmarks, pair.reference.track.landmarks, atol=1.5)


def test_read_pair_lays_a_whole_frame_on_a_cropped_reference(square, video):
    frames = [picture((480, 360), (210, 170), 30, 8 * t) for t in range(25)]
    pair = read_pair(video("whole.mp4", frames), square)
    assert difference(pair) < 8
    np.testing.assert_array_equal(pair.reference.frames, read_clip(square).frames)


def test_read_pair_tracks_large_frames_reduced_and_cuts_them_out_at_full_size(video, monkeypatch):
    wide = video("wide.mp4", [picture((640, 480), (300, 230), 50)] * 3)
    full = read_pair(wide, wide)
    monkeypatch.setattr(recordings, "LONGEST_SIDE", 320)
    reduced = read_pair(wide, wide)
    difference = np.abs(full.predicted.frames.astype(float) - reduced.predicted.frames)
    assert difference.mean() < 4, "cut out of the reduced frames the pattern would be soft"
    np.testing.assert_allclose(full.predicted.track.landmarks, reduced.predicted.track.landmarks, atol=1.5)
    crop = read_pair(video("crop.mp4", [picture((256, 256), (128, 130), 50)] * 3), wide)
    np.testing.assert_allclose(crop.predicted.track.landmarks, crop.reference.track.landmarks, atol=1.5)


def test_read_pair_needs_no_face_in_the_predicted_video(square, video):
    empty = video("empty.mp4", [np.full((256, 256, 3), 90, np.uint8)] * 25)
    pair = read_pair(empty, square)
    assert pair.predicted.track is None
    assert pair.predicted.frames.shape == (25, 256, 256, 3)
    assert pair.notes == (
        f"{empty}: no face from frame 0 (0.0 s) on, and at most 12 frames can be bridged: what needs the face is not "
        "computed",
    )
    other = video("other.mp4", [np.full((240, 320, 3), 90, np.uint8)] * 25)
    assert read_pair(other, square).notes[1] == (
        "frames differ in shape (320x240 and 256x256) and no face says how: the middle is compared"
    )


def test_read_pair_refuses_a_reference_without_a_face(square, video):
    empty = video("empty.mp4", [np.full((256, 256, 3), 90, np.uint8)] * 25)
    with pytest.raises(NoFaceError) as error:
        read_pair(square, empty)
    assert str(error.value) == (
        f"{empty}: no face from frame 0 (0.0 s) on, and at most 12 frames can be bridged; compare another part with "
        "--reference-start and --seconds"
    )


def test_read_pair_matches_other_frame_rates_by_time(square, video, tmp_path):
    ffmpeg("-i", square, "-vf", "fps=50", "-c:v", "libx264", "-qp", 0, tmp_path / "fast.mp4")
    pair = read_pair(tmp_path / "fast.mp4", square)
    assert pair.notes == (f"{tmp_path / 'fast.mp4'}: 50 frames a second, read at 25",)
    assert difference(pair) < 1


def test_read_pair_pads_short_sound_and_goes_on_without_any(square, video, tmp_path):
    ffmpeg("-i", square, "-an", "-c", "copy", tmp_path / "silent.mp4")
    ffmpeg("-i", square, "-af", "atrim=end=0.5", "-c:v", "copy", tmp_path / "short.mp4")
    pair = read_pair(tmp_path / "silent.mp4", tmp_path / "short.mp4")
    assert pair.predicted.speech is None
    samples = pair.reference.speech.samples
    assert len(samples) == 25 * SAMPLES_PER_FRAME
    assert np.abs(samples[:6000]).max() > 0.01
    assert not samples[10_000:].any()
    later = read_pair(square, tmp_path / "short.mp4", reference_start=0.8)
    assert later.reference.speech is None
    assert later.notes[-1].endswith("measured as if it had no sound")


def test_read_pair_reads_the_beginning_of_a_long_video(square, monkeypatch):
    monkeypatch.setattr(recordings, "MAX_SECONDS", 0.48)
    pair = read_pair(square, square)
    assert len(pair) == 12
    assert pair.notes == ("only the first 0 of 1 s are compared, which is what is held in memory at a time",)


def test_read_pair_refuses_what_cannot_be_compared_in_one_line(square, portrait_png, speech_wav, tmp_path):
    for arguments, kind, message in (
        ((square, portrait_png), MediaError, f"{portrait_png}: a photo, expected a video to measure"),
        ((speech_wav, square), MediaError, f"{speech_wav}: only sound, expected a video to measure"),
        ((tmp_path / "gone.mp4", square), MediaError, "gone.mp4: no such file; check the name and the folder"),
        ((square, square, 2.0), MediaError, "lasts 1.00 s, but --reference-start is 2 s; choose less"),
        ((square, square, 0.0, -1.0), UsageError, "cannot compare -1.0 s from 0 s on; both must lie inside"),
    ):
        with pytest.raises(kind) as error:
            read_pair(*arguments)
        assert str(error.value).endswith(message)


def test_cut_takes_a_recording_without_sound_or_face():
    bare = Recording("a", np.zeros((5, 256, 256, 3), np.uint8), None, None).cut(2)
    assert (len(bare), bare.track, bare.speech) == (2, None, None)


def test_cut_shortens_the_sound_and_select_keeps_it(recording):
    made = recording(10)
    cut = made.cut(4)
    assert (len(cut), len(cut.track), len(cut.speech.samples)) == (4, 4, 4 * SAMPLES_PER_FRAME)
    chosen = made.select(np.array([3, 3, 0]))
    np.testing.assert_array_equal(chosen.frames, made.frames[[3, 3, 0]])
    np.testing.assert_array_equal(chosen.track.landmarks, made.track.landmarks[[3, 3, 0]])
    assert chosen.speech is made.speech


def test_align_cuts_to_the_common_length(recording):
    pair = align(recording(10), replace(recording(8), track=None, speech=None), ["a note"])
    assert (len(pair.predicted), len(pair.reference)) == (8, 8)
    assert len(pair.predicted.speech.samples) == 8 * SAMPLES_PER_FRAME
    assert pair.notes == ("a note", "lengths differ (10 and 8 frames): the first 8 are compared")
    assert align(recording(8), recording(8)).notes == ()


def test_videos_in_gives_visible_videos_in_order(tmp_path):
    for name in ("b.MP4", "a.mov", ".thgen-1.mp4", "a.mp4.json", "c.wav"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "d.mp4").mkdir()
    assert [path.name for path in videos_in(tmp_path)] == ["a.mov", "b.MP4"]
