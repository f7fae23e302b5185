"""Whether sound and mouth of a clip go together."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from thcli.checkpoints import shipped_weights
from thcli.clips.encode import VideoWriter
from thcli.data.store import Store
from thcli.face_model import LIP_GAP, FaceModel
from thcli.preprocess import clips as preprocess
from thcli.records import FaceTrack, Speech


def syllables(frames: int, seed: int) -> np.ndarray:
    """A curve [frames] that rises and falls a few times a second, 0 to 1."""
    from scipy.ndimage import gaussian_filter1d

    curve = gaussian_filter1d(np.random.default_rng(seed).normal(size=frames), 2.0, mode="wrap")
    return (curve - curve.min()) / np.ptp(curve)


def clip(frames: int, lag: int, seed: int = 0, other_sound: int | None = None) -> tuple[FaceTrack, Speech]:
    """A mouth that opens with the loudness of a hiss, two frames before it where ``av_lag`` is 0."""
    opening = np.roll(syllables(frames, seed), lag - 2)
    model = FaceModel.load(shipped_weights() / "face_model.safetensors")
    mesh = np.repeat(model.canonical[None], frames, axis=0).astype(np.float32)
    mesh[:, LIP_GAP[1], 1] += 0.3 * opening.astype(np.float32)
    loud = np.repeat(10 ** (2 * syllables(frames, seed if other_sound is None else other_sound) - 3), 640)
    hiss = np.random.default_rng(1).normal(size=len(loud)) * loud
    empty = np.zeros((frames, 6), np.float32)
    track = FaceTrack(
        empty[:, :4], mesh, mesh[:, :68], empty, 1.0, np.ones(frames, np.float32), (256, 256), "none"
    )  # fmt: skip
    return track, Speech(hiss.astype(np.float32), Path("hiss.wav"))


@pytest.mark.parametrize("lag", [-12, -4, 0, 3, 6, 13])
def test_av_lag_finds_the_lag_of_the_mouth(lag):
    found = preprocess.av_lag(*clip(400, lag))
    assert found is not None and abs(found - lag) <= 1


@pytest.mark.parametrize("sound", range(1, 9))
def test_av_lag_does_not_take_another_sound_for_one_off_sync(sound):
    found = preprocess.av_lag(*clip(400, 0, other_sound=sound))
    assert found is None or abs(found) <= preprocess.IN_SYNC


def test_av_lag_is_none_without_enough_to_tell():
    assert preprocess.av_lag(*clip(49, 0)) is None
    track, speech = clip(400, 0)
    assert preprocess.av_lag(track, Speech(np.zeros_like(speech.samples), speech.path)) is None


def test_preprocess_stores_silence_for_a_photo_and_a_clip_without_sound(portrait_png: Path, tmp_path: Path) -> None:
    """The tracker's networks learn from them; without ``av_lag`` nothing else does."""
    clip = tmp_path / "silent.mp4"
    with VideoWriter(clip, (256, 256), None, 3) as writer:
        for _ in range(3):
            writer.write(np.asarray(Image.open(portrait_png)))
    photo = tmp_path / "photo.png"
    photo.write_bytes(portrait_png.read_bytes())
    run = preprocess.preprocess("all", [clip, photo], tmp_path / "store")
    assert [outcome.error for outcome in run.outcomes] == ["", ""]
    store = Store(tmp_path / "store")
    assert {meta.clip: (meta.frames, meta.av_lag) for meta in store.clips} == {"silent": (3, None), "photo": (1, None)}
    for meta in store.clips:
        samples, rate = soundfile.read(store.speech(meta.clip))
        assert (len(samples), np.abs(samples).max()) == (meta.frames * rate // 25, 0)
        assert (store.track(meta.clip).confidence > 0.5).all()
