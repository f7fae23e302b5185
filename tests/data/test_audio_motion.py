"""Sound and motion of a clip in step: the lag between the two, and the clips of a store that are in step."""

from pathlib import Path

import numpy as np
import pytest

from thcli.checkpoints import shipped_weights
from thcli.data.audio_motion import AudioMotion, correlation, in_step, load_audio_motion, mouth_lag, split_subjects
from thcli.data.store import TRACK, ClipMeta, Store, StoreWriter, save_track, write_index
from thcli.errors import MediaError
from thcli.face_model import FaceModel
from thcli.records import FaceTrack, Float
from thcli.rotations import to_pixels


@pytest.mark.parametrize("lag", [-3, 0, 2])
def test_in_step_pairs_sound_with_the_frames_that_trail_it(lag: int) -> None:
    features = np.arange(20, dtype=np.float32)
    frames = np.arange(25)
    sound, motion = in_step(len(frames), features, lag)
    assert len(sound) == len(frames[motion]) >= 17
    np.testing.assert_array_equal(frames[motion], sound + lag)


def test_in_step_of_curves_without_common_frames_is_empty() -> None:
    sound, motion = in_step(3, np.zeros(4, np.float32), 5)
    assert len(sound) == 0 == len(np.zeros(3)[motion])


def syllables(frames: int) -> Float:
    """A curve [T] that changes as fast as speech."""
    noise = np.random.default_rng(0).standard_normal(frames)
    return np.convolve(noise, np.hanning(7)[1:-1], mode="same").astype(np.float32)


@pytest.mark.parametrize("lag", [-5, 0, 1, 8])
def test_mouth_lag_finds_how_far_a_mouth_trails_its_sound(lag: int) -> None:
    # What both do slowly does not count.
    curve, drift = syllables(200), np.linspace(0, 20, 160, dtype=np.float32)
    heard, opening = curve[20:180] + drift, curve[20 - lag : 180 - lag] - drift
    found, fit = mouth_lag(heard, opening, 8)
    assert found == lag
    assert fit > 0.9


def test_mouth_lag_and_correlation_of_a_constant_curve_are_zero() -> None:
    assert mouth_lag(np.ones(60, np.float32), syllables(60), 4)[1] == 0
    assert correlation(np.zeros(0), np.ones(3)) == 0


def fill(root: Path, model: FaceModel) -> None:
    """Three clips whose frame t shows coefficient 0 at t / 10."""
    amounts = np.arange(60, dtype=np.float32)[:, None] / 10 * np.eye(20, dtype=np.float32)[0]
    scale, size = 1 / 60, (256, 256)
    mesh = to_pixels(model.canonical + model.displacement(amounts), scale, size).astype(np.float32)
    zeros = np.zeros((60, 6), np.float32)
    confidence = np.ones(60, np.float32)
    confidence[10] = 0
    track = FaceTrack(zeros[:, :4], mesh, mesh[:, :68], zeros, scale, confidence, size, "made up")
    for clip, lag in (("a", 2), ("b", None), ("c", -2)):
        with StoreWriter(root).clip(ClipMeta(clip, clip, "train", 60, av_lag=lag)) as folder:
            save_track(folder / TRACK, track)
    write_index(root)


def numbered(_: Path) -> Float:
    """Features whose values are the number of their frame."""
    return np.broadcast_to(np.arange(60, dtype=np.float32)[:, None, None], (60, 4, 80))


def test_load_audio_motion_brings_clips_with_known_lag_into_step(tmp_path: Path) -> None:
    model = FaceModel.load(shipped_weights() / "face_model.safetensors")
    fill(tmp_path, model)
    clips = load_audio_motion(Store(tmp_path), "train", model, numbered)
    assert [clip.clip for clip in clips] == ["a", "c"]
    # In usual footage, whose av_lag is 0, the mouth leads by two frames.
    for clip, lag in zip(clips, (0, -4), strict=True):
        assert len(clip) == 60 - abs(lag) == len(clip.features) == len(clip.pose)
        np.testing.assert_allclose(clip.expression[:, 0], (clip.features[:, 0, 0] + lag) / 10, atol=0.05)
        assert clip.tracked.sum() == len(clip) - 1
        assert np.all(np.diff(clip.opening) > 0)


def test_load_audio_motion_refuses_a_split_without_usable_clips(tmp_path: Path) -> None:
    model = FaceModel.load(shipped_weights() / "face_model.safetensors")
    fill(tmp_path, model)
    with pytest.raises(MediaError, match="no clip of split 'val'"):
        load_audio_motion(Store(tmp_path), "val", model, numbered)


def empty_clip(clip: str, subject: str) -> AudioMotion:
    empty = np.zeros((0, 20), np.float32)
    return AudioMotion(clip, subject, empty, empty, empty, empty[:, 0], np.zeros(0, bool))


def test_split_subjects_keeps_the_clips_of_a_subject_together() -> None:
    clips = [empty_clip(f"{subject}{i}", subject) for subject in "abcdef" for i in range(3)]
    kept, held = split_subjects(clips, 2, seed=0)
    assert len(held) == 6 and len(kept) == 12
    assert not {c.subject for c in kept} & {c.subject for c in held}
    assert split_subjects(clips, 2, seed=0) == (kept, held)
    with pytest.raises(MediaError, match="add clips"):
        split_subjects(clips, 6, seed=0)
