"""Checks of a finished video: what it declares about itself, and whether its sidecar still belongs to it.

Metadata are lost when a video is converted, and anyone can remove or write them: their presence tells much, their
absence nothing. A signature covers the video with its metadata, but no sidecar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thcli.checkpoints import sha256
from thcli.clips.credentials import EXTRA, read_signature
from thcli.clips.probe import probe
from thcli.clips.provenance import COMPOSITE, Declaration, read_declaration
from thcli.doctor.check import Check
from thcli.errors import MediaError, UsageError
from thcli.generation.sidecar import SEAL, hash_of_all, read_sidecar, seal, sidecar_path

SIGNATURE = "signature"
"""Name of the check of the signature."""
NAMES = "The name is what the certificate says, and no list of trusted signers was consulted"
"""What a name in a certificate is worth."""
UNSIGNED = "metadata and sidecar are not signed: anyone can remove or change them"
"""Note on a video without a signature."""
SIGNED = "the sidecar is not signed: anyone can remove or change it"
"""Note on a video with a valid signature."""


def examine_video(path: Path) -> list[Check]:
    """Check declaration, sources and sidecar of a video; raise MediaError where the file is no media file."""
    info = probe(path)
    declared = read_declaration(path)
    digest = sha256(path)
    length = "length unknown" if info.duration is None else f"{info.duration:.1f} s"
    kind = f"{info.width}x{info.height}, {length}" if info.video else "a photo" if info.image else f"sound, {length}"
    checks = [Check("file", True, f"{path}: {kind}, SHA-256 {digest}"), _declares(declared)]
    if declared.sources:
        checks.append(Check("made from", True, _listed(declared.sources)))
    elif declared.synthetic:
        checks.append(Check("made from", True, "not said by the video"))
    return [*checks, _signature(path), *_sidecar(path, digest, declared)]


def note_on(checks: Sequence[Check]) -> str:
    """Return the note that ``thgen doctor`` prints below the checks of a video."""
    signed = any(check.name == SIGNATURE and check.found.startswith("valid") for check in checks)
    return SIGNED if signed else UNSIGNED


def _signature(path: Path) -> Check:
    """Check the Content Credentials of a video."""
    try:
        found = read_signature(path)
    except UsageError:
        return Check(SIGNATURE, True, f"not looked for: C2PA is not installed; {EXTRA}")
    except MediaError as error:
        return Check(SIGNATURE, False, str(error), "get the video anew from where it came from")
    if found is None:
        return Check(SIGNATURE, True, "none: nobody has signed this file")
    by = f"signed by {found.signer}{f' at {found.when}' if found.when else ''}"
    if found.valid:
        return Check(SIGNATURE, True, f"valid, {by}; the file is as it was signed. {NAMES}")
    if found.changed:
        fix = "get the video anew from where it came from"
        return Check(SIGNATURE, False, f"broken: {by}, and changed since ({'; '.join(found.faults)})", fix)
    return Check(SIGNATURE, False, f"not valid: {by}, but {'; '.join(found.faults)}", "do not rely on the signature")


def _declares(declared: Declaration) -> Check:
    if not declared.synthetic:
        return Check(
            "declares",
            False,
            "nothing: no comment and no XMP of thgen. Whether it is synthetic cannot be told from that",
            "look for its sidecar, or ask where the file comes from",
        )
    where = {
        (True, True): "said in the comment and as XMP, as thgen writes it",
        (True, False): "said in the comment alone: XMP gets lost when a video is copied, cut or converted",
        (False, True): "said as XMP alone: the comment was removed or changed",
    }[declared.comment, declared.xmp]
    what = "filmed, with synthetic lips" if declared.source_type == COMPOSITE else "synthetic"
    return Check(
        "declares", True, f"{what} ({declared.source_type}), made by {declared.tool or 'nobody knows what'}; {where}"
    )


def _sidecar(path: Path, digest: str, declared: Declaration) -> list[Check]:
    name = sidecar_path(path)
    try:
        record = read_sidecar(path)
    except MediaError as error:
        found, _, _ = str(error).partition(";")
        return [Check("sidecar", False, found, "restore the file from where the video came from")]
    if record is None:
        known = "what is known is what the video says" if declared.synthetic else "nothing is known of the video"
        return [Check("sidecar", True, f"none at {name}: {known}")]
    faults = [*_edited(record), *_other_video(record, digest), *_other_sources(record, declared)]
    if faults:
        fix = "do not rely on the sidecar; get video and sidecar together from where they came from"
        return [Check("sidecar", False, f"{name}: {fault}", fix) for fault in faults]
    return [Check("sidecar", True, f"{name}: as thgen {record['thgen']} wrote it, and of this very file")]


def _edited(record: Mapping[str, Any]) -> list[str]:
    if SEAL not in record:
        return ["does not say its own hash: whether it was edited cannot be told"]
    return (
        [] if record[SEAL] == seal(record) else ["was edited after it was written: its content differs from its hash"]
    )


def _other_video(record: Mapping[str, Any], digest: str) -> list[str]:
    written = _at(record, "output", "sha256")
    if not isinstance(written, str):
        return ["does not say the hash of its video: whether it is of this one cannot be told"]
    if written == digest:
        return []
    return [
        f"is of a file with SHA-256 {written[:12]}…, not of this one: the video was copied anew, edited or replaced"
    ]


def _other_sources(record: Mapping[str, Any], declared: Declaration) -> list[str]:
    """Return a fault where sidecar and video name different hashes for a source."""
    named = {role: _at(record, "inputs", role, "sha256") for role in declared.sources}
    weights = _at(record, "weights") or {}
    if isinstance(weights, Mapping) and all(isinstance(value, str) for value in weights.values()):
        named["weights"] = hash_of_all(weights)
    other = [role for role, value in declared.sources.items() if named.get(role) not in (None, value)]
    return [f"and the video name different sources ({', '.join(other)})"] if other else []


def _at(record: object, *keys: str) -> Any:
    """Return a value of nested objects; None where the sidecar was edited and holds something else there."""
    for key in keys:
        record = record.get(key) if isinstance(record, Mapping) else None
    return record if not keys or isinstance(record, (str, Mapping)) else None


def _listed(sources: Mapping[str, str]) -> str:
    return ", ".join(f"{role} {digest}" for role, digest in sources.items())
