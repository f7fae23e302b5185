"""``OUT.mp4.json``: how a video was made, so that it can be made again (DESIGN §7)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thcli import __version__
from thcli.checkpoints import find_weights, sha256, write_atomic
from thcli.errors import WeightsError
from thcli.pipeline.options import GenerateOptions, Result

WEIGHTS = (
    "face_model.safetensors",
    "expression.safetensors",
    "head_motion.safetensors",
    "mouth_interior.safetensors",
    "unprojection.onnx",
    "detection.onnx",
)


def sidecar_path(output: Path) -> Path:
    """``OUT.mp4.json``."""
    return output.with_name(output.name + ".json")


def write_sidecar(
    reference: Path, audio: Path, output: Path, options: GenerateOptions, result: Result
) -> dict[str, Any]:
    """Version, arguments, seed, hashes of inputs and weights, device, seconds by stage, frames a second, and what
    ``--adapt`` came to; returned."""
    inputs = {"ref": reference, "audio": audio}
    for name in ("motion", "expression"):
        if Path(getattr(options, name)).is_file():
            inputs[name] = Path(getattr(options, name))
    total = sum(result.seconds.values())
    record: dict[str, Any] = {
        "thgen": __version__,
        "synthetic": True,
        "digital_source_type": "trainedAlgorithmicMedia",
        "options": {name: _plain(value) for name, value in dataclasses.asdict(options).items()},
        "inputs": {name: {"path": str(path), "sha256": sha256(path)} for name, path in inputs.items()},
        "weights": {**hashes_of_weights(options.weights), **weights_of_theta(options, result.device)},
        "device": result.device,
        "frames": result.frames,
        "size": list(result.size),
        "seconds": {name: round(value, 3) for name, value in result.seconds.items()},
        "frames_per_second": round(result.frames / total, 2) if total else None,
    }
    if result.adapted is not None:
        record["adapt"] = dataclasses.asdict(result.adapted)
    rewrite_sidecar(output, record)
    return record


def rewrite_sidecar(output: Path, record: Mapping[str, Any]) -> None:
    """The record as it stands in ``OUT.mp4.json``."""
    write_atomic(sidecar_path(output), (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())


def weights_of_theta(options: GenerateOptions, device: str) -> dict[str, str]:
    """SHA-256, by name, of the files that Θ runs from, none where it does not; WeightsError where they are missing."""
    if options.renderer != "network":
        return {}
    from thcli.synthesis.generator import CHECKPOINT, find_generator

    files = set(find_generator(options.weights, device))
    if options.adapt:  # it starts from the checkpoint, whatever else there is
        files.add(find_weights(CHECKPOINT, options.weights))
    return {path.name: sha256(path) for path in sorted(files)}


def hashes_of_weights(folder: Path | None) -> dict[str, str]:
    """SHA-256, by name, of the weights in use beside Θ's."""
    found = {}
    for name in WEIGHTS:
        try:
            found[name] = sha256(find_weights(name, folder))
        except WeightsError:  # a tracker other than the built-in one needs no weights of ours
            continue
    return found


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
