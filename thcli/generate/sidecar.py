"""``OUT.mp4.json``: how a video was made, so that it can be made again (DESIGN §7)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thcli import __version__
from thcli.checkpoints import find_weights, sha256, write_atomic
from thcli.clips.provenance import SOURCE_TYPE
from thcli.errors import MediaError, WeightsError
from thcli.pipeline.options import GenerateOptions, Result

WEIGHTS = (
    "face_model.safetensors",
    "expression.safetensors",
    "head_motion.safetensors",
    "mouth_interior.safetensors",
    "unprojection.onnx",
    "detection.onnx",
)
SEAL = "record_sha256"
"""Key of a sidecar's own hash."""


def sidecar_path(output: Path) -> Path:
    """``OUT.mp4.json``."""
    return output.with_name(output.name + ".json")


@dataclass(frozen=True)
class Sources:
    """What a video is made from.

    inputs: by role (``ref``, ``audio``, ``motion``, ``expression``) the file and its SHA-256
    weights: SHA-256 by the file's name
    """

    inputs: Mapping[str, tuple[Path, str]]
    weights: Mapping[str, str]

    @property
    def hashes(self) -> dict[str, str]:
        """What the video's own metadata say: SHA-256 by role, all weights as one."""
        return {**{role: digest for role, (_, digest) in self.inputs.items()}, "weights": hash_of_all(self.weights)}


def sources_of(reference: Path, audio: Path, options: GenerateOptions, device: str) -> Sources:
    """Hash the inputs and the weights of a job; audio: the file that is read, whatever the user gave."""
    inputs = {"ref": reference, "audio": audio}
    for name in ("motion", "expression"):
        given = getattr(options, name)
        if given not in ("audio", "still") and Path(given).is_file():
            inputs[name] = Path(given)
    hashed = {role: (path, sha256(path)) for role, path in inputs.items()}
    return Sources(hashed, {**hashes_of_weights(options.weights), **weights_of_theta(options, device)})


def hash_of_all(weights: Mapping[str, str]) -> str:
    """One SHA-256 for all weights: that of their list as ``sha256sum`` writes it, in order of the names."""
    listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(weights.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def write_sidecar(sources: Sources, output: Path, options: GenerateOptions, result: Result) -> dict[str, Any]:
    """Version, arguments, seed, hashes of inputs, weights and the video, device, precision, seconds by stage, frames a
    second, and what ``--adapt`` came to; returned."""
    total = sum(result.seconds.values())
    record: dict[str, Any] = {
        "thgen": __version__,
        "synthetic": True,
        "digital_source_type": SOURCE_TYPE,
        "options": {name: _plain(value) for name, value in dataclasses.asdict(options).items()},
        "inputs": {role: {"path": str(path), "sha256": digest} for role, (path, digest) in sources.inputs.items()},
        "weights": dict(sources.weights),
        "output": {"sha256": sha256(output), "bytes": output.stat().st_size},
        "device": result.device,
        "precision": _precision(options, result.device),
        "frames": result.frames,
        "size": list(result.size),
        "seconds": {name: round(value, 3) for name, value in result.seconds.items()},
        "frames_per_second": round(result.frames / total, 2) if total else None,
    }
    if result.adapted is not None:
        record["adapt"] = dataclasses.asdict(result.adapted)
    rewrite_sidecar(output, record)
    return record


def _precision(options: GenerateOptions, device: str) -> str | None:
    """What Θ computed in, as ``--precision`` calls it; None where it did not draw."""
    if options.renderer != "network":
        return None
    from thcli.render.generator import PRECISIONS, precision_of

    used = precision_of(options.precision, device)
    return next(name for name, precision in PRECISIONS.items() if precision == used)


def rewrite_sidecar(output: Path, record: Mapping[str, Any]) -> None:
    """The record as it stands in ``OUT.mp4.json``, with its own hash."""
    sealed = {**record, SEAL: seal(record)}
    text = json.dumps(sealed, indent=2, ensure_ascii=False) + "\n"
    # names need not be text: what is not comes back from JSON as the surrogates by which Python stands for it
    write_atomic(sidecar_path(output), text.encode(errors="backslashreplace"))


def seal(record: Mapping[str, Any]) -> str:
    """SHA-256 of a sidecar's content without the seal itself: tells whether it was edited since, not by whom."""
    rest = {name: value for name, value in record.items() if name != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_sidecar(output: Path) -> dict[str, Any] | None:
    """The record beside a video, edited or not; None where there is none. MediaError for what is no sidecar."""
    path = sidecar_path(output)
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        record = None
    if not isinstance(record, dict) or "thgen" not in record:
        raise MediaError(f"{path}: not a sidecar of thgen; expected the JSON that generate writes beside its video")
    return record


def weights_of_theta(options: GenerateOptions, device: str) -> dict[str, str]:
    """SHA-256, by name, of the files that Θ runs from, none where it does not; WeightsError where they are missing."""
    if options.renderer != "network":
        return {}
    from thcli.render.generator import CHECKPOINT, find_generator

    files = set(find_generator(options.weights, device, options.precision))
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
