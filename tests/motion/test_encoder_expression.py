"""Ψ with the front end ``encoder``: log-mel features and codes of the speech encoder, and closures of the lips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thcli.clips.audio import read_speech
from thcli.clips.features import audio_features
from thcli.motion.expression import predict, predict_expression, with_codes
from thcli.motion.speech_codes import encode_speech
from thcli.pipeline.models import load_models
from thcli.records import AudioFeatures
from thgen_models.expression import ExpressionDims, ExpressionLearner
from thgen_models.speech_encoder import SpeechEncoder, SpeechEncoderDims

FRAMES, STILL = 90, np.zeros(20, np.float32)


@pytest.fixture(scope="module")
def encoder() -> SpeechEncoder:
    torch.manual_seed(0)
    return SpeechEncoder(SpeechEncoderDims(width=8, heads=2, layers=1, positions=500)).eval()


@pytest.fixture(scope="module")
def network() -> ExpressionLearner:
    torch.manual_seed(1)
    dims = ExpressionDims(front_end="encoder", code=8, width=12, dilations=(1, 2), closure=True)
    return ExpressionLearner(dims).eval()


@pytest.fixture(scope="module")
def audio() -> AudioFeatures:
    random = np.random.default_rng(0)
    return AudioFeatures(
        random.normal(-4, 3, (FRAMES, 4, 80)).astype(np.float32),
        random.normal(0, 0.1, (FRAMES, 640)).astype(np.float32),
    )


def test_predict_expression_gives_expressions_and_probabilities_of_closure(network, encoder, audio):
    said = predict_expression(network, audio, STILL, encoder)
    assert said.expression.shape == (FRAMES, 20) and said.closure.shape == (FRAMES,)
    assert (said.closure > 0).all() and (said.closure < 1).all() and said.closure.std() > 0


@pytest.mark.parametrize("chunk", [7, 45, 1000])
def test_predict_expression_gives_the_same_in_chunks(network, encoder, audio, chunk):
    whole, parts = (predict_expression(network, audio, STILL, encoder, size) for size in (None, chunk))
    np.testing.assert_allclose(parts.expression, whole.expression, atol=1e-4)
    np.testing.assert_allclose(parts.closure, whole.closure, atol=1e-4)


def test_predict_gives_the_same_from_features_with_their_codes(network, encoder, audio):
    features = with_codes(audio.log_mel, encode_speech(encoder, audio.samples))
    assert features.shape == (FRAMES, 4, 88)
    expected = predict_expression(network, audio, STILL, encoder).expression
    np.testing.assert_allclose(predict(network, features, STILL), expected, atol=1e-4)


def test_expressions_depend_on_the_codes(network, encoder, audio):
    other = AudioFeatures(audio.log_mel, audio.samples[::-1].copy())
    first, second = (predict_expression(network, one, STILL, encoder).expression for one in (audio, other))
    assert np.abs(first - second).max() > 1e-3


def test_shipped_expression_learner_says_the_same_of_a_recording_that_is_cut(speech_wav):
    """Six seconds from the second second on: beyond the context of the cuts, the lips move alike."""
    models = load_models(device="cpu")
    gap = models.face_model.lip_gap

    def opening(start: float) -> np.ndarray:
        audio = audio_features(read_speech(speech_wav, start, 8 - start))
        network, encoder = models.expression_learner, models.speech_encoders
        return predict_expression(network, audio, STILL, encoder).expression @ gap

    whole, part = opening(0.0)[50 + 15 : -15], opening(2.0)[15:-15]
    assert np.corrcoef(whole, part)[0, 1] > 0.97
    assert np.abs(whole - part).mean() < 0.15 * whole.std()
