"""The speech encoder is loaded with its adapter, which must be its own."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from thcli.checkpoints import SPEECH_ADAPTER, SPEECH_ENCODER, Header, save_checkpoint, sha256, shipped_weights
from thcli.errors import WeightsError
from thcli.forks import Forks
from thcli.pipeline import models as loaded
from thcli.pipeline.models import KEPT, LruCache, load_adapter, load_models
from thgen_models.speech_adapter import SpeechAdapter, SpeechAdapterDims
from thgen_models.speech_encoder import SpeechEncoder, SpeechEncoderDims

DIMS = SpeechEncoderDims(mels=5, width=8, heads=2, layers=1, positions=12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small encoder and an adapter of it."""
    torch.manual_seed(0)
    save_checkpoint(tmp_path / SPEECH_ENCODER, Header("speech_encoder", asdict(DIMS)), SpeechEncoder(DIMS).state_dict())
    adapter = SpeechAdapter(SpeechAdapterDims(**asdict(DIMS), rank=2))
    tensors = {name: torch.randn_like(value) for name, value in adapter.state_dict().items()}
    data = {"made_with": {SPEECH_ENCODER: sha256(tmp_path / SPEECH_ENCODER)}}
    save_checkpoint(tmp_path / SPEECH_ADAPTER, Header("speech_adapter", asdict(adapter.dims), data=data), tensors)
    return tmp_path


def test_a_forked_process_neither_uses_nor_drops_its_parents_networks_in_onnx_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The threads of a network in ONNX Runtime do not survive a fork, and it waits for them when it is dropped."""

    class Network:
        def __del__(self) -> None:
            dropped.append(self)

    dropped: list[object] = []
    monkeypatch.setattr(loaded, "_LOADED", LruCache(2))
    models = load_models(device="cpu")
    tracker, psi = models._kept("tracker", [], Network), models._kept("Ψ", [], object)

    def work(_: None) -> tuple[int, bool, bool]:
        kept = models._kept("Ψ", [], object) is psi, models._kept("tracker", [], object) is tracker
        models._kept("Φ", [], object)
        models._kept("Θ", [], object)  # there is room for two alone
        return len(dropped), *kept

    with Forks[None, tuple[int, bool, bool]](work, 1) as forks:
        assert list(forks.map([None])) == [(0, True, False)]
    assert models._kept("tracker", [], object) is tracker


def test_an_adapter_of_another_encoder_is_refused(folder: Path) -> None:
    load_adapter(folder / SPEECH_ADAPTER, folder / SPEECH_ENCODER)
    save_checkpoint(folder / SPEECH_ENCODER, Header("speech_encoder", asdict(DIMS)), SpeechEncoder(DIMS).state_dict())
    message = r"speech_adapter.safetensors: made for another encoder than .*speech_encoder.safetensors; make one with"
    with pytest.raises(WeightsError, match=message):
        load_adapter(folder / SPEECH_ADAPTER, folder / SPEECH_ENCODER)


def test_models_load_the_encoder_and_its_adapter_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "_LOADED", LruCache(KEPT))  # else tests before this one may crowd out one of the two
    models = load_models(device="cpu")
    encoders = models.speech_encoders
    assert encoders is not None and encoders is load_models(device="cpu").speech_encoders
    assert encoders.quiet is models.load_speech_encoder()


def test_a_kept_adapter_outlives_its_file(tmp_path: Path) -> None:
    """Networks stay in memory by the content of their files, which may be gone when a noisy recording comes."""
    for name in (SPEECH_ENCODER, SPEECH_ADAPTER):
        shutil.copy(shipped_weights() / name, tmp_path)
    with safe_open(tmp_path / SPEECH_ADAPTER, "pt") as file:
        metadata = {**file.metadata(), "own": str(tmp_path)}
    save_file(load_file(tmp_path / SPEECH_ADAPTER), tmp_path / SPEECH_ADAPTER, metadata)
    encoders = load_models(tmp_path, "cpu").speech_encoders
    shutil.rmtree(tmp_path)
    assert encoders is not None and encoders.noisy is encoders.noisy
    assert (encoders.noisy.norm.weight != encoders.quiet.norm.weight).any()
