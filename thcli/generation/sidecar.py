"""The sidecar ``OUT.mp4.json``, which records how a video was made, so that it can be made again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thcli.checkpoints import sha256, write_atomic
from thcli.clips.provenance import SOURCE_TYPE
from thcli.errors import MediaError
from thcli.generation.result import Result
from thcli.pipeline.models import Models
from thcli.pipeline.option_checks import SOURCE_WORDS
from thcli.pipeline.options import DubOptions, GenerateOptions, MotionOptions
from thcli.version import __version__

SEAL = "record_sha256"
"""Key in a sidecar of the sidecar's own hash."""


def sidecar_path(output: Path) -> Path:
    """Return the path of a video's sidecar, ``OUT.mp4.json``."""
    return output.with_name(output.name + ".json")


@dataclass(frozen=True)
class Sources:
    """Files that a video is made from.

    inputs: path and SHA-256 of each input by role (``ref``, ``audio``, ``motion``, ``expression``)
    weights: SHA-256 of each file of weights by name
    """

    inputs: Mapping[str, tuple[Path, str]]
    weights: Mapping[str, str]

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 by role, with one for all weights, as the metadata in the video state them."""
        return {**{role: digest for role, (_, digest) in self.inputs.items()}, "weights": hash_of_all(self.weights)}


def sources_of(reference: Path, audio: Path, motion: MotionOptions, weights: Mapping[str, str]) -> Sources:
    """Hash the inputs of a job.

    audio: file that is read; for standard input, the temporary copy
    weights: SHA-256 by name of the files of weights that the job depends on
    """
    inputs = {"ref": reference, "audio": audio}
    for role, given in (("motion", motion.motion), ("expression", motion.expression)):
        if given not in SOURCE_WORDS and Path(given).is_file():
            inputs[role] = Path(given)
    return Sources({role: (path, sha256(path)) for role, path in inputs.items()}, weights)


def hash_of_all(weights: Mapping[str, str]) -> str:
    """Return one SHA-256 for all weights: that of their list in the format of ``sha256sum``, sorted by name."""
    listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(weights.items()))
    return hashlib.sha256(listing.encode()).hexdigest()


def write_sidecar(
    sources: Sources,
    output: Path,
    options: GenerateOptions | DubOptions,
    result: Result,
    precision: str | None,
    source_type: str = SOURCE_TYPE,
) -> dict[str, Any]:
    """Write the record of a finished video, and return it.

    The record holds the version, the options, the hashes of inputs, weights and video, the device, the seconds of each
    stage, the frames per second, the notes, the part of the clip learned from, and the outcome of ``--adapt``.

    precision: number format in which Θ computed, as named by ``--precision``; None where Θ did not render
    source_type: IPTC's digital source type of the video
    """
    total = sum(result.seconds.values())
    record: dict[str, Any] = {
        "thgen": __version__,
        "synthetic": True,
        "digital_source_type": source_type,
        "options": {name: _plain(value) for name, value in dataclasses.asdict(options).items() if name != "key"},
        "inputs": {role: {"path": str(path), "sha256": digest} for role, (path, digest) in sources.inputs.items()},
        "weights": dict(sources.weights),
        "output": {"sha256": sha256(output), "bytes": output.stat().st_size},
        "device": result.device,
        "precision": precision,
        "frames": result.frames,
        "size": list(result.size),
        "seconds": {name: round(value, 3) for name, value in result.seconds.items()},
        "frames_per_second": round(result.frames / total, 2) if total else None,
    }
    if result.dubbed is not None:
        record["lips"], record["rest"] = "synthetic", "filmed"
        record["seconds_dubbed"] = round(result.dubbed, 3)
    if result.notes:
        record["notes"] = list(result.notes)
    if result.learned is not None:
        record["learned"] = dataclasses.asdict(result.learned)
    if result.fine_tuned is not None:
        record["adapt"] = dataclasses.asdict(result.fine_tuned)
    rewrite_sidecar(output, record)
    return record


def precision_name(models: Models) -> str:
    """Return the number format of Θ on the device of the models, as named by ``--precision``."""
    from thcli.render.generator import PRECISIONS, precision_of

    used = precision_of(models.precision, models.device)
    return next(name for name, precision in PRECISIONS.items() if precision == used)


def rewrite_sidecar(output: Path, record: Mapping[str, Any]) -> None:
    """Write a record to ``OUT.mp4.json``, with its own hash added."""
    sealed = {**record, SEAL: seal(record)}
    text = json.dumps(sealed, indent=2, ensure_ascii=False) + "\n"
    # File names may hold bytes that are no text; Python has surrogates for them, which JSON keeps as escapes.
    write_atomic(sidecar_path(output), text.encode(errors="backslashreplace"))


def seal(record: Mapping[str, Any]) -> str:
    """Compute the SHA-256 of a sidecar's content without the seal itself; it reveals edits, not their author."""
    rest = {name: value for name, value in record.items() if name != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_sidecar(output: Path) -> dict[str, Any] | None:
    """Read the sidecar of a video, edited or not; None where there is none.

    Raises MediaError where the file is no sidecar.
    """
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


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
