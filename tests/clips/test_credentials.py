"""A signed video says who signed it and how it was made, and one changed byte breaks the signature."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import c2pa
import numpy as np
import pytest

from thcli.clips.credentials import Credentials, Story, read_credentials, read_signature, sign_video
from thcli.clips.encode import VideoWriter
from thcli.clips.ffmpeg import executable
from thcli.clips.probe import probe
from thcli.clips.provenance import COMPOSITE, SOURCE_TYPE, provenance
from thcli.errors import MediaError, UsageError

Certify = Callable[..., tuple[Path, Path]]
MADE = Story("thgen", "1", SOURCE_TYPE)


@pytest.fixture(scope="module")
def credentials(certify: Certify, tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return read_credentials(*certify(tmp_path_factory.mktemp("ada")))


def write(path: Path, credentials: Credentials | None, story: Story = MADE) -> Path:
    """Write three black frames, signed."""

    def sign(video: Path, target: Path) -> None:
        assert credentials is not None
        sign_video(video, target, credentials, story)

    finish = None if credentials is None else sign
    with VideoWriter(path, (64, 64), None, 3, provenance("thgen 1"), finish=finish) as writer:
        for _ in range(3):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    return path


def manifest(path: Path) -> dict[str, object]:
    """Return the manifest as c2pa's own reader gives it."""
    told = json.loads(c2pa.Reader(path).json())
    return told["manifests"][told["active_manifest"]]


def actions(path: Path) -> list[tuple[str, str]]:
    (assertion,) = [one for one in manifest(path)["assertions"] if one["label"].startswith("c2pa.actions")]
    return [(a["action"], a.get("digitalSourceType", "").rpartition("/")[2]) for a in assertion["data"]["actions"]]


def test_signature_of_a_created_video_is_valid_and_tells_how_it_was_made(
    credentials: Credentials, tmp_path: Path
) -> None:
    signed = write(tmp_path / "a.mp4", credentials)
    found = read_signature(signed)
    assert found is not None and (found.signer, found.valid, found.changed, found.faults) == ("Ada", True, False, ())
    assert actions(signed) == [("c2pa.created", SOURCE_TYPE)]
    assert manifest(signed)["claim_generator_info"][0]["name"] == "thgen"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("of", [b"mdat", b"Synthetic talking-head", b"DigitalSourceType>"])
def test_one_changed_byte_of_picture_comment_or_xmp_breaks_the_signature(
    credentials: Credentials, tmp_path: Path, of: bytes
) -> None:
    signed = write(tmp_path / "a.mp4", credentials)
    content = bytearray(signed.read_bytes())
    content[content.rindex(of) + len(of) + 2] ^= 1
    signed.write_bytes(content)
    found = read_signature(signed)
    assert found is not None and (found.signer, found.valid, found.changed) == ("Ada", False, True)


def test_edited_video_names_its_source_by_hash_and_keeps_its_manifest(credentials: Credentials, tmp_path: Path) -> None:
    for name, source in (("signed", credentials), ("unsigned", None)):
        parent = (probe(write(tmp_path / f"{name}.mp4", source)), "ab" * 32)
        edited = write(tmp_path / f"of {name}.mp4", credentials, Story("thgen", "1", COMPOSITE, parent))
        (ingredient,) = manifest(edited)["ingredients"]
        named = (ingredient["title"], ingredient["instance_id"], ingredient["relationship"])
        assert named == (f"{name}.mp4", "sha256:" + "ab" * 32, "parentOf")
        assert ("active_manifest" in ingredient) == (name == "signed")
        assert actions(edited) == [("c2pa.opened", ""), ("c2pa.edited", COMPOSITE)]
        found = read_signature(edited)
        assert found is not None and found.valid


def test_edited_matroska_is_named_by_hash(credentials: Credentials, tmp_path: Path) -> None:
    source = copied(write(tmp_path / "a.mp4", None), tmp_path / "a.mkv")
    edited = write(tmp_path / "b.mp4", credentials, Story("thgen", "1", COMPOSITE, (probe(source), "cd" * 32)))
    assert manifest(edited)["ingredients"][0]["instance_id"] == "sha256:" + "cd" * 32


def copied(source: Path, target: Path) -> Path:
    subprocess.run([executable(), "-v", "error", "-i", source, "-c", "copy", target], check=True)
    return target


def test_read_signature_of_files_without_one_is_none(credentials: Credentials, tmp_path: Path) -> None:
    assert read_signature(write(tmp_path / "plain.mp4", None)) is None
    signed = write(tmp_path / "signed.mp4", credentials)
    assert all(read_signature(copied(signed, tmp_path / name)) is None for name in ("copy.mp4", "copy.mkv"))


@pytest.mark.parametrize(
    ("given", "reason"),
    [({"days": -1}, "not valid at time of signing"), ({"purpose": "server"}, "the certificate is invalid")],
    ids=["expired", "for servers"],
)
def test_read_credentials_refuses_a_certificate(
    certify: Certify, tmp_path: Path, given: dict[str, object], reason: str
) -> None:
    certificate, key = certify(tmp_path, **given)
    with pytest.raises(MediaError, match=rf"cert\.pem: C2PA does not sign with it and .*{reason}.*; give a cert"):
        read_credentials(certificate, key)


def test_read_credentials_refuses_files_that_do_not_fit(certify: Certify, tmp_path: Path) -> None:
    (certificate, key), (_, other) = certify(tmp_path / "a"), certify(tmp_path / "b")
    for wrong, message in (
        ((certificate, other), "does not sign with it"),
        ((key, key), "does not sign with it"),
        ((certificate, certificate), "no private key in PEM"),
        ((certificate, tmp_path / "gone"), "gone: cannot be read"),
        ((certificate, locked(key)), "a key under a password; write it without"),
    ):
        with pytest.raises(MediaError, match=message) as caught:
            read_credentials(*wrong)
        assert "\n" not in str(caught.value) and "PRIVATE" not in str(caught.value)


def locked(key: Path) -> Path:
    """Write a copy of a key under a password."""
    from cryptography.hazmat.primitives import serialization as form

    opened = form.load_pem_private_key(key.read_bytes(), None)
    secret = form.BestAvailableEncryption(b"word")
    copy = key.with_name("locked.pem")
    copy.write_bytes(opened.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, secret))
    return copy


def test_credentials_do_not_print_the_key(credentials: Credentials) -> None:
    assert "PRIVATE" in credentials.key.decode() and "PRIVATE" not in f"{credentials} {credentials!r}"


def test_a_missing_library_is_named_with_its_extra(
    certify: Certify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = certify(tmp_path)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(
        UsageError, match=r"--sign: C2PA is not installed; install the extra: pip install 'thgen\[c2pa\]'"
    ):
        read_credentials(certificate, key)
    with pytest.raises(UsageError, match="C2PA is not installed"):
        read_signature(write(tmp_path / "a.mp4", None))


def test_a_broken_signing_leaves_nothing(credentials: Credentials, tmp_path: Path) -> None:
    wrong = Credentials(credentials.certificates, credentials.key, "ps256")
    with pytest.raises(MediaError, match="signing failed"):
        write(tmp_path / "a.mp4", wrong)
    assert not list(tmp_path.iterdir())
