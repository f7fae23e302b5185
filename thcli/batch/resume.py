"""Test of whether a job is done: its output is complete, and its sidecar holds its options and its inputs' hashes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thcli.batch.jobs import SOURCES, Job
from thcli.checkpoints import sha256
from thcli.errors import ThgenError
from thcli.generation.dub import dub_sources
from thcli.generation.session import job_hashes
from thcli.generation.sidecar import SEAL, read_sidecar, seal, sources_of
from thcli.pipeline.models import Models
from thcli.pipeline.options import WRITTEN, DubOptions
from thcli.version import __version__

ELSEWHERE = ("device", "workers", "overwrite", "weights", "key", *WRITTEN)
"""Options that do not change the video, or that name files whose hashes are compared."""


def is_done(job: Job) -> bool:
    """Whether the outputs are complete, and were made by this version from the same inputs, weights and options.

    Inputs and weights are compared by their present content. The device that made the video does not matter.
    """
    try:
        record = read_sidecar(job.output)
        if record is None or record.get(SEAL) != seal(record):
            return False
        if not all(path.is_file() for path in job.outputs) or record["output"]["sha256"] != sha256(job.output):
            return False
        models = Models(job.options.weights, record["device"], job.options.precision, job.options.tracker)
        hashes = job_hashes(models, job.options)
        sources = sources_of(job.reference, job.audio, job.options.motion_options, hashes)
        if isinstance(job.options, DubOptions):
            sources = dub_sources(sources)
    except (ThgenError, OSError, KeyError, TypeError):  # running the job reports what is wrong
        return False
    return _recipe(record) == {
        "thgen": __version__,
        "weights": sources.weights,
        "inputs": {role: digest for role, (_, digest) in sources.inputs.items()},
        "options": _that_count(dataclasses.asdict(job.options), sources.inputs),
    }


def _recipe(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a sidecar's record that decides what the video shows."""
    return {
        "thgen": record["thgen"],
        "weights": record["weights"],
        "inputs": {role: source["sha256"] for role, source in record["inputs"].items()},
        "options": _that_count(record["options"], record["inputs"]),
    }


def _that_count(options: Mapping[str, Any], inputs: Mapping[str, object]) -> dict[str, Any]:
    """Return the options that change the video, without those that name one of the hashed inputs."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in options.items()
        if name not in ELSEWHERE and not (name in SOURCES and name in inputs)
    }
