"""A video's declaration comes back from whatever container it was copied into, and from hostile files."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.encode import VideoWriter
from thcli.clips.ffmpeg import executable
from thcli.clips.provenance import Declaration, provenance, read_declaration, xmp_box

HASHES = {"ref": "0a" * 32, "audio": "1b" * 32, "weights": "2c" * 32}
TOOL = "thgen 0 <&> (beta)"


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("declared") / "a.mp4"
    write(path, provenance(TOOL, HASHES))
    return path


def write(path: Path, metadata: dict[str, str]) -> None:
    with VideoWriter(path, (64, 64), None, 3, metadata) as writer:
        for _ in range(3):
            writer.write(np.zeros((64, 64, 3), np.uint8))


def convert(source: Path, target: Path, *arguments: str) -> Path:
    subprocess.run([executable(), "-v", "error", "-y", "-i", source, *arguments, target], check=True)
    return target


def test_read_declaration_returns_what_was_declared(declared: Path) -> None:
    assert read_declaration(declared) == Declaration(TOOL, HASHES, comment=True, xmp=True)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_read_declaration_reads_the_comment_of_a_copy_by_ffmpeg(declared: Path, tmp_path: Path, suffix: str) -> None:
    copied = convert(declared, tmp_path / f"copy{suffix}", "-c", "copy")
    assert read_declaration(copied) == Declaration(TOOL, HASHES, comment=True, xmp=False)


def test_read_declaration_reads_xmp_where_the_comment_is_another(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", {"xmp": provenance(TOOL, HASHES)["xmp"], "comment": "holiday"})
    assert read_declaration(tmp_path / "a.mp4") == Declaration(TOOL, HASHES, comment=False, xmp=True)


def test_read_declaration_of_a_copy_without_metadata_is_empty(declared: Path, tmp_path: Path) -> None:
    stripped = convert(declared, tmp_path / "a.mp4", "-c", "copy", "-map_metadata", "-1")
    assert read_declaration(stripped) == Declaration() and not read_declaration(stripped).synthetic


def test_read_declaration_reads_a_tool_without_sources(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", provenance("thgen 1"))
    assert read_declaration(tmp_path / "a.mp4") == Declaration("thgen 1", {}, comment=True, xmp=True)


def test_read_declaration_ignores_another_source_type(tmp_path: Path) -> None:
    packet = provenance("thgen 1")["xmp"].replace("trainedAlgorithmicMedia", "digitalCapture")
    write(tmp_path / "a.mp4", {"xmp": packet})
    assert read_declaration(tmp_path / "a.mp4") == Declaration()


def test_read_declaration_does_not_expand_entities(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    write(tmp_path / "a.mp4", {"xmp": bomb + provenance("&b;")["xmp"].replace("&amp;b;", "&b;")})
    assert read_declaration(tmp_path / "a.mp4").tool == "&b;"


def test_read_declaration_ends_its_search_at_damaged_boxes(declared: Path, tmp_path: Path) -> None:
    whole = declared.read_bytes()
    start = whole.index(b"uuid") - 4
    endless = struct.pack(">I4sQ", 1, b"free", 0) + b"\0" * 40
    for tail in (b"", b"\0\0\0\x04free", endless, os.urandom(64), b"\0\0\0\0free" + b"\0" * 40):
        path = tmp_path / "a.mp4"
        path.write_bytes(whole[:start] + tail)
        assert read_declaration(path) == Declaration(TOOL, HASHES, comment=True, xmp=False)
    path.write_bytes(whole[:start] + struct.pack(">I4s", 8, b"free") + xmp_box(provenance("thgen 2")["xmp"])[:-9])
    assert read_declaration(path).xmp
