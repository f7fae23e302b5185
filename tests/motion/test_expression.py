"""Ψ with the log-mel front end, from features to expressions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from thcli.checkpoints import Header, save_checkpoint
from thcli.clips.audio import read_speech
from thcli.clips.features import audio_features
from thcli.errors import WeightsError
from thcli.motion.expression import equalised, predict, predict_expression
from thcli.pipeline.models import load_expression_learner, load_models
from thcli.records import AudioFeatures
from thgen_models.expression import ExpressionDims, ExpressionLearner

DIMS = {"width": 16, "reference": 8, "dilations": [1, 2]}
SILENCE = np.zeros((61, 640), np.float32)


@pytest.fixture(scope="module")
def network() -> ExpressionLearner:
    torch.manual_seed(0)
    return ExpressionLearner(ExpressionDims(width=16, reference=8, dilations=(1, 2))).eval()


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(-4, 4, (61, 4, 80)).astype(np.float32)


@pytest.mark.parametrize("chunk", [1, 7, 60, 61, 500])
def test_predict_gives_the_same_in_chunks_of_any_length(
    network: ExpressionLearner, features: np.ndarray, chunk: int
) -> None:
    reference = np.linspace(-1, 1, 20, dtype=np.float32)
    whole = predict(network, features, reference)
    assert whole.shape == (61, 20) and whole.dtype == np.float32
    np.testing.assert_allclose(predict(network, features, reference, chunk), whole, atol=1e-5)


def test_expression_of_a_frame_depends_on_its_context_alone(network: ExpressionLearner, features: np.ndarray) -> None:
    reach, reference = network.dims.reach, torch.zeros(1, 20)
    changed = features.copy()
    changed[30] += 3
    with torch.no_grad():
        before, after = (network(torch.from_numpy(x)[None], reference)[0] for x in (features, changed))
    moved = torch.nonzero((after - before).abs().amax(dim=1) > 1e-6)
    assert moved.min() == 30 - 2 * reach and moved.max() == 30


def test_equalised_takes_off_the_colour_of_a_recording() -> None:
    random = np.random.default_rng(0)
    speech = random.normal(-3, 2, (800, 4, 80)).astype(np.float32)
    other = speech * random.uniform(0.8, 1.2, 80).astype(np.float32) + random.uniform(-1, 1, 80).astype(np.float32)
    assert np.abs(equalised(other) - equalised(speech)).max() < 0.2 < np.abs(other - speech).max()


@pytest.mark.parametrize("frames", [0, 1, 50])
def test_equalised_leaves_silence_silent(frames: int) -> None:
    silence = np.full((frames, 4, 80), -12, np.float32)
    np.testing.assert_allclose(equalised(silence), silence, atol=1e-5)


def test_equalised_changes_little_of_a_single_sound() -> None:
    sound = np.full((1, 4, 80), 2, np.float32)
    assert np.abs(equalised(sound) - sound).max() < 1


def test_predict_of_no_frames_gives_none(network: ExpressionLearner) -> None:
    assert predict(network, np.zeros((0, 4, 80), np.float32), np.zeros(20, np.float32)).shape == (0, 20)


def test_expression_learner_is_loaded_from_the_users_weights_first(
    tmp_path: Path, network: ExpressionLearner, features: np.ndarray
) -> None:
    save_checkpoint(tmp_path / "expression.safetensors", Header("expression", DIMS), network.state_dict())
    reference, chosen = np.zeros(20, np.float32), load_models(tmp_path, device="cpu").expression_learner
    np.testing.assert_array_equal(
        predict_expression(chosen, AudioFeatures(features, SILENCE), reference).expression,
        predict(network, features, reference),
    )


def test_load_expression_learner_refuses_weights_of_other_dims(tmp_path: Path, network: ExpressionLearner) -> None:
    header, path = Header("expression", {**DIMS, "width": 24}), tmp_path / "expression.safetensors"
    save_checkpoint(path, header, network.state_dict())
    with pytest.raises(WeightsError, match=r"expression.safetensors: does not fit"):
        load_expression_learner(path)


def test_shipped_expression_learner_moves_the_mouth_with_the_speech(speech_wav: Path) -> None:
    """The lips move in speech, and stay as they are in three seconds of silence before it."""
    speech, quiet = read_speech(speech_wav, seconds=3.0), np.zeros(3 * 16_000, np.float32)
    heard = replace(speech, samples=np.concatenate([quiet, speech.samples]))
    models = load_models(device="cpu")
    said = predict_expression(
        models.expression_learner, audio_features(heard), np.zeros(20, np.float32), models.speech_encoders
    )
    gap = said.expression @ models.face_model.lip_gap
    assert np.isfinite(said.expression).all() and gap[85:].std() > 0.02 > 2 * gap[15:60].std()
    assert 0.02 < (said.closure[85:] > 0.5).mean() < 0.5
