"""What is done already: a job whose output is whole, and whose sidecar holds the hashes of its inputs and options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from thcli import __version__
from thcli.batch.jobs import SOURCES, Job
from thcli.checkpoints import sha256
from thcli.errors import ThgenError
from thcli.generate.sidecar import SEAL, read_sidecar, seal, sources_of

ELSEWHERE = ("device", "overwrite", "weights", "save_curves", "report")
"""Options that do not decide what the video shows, or are known by the hash of what they name."""


def is_done(job: Job) -> bool:
    """Whether the outputs are there, whole, and made by this version with these options from what the inputs and the
    weights hold now; which device made them does not matter."""
    try:
        record = read_sidecar(job.output)
        if record is None or record.get(SEAL) != seal(record):
            return False
        if not all(path.is_file() for path in job.outputs) or record["output"]["sha256"] != sha256(job.output):
            return False
        sources = sources_of(job.reference, job.audio, job.options, record["device"])
    except (ThgenError, OSError, KeyError, TypeError):  # whatever is wrong with the inputs, running the job says it
        return False
    return _recipe(record) == {
        "thgen": __version__,
        "weights": sources.weights,
        "inputs": {role: digest for role, (_, digest) in sources.inputs.items()},
        "options": _that_count(dataclasses.asdict(job.options), sources.inputs),
    }


def _recipe(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a sidecar says of how its video was made."""
    return {
        "thgen": record["thgen"],
        "weights": record["weights"],
        "inputs": {role: source["sha256"] for role, source in record["inputs"].items()},
        "options": _that_count(record["options"], record["inputs"]),
    }


def _that_count(options: Mapping[str, Any], inputs: Mapping[str, object]) -> dict[str, Any]:
    return {
        name: value
        for name, value in options.items()
        if name not in ELSEWHERE and not (name in SOURCES and name in inputs)
    }
