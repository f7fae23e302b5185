"""Ψ with the raw front end, from samples to expressions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from thcli.checkpoints import Header, save_checkpoint
from thcli.errors import UsageError, WeightsError
from thcli.motion.articulation import fit_articulation
from thcli.motion.expression import predict, predict_expression
from thcli.motion.raw_sound import QUIETEST, resampled, speech_level
from thcli.pipeline.models import load_expression_learner
from thcli.records import AudioFeatures
from thgen_models.expression import ExpressionDims, ExpressionNetwork, make_expression_learner

DIMS = {"front_end": "raw", "convolutions": [4] * 7, "width": 8, "reference": 4}
REFERENCE = np.linspace(-1, 1, 20, dtype=np.float32)
FEATURES = np.zeros((61, 4, 80), np.float32)


@pytest.fixture(scope="module")
def network() -> ExpressionNetwork:
    torch.manual_seed(0)
    dims = ExpressionDims(front_end="raw", convolutions=(4,) * 7, width=8, reference=4)
    network = make_expression_learner(dims)
    with torch.no_grad():  # batch norms with statistics of their input, as after training
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.momentum = None
                module.reset_running_stats()
        network(torch.randn(1, 40, 2000), torch.zeros(1, 20))
    return network.eval()


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    random = np.random.default_rng(0)
    loud = np.repeat(random.uniform(0.01, 0.2, 61), 640)
    return (loud * random.normal(size=61 * 640)).astype(np.float32).reshape(61, 640)


@pytest.mark.parametrize("chunk", [1, 7, 60, 61, 500])
def test_predict_gives_the_same_in_chunks_of_any_length(
    network: ExpressionNetwork, samples: np.ndarray, chunk: int
) -> None:
    whole = predict(network, samples, REFERENCE)
    assert whole.shape == (61, 20) and whole.dtype == np.float32
    assert whole.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(predict(network, samples, REFERENCE, chunk), whole, atol=1e-5)


def test_predict_gives_the_network_one_chunk_at_a_time(network: ExpressionNetwork, samples: np.ndarray) -> None:
    """Memory does not grow with the speech: never more than a chunk goes through the network."""
    heard: list[int] = []
    handle = network.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0].shape[1]))
    predict(network, np.tile(samples, (4, 1)), REFERENCE, chunk=50)
    handle.remove()
    assert max(heard) == 50 + 6 and len(heard) == 5


def test_predict_uses_three_frames_on_either_side_of_each(network: ExpressionNetwork, samples: np.ndarray) -> None:
    changed = samples.copy()
    changed[30, 20:620] *= -1  # the level stays, and resampling reaches no other frame
    moved = np.abs(predict(network, changed, REFERENCE) - predict(network, samples, REFERENCE)).max(axis=1)
    assert np.flatnonzero(moved > 1e-6).tolist() == list(range(27, 34))


def test_predict_takes_silence_beyond_the_ends(network: ExpressionNetwork, samples: np.ndarray) -> None:
    quiet = np.zeros((5, 640), np.float32)
    longer = predict(network, np.concatenate([quiet, samples, quiet]), REFERENCE)
    np.testing.assert_allclose(longer[5:-5], predict(network, samples, REFERENCE), atol=1e-5)


def test_predict_ignores_the_loudness(network: ExpressionNetwork, samples: np.ndarray) -> None:
    np.testing.assert_allclose(
        predict(network, samples / 8, REFERENCE), predict(network, samples, REFERENCE), atol=1e-4
    )


@pytest.mark.parametrize("frames", [0, 1, 30])
def test_predict_gives_a_still_face_in_silence(network: ExpressionNetwork, frames: int) -> None:
    predicted = predict(network, np.zeros((frames, 640), np.float32), REFERENCE)
    assert predicted.shape == (frames, 20) and np.isfinite(predicted).all()
    assert frames == 0 or np.ptp(predicted, axis=0).max() < 1e-5


def test_speech_level_ignores_pauses() -> None:
    speech = np.full((20, 640), 0.1, np.float32)
    paused = np.concatenate([speech, np.full((60, 640), 1e-3, np.float32)])
    assert speech_level(paused) == pytest.approx(0.1, rel=1e-5)
    assert speech_level(np.zeros((3, 640), np.float32)) == QUIETEST


@pytest.mark.parametrize("hertz", [200, 3000])
def test_resampled_keeps_a_tone_at_50_khz(hertz: int) -> None:
    tone = np.sin(2 * np.pi * hertz * np.arange(8 * 640) / 16_000).astype(np.float32)
    fast = resampled(tone.reshape(8, 640))
    assert fast.shape == (6, 2000) and fast.dtype == np.float32
    time = np.arange(6 * 2000) / 50_000 + 0.04
    np.testing.assert_allclose(fast.ravel(), np.sin(2 * np.pi * hertz * time), atol=5e-3)


@pytest.mark.parametrize("front_end", ["raw", "log_mel"])
def test_checkpoint_decides_which_front_end_is_used(front_end: str, samples: np.ndarray, tmp_path: Path) -> None:
    dims = {**DIMS, "front_end": front_end, "dilations": [1]}
    torch.manual_seed(1)
    network = make_expression_learner(
        ExpressionDims(
            front_end="raw" if front_end == "raw" else "log_mel",
            convolutions=(4,) * 7,
            width=8,
            reference=4,
            dilations=(1,),
        )
    )
    save_checkpoint(tmp_path / "expression.safetensors", Header("expression", dims), network.state_dict())
    loaded = load_expression_learner(tmp_path / "expression.safetensors")
    audio = AudioFeatures(np.random.default_rng(1).normal(-4, 2, FEATURES.shape).astype(np.float32), samples)
    predicted = predict_expression(loaded, audio, REFERENCE).expression
    assert predicted.shape == (61, 20)
    for other, ignored in (
        (AudioFeatures(FEATURES, samples), "raw"),
        (AudioFeatures(audio.log_mel, np.zeros_like(samples)), "log_mel"),
    ):
        same = np.array_equal(predict_expression(loaded, other, REFERENCE).expression, predicted)
        assert same == (front_end == ignored)


def test_load_expression_learner_refuses_unknown_front_ends_and_weights_of_the_other(
    network: ExpressionNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "expression.safetensors"
    save_checkpoint(path, Header("expression", {**DIMS, "front_end": "mfcc"}), network.state_dict())
    with pytest.raises(UsageError, match="'front_end' is 'mfcc', expected log_mel or encoder or raw"):
        load_expression_learner(path)
    save_checkpoint(path, Header("expression", {**DIMS, "front_end": "log_mel"}), network.state_dict())
    with pytest.raises(WeightsError, match=r"expression.safetensors: does not fit"):
        load_expression_learner(path)


def test_fit_articulation_takes_predictions_of_the_raw_network(network: ExpressionNetwork, samples: np.ndarray) -> None:
    still, gap = np.zeros(20, np.float32), np.linspace(0.1, 1, 20, dtype=np.float32)
    heard = predict(network, samples, still)
    own = fit_articulation(heard, 2 * (heard - heard.mean(axis=0)), gap)
    assert own is not None
    assert own.apply(heard).shape == (61, 20)
