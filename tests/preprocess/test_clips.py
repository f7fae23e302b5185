"""Whether sound and mouth of a clip go together."""

from pathlib import Path

import numpy as np
import pytest

from thcli.checkpoints import shipped_weights
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
