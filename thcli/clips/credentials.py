"""Content Credentials: a signed C2PA manifest in an MP4, which says who made it, how and from what.

Whoever changes the file afterwards breaks the signature; whoever takes the manifest out leaves a file without one. The
libraries are those of the extra ``c2pa``. Nothing is sent or fetched: no time stamp is asked for, no manifest elsewhere
is looked up, and no list of trusted signers is consulted.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image as Pictures

from thcli.clips.probe import MediaInfo
from thcli.clips.provenance import SOURCE_URI
from thcli.errors import MediaError, UsageError

EXTRA = "install the extra: pip install 'thgen[c2pa]'"
"""What to do where the libraries are missing."""
CHANGED = ("assertion.bmffHash.mismatch", "assertion.dataHash.mismatch", "assertion.hashedURI.mismatch")
"""Codes of C2PA for a file, or a manifest, that was changed after it was signed."""
UNTRUSTED = "signingCredential.untrusted"
"""Code of C2PA for a signer who is on no list of trusted ones, which thgen does not have."""
_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": True},
    "core": {"backing_store_memory_threshold_in_mb": 16},  # else a second copy of the video is held in memory
}
_MP4 = "video/mp4"
_PARENT = "parent"
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True)
class Credentials:
    """Certificate and key to sign with; the key is never printed.

    certificates: PEM of the signer's certificate and of those that vouch for it
    key: PEM of the private key
    algorithm: C2PA's name of the signature
    """

    certificates: bytes
    key: bytes = field(repr=False)
    algorithm: str


@dataclass(frozen=True)
class Story:
    """What a manifest tells of a video.

    tool, version: program that made it
    source_type: IPTC's digital source type
    parent: video of which it is an edited version, and its SHA-256; None where it was created
    """

    tool: str
    version: str
    source_type: str
    parent: tuple[MediaInfo, str] | None = None


@dataclass(frozen=True)
class Signature:
    """Signature that a file holds.

    signer: names in the certificate; anybody can write any name into a certificate of their own
    when: time of signing by a time stamp; empty without one
    valid: whether signature, certificate and content fit
    changed: whether the content is not that which was signed
    faults: what does not fit, in C2PA's words
    """

    signer: str
    when: str
    valid: bool
    changed: bool
    faults: tuple[str, ...]


def read_credentials(certificates: Path, key: Path) -> Credentials:
    """Read a certificate with its private key, and sign an image of one pixel to see whether they can.

    Raises UsageError where the extra is missing, and MediaError where the files do not fit, or C2PA refuses them: a
    certificate must be valid today and made for signing documents.
    """
    _library("--sign")
    content, secret = _read(certificates, "a certificate in PEM"), _read(key, "its private key in PEM")
    found = Credentials(content, secret, _algorithm(secret, key))
    pixel, signed = io.BytesIO(), io.BytesIO()
    Pictures.new("RGB", (1, 1)).save(pixel, "PNG")
    try:
        _builder(Story("thgen", "0", "digitalCapture")).sign(_signer(found), "image/png", pixel, signed)
    except _errors() as error:
        raise MediaError(
            f"{certificates}: C2PA does not sign with it and {key} ({_said(error)}); give a certificate that is valid "
            "today and made for signing documents or e-mail, with those that vouch for it below, and its own key"
        ) from error
    return found


def sign_video(video: Path, target: Path, credentials: Credentials, story: Story) -> None:
    """Write a signed copy of an MP4 to ``target``. Raises MediaError where that fails."""
    try:
        with open(video, "rb") as unsigned, open(target, "w+b") as signed:
            _builder(story).sign(_signer(credentials), _MP4, unsigned, signed)
    except _errors() as error:
        raise MediaError(f"{target}: signing failed ({_said(error)}); leave out --sign, or report it") from error


def read_signature(path: Path) -> Signature | None:
    """Read and verify the signature in a media file; None where it holds none.

    Raises UsageError where the extra is missing, and MediaError where the manifest cannot be read.
    """
    c2pa = _library("thgen doctor")
    try:
        with c2pa.Context.from_dict(_SETTINGS) as context:
            reader = c2pa.Reader.try_create(path, context=context)
            if reader is None:
                return None
            with reader:
                told = json.loads(reader.json())
    except c2pa.C2paError.NotSupported:  # a format that holds no manifest
        return None
    except c2pa.C2paError as error:
        raise MediaError(f"{path}: its C2PA manifest cannot be read ({_said(error)})") from error
    return _signature(told)


def _signature(told: Mapping[str, Any]) -> Signature:
    """Return the signature that a reader tells of."""
    signed = told["manifests"][told["active_manifest"]].get("signature_info", {})
    names = dict.fromkeys(name for name in (signed.get("common_name"), signed.get("issuer")) if name)
    failures = told.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    faults = {one["code"]: one.get("explanation", one["code"]) for one in failures if one["code"] != UNTRUSTED}
    valid = told.get("validation_state") in ("Valid", "Trusted") and not faults
    changed = any(code in CHANGED for code in faults)
    signer = ", ".join(names) or "nobody who is named"
    return Signature(signer, signed.get("time", ""), valid, changed, tuple(faults.values()))


def _builder(story: Story) -> Any:
    """Return the manifest of a video as c2pa takes it."""
    c2pa = _library("--sign")
    agent = {"name": story.tool, "version": story.version}
    kind = {"digitalSourceType": SOURCE_URI + story.source_type, "softwareAgent": agent}
    actions: list[dict[str, Any]] = [{"action": "c2pa.created", **kind}]
    manifest: dict[str, Any] = {"claim_generator_info": [agent]}
    readable = False
    if story.parent is not None:
        info, digest = story.parent
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [_PARENT]}}
        actions = [opened, {"action": "c2pa.edited", **kind}]
        named = {"title": info.path.name, "instance_id": f"sha256:{digest}"}
        parent = {**named, "label": _PARENT, "relationship": "parentOf"}
        readable = "mp4" in info.format
        if not readable:
            manifest["ingredients"] = [parent]
    manifest["assertions"] = [{"label": "c2pa.actions", "data": {"actions": actions}}]
    builder = c2pa.Builder(manifest, c2pa.Context.from_dict(_SETTINGS))
    if readable:
        with open(info.path, "rb") as source:  # of an MP4 the manifest that it may hold is kept
            builder.add_ingredient(parent, _MP4, source)
    return builder


def _signer(credentials: Credentials) -> Any:
    c2pa = _library("--sign")
    given = (credentials.algorithm.encode(), credentials.certificates, credentials.key, None)
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(*given))


def _algorithm(secret: bytes, path: Path) -> str:
    """Return C2PA's name of the signature that a private key makes; raise MediaError for keys of other kinds."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(secret, None)
    except TypeError as error:
        raise MediaError(f"{path}: a key under a password; write it without: openssl pkey -in {path}") from error
    except ValueError as error:
        raise MediaError(f"{path}: no private key in PEM, expected the key of the certificate of --sign") from error
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    raise MediaError(f"{path}: a key of a kind that C2PA does not use; make one with openssl: ed25519, P-256 or RSA")


def _read(path: Path, expected: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror}), expected {expected}") from error


def _library(wanted: str) -> ModuleType:
    """Return c2pa; raise UsageError where the extra is missing."""
    try:
        import c2pa
        import cryptography  # noqa: F401 - the other half of the extra
    except ImportError as error:
        raise UsageError(f"{wanted}: C2PA is not installed; {EXTRA}") from error
    return c2pa


def _errors() -> tuple[type[Exception], ...]:
    return (_library("--sign").C2paError, OSError)


def _said(error: Exception) -> str:
    """Return an error's text in one line, without the kind that c2pa puts before it."""
    return " ".join(str(error).split()).removeprefix("Signature: ")
