"""Takes on disk: what comes back, and what is said of damage."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from thcli.data.episodes import Take, TakeMeta, pack_take, read_index, read_take, sweep, write_index, write_take
from thcli.errors import MediaError

PICTURES = ("references", "geometric", "projected", "real")
META = TakeMeta("ada_one.0.safetensors", "ada", "val", frames=4, references=3)
AGAIN = "draw it again with 'thgen preprocess takes --resume'"


def a_take(seed: int = 0, frames: int = 4, references: int = 3) -> Take:
    """Pictures of soft blots, each in its own place."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:256, :256].astype(np.float32)[..., None]

    def pictures(count: int) -> np.ndarray:
        middle, colour = random.uniform(60, 200, (count, 2)), random.uniform(100, 255, (count, 3))
        blots = [np.exp(-((y - v) ** 2 + (x - u) ** 2) / 5000) * c for (v, u), c in zip(middle, colour, strict=True)]
        return np.stack(blots).astype(np.uint8)

    def landmarks(count: int) -> np.ndarray:
        return random.normal(128, 40, (count, 68, 2)).astype(np.float32)

    return Take(
        pictures(references), landmarks(references), pictures(frames), pictures(frames), pictures(frames),
        landmarks(frames), random.integers(0, references, frames),
    )  # fmt: skip


def write(root: Path, meta: TakeMeta = META, quality: int = 92, **sizes: int) -> Take:
    take = a_take(**sizes)
    write_take(root, pack_take(meta, take, quality))
    return take


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    take = write(tmp_path)
    back = read_take(tmp_path / META.file)
    assert back.meta == META
    for name in ("reference_landmarks", "landmarks", "matched"):
        np.testing.assert_array_equal(getattr(back, name), getattr(take, name))
        assert getattr(back, name).dtype == getattr(take, name).dtype
    for name in PICTURES:
        pictures = getattr(take, name)
        assert len(back.jpegs[name]) == len(pictures)
        got = back.pictures(name, list(range(len(pictures))))
        assert got.dtype == np.uint8 and np.abs(got.astype(int) - pictures).max() <= 8
        np.testing.assert_array_equal(back.picture(name, 1), got[1])
    assert [path.name for path in tmp_path.iterdir()] == [META.file]


def test_the_smallest_take_comes_back(tmp_path: Path) -> None:
    write(tmp_path, dataclasses.replace(META, frames=2, references=1), frames=2, references=1)
    back = read_take(tmp_path / META.file)
    assert [len(back.jpegs[name]) for name in PICTURES] == [1, 2, 2, 2] and back.landmarks.shape == (2, 68, 2)


def test_quality_is_paid_for_with_bytes_and_gives_nearer_pictures(tmp_path: Path) -> None:
    sizes, errors = [], []
    for quality in (30, 95):
        take = write(tmp_path, quality=quality)
        back = read_take(tmp_path / META.file).pictures("real", [0, 1, 2, 3])
        sizes.append((tmp_path / META.file).stat().st_size)
        errors.append(np.abs(back.astype(int) - take.real).mean())
    assert sizes[0] < sizes[1] and errors[0] > errors[1]


def test_the_same_take_is_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path)
    first = (tmp_path / META.file).read_bytes()
    write(tmp_path)
    assert (tmp_path / META.file).read_bytes() == first


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-100],
        lambda content: content[:40],
        lambda content: b"",
        lambda content: b"this is no take",
        lambda content: save({"real": np.zeros(3)}),
        lambda content: save({"real": np.zeros(3)}, {"take": json.dumps(dataclasses.asdict(META))}),
        lambda content: content.replace(b"subject", b"someone"),
    ],
    ids=["cut", "cut in its header", "empty", "text", "foreign", "without pictures", "of another version"],
)
def test_a_damaged_file_is_named(tmp_path: Path, damage) -> None:
    write(tmp_path)
    path = tmp_path / META.file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(MediaError) as caught:
        read_take(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: not a take of thgen (") and said.endswith(f"); delete it, and {AGAIN}")


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        read_take(tmp_path / "ada.0.safetensors")
    assert str(caught.value) == f"{tmp_path}/ada.0.safetensors: no such file, though the index lists it; {AGAIN}"


@pytest.mark.parametrize("damage", [lambda jpeg: jpeg[:100], lambda jpeg: b"", lambda jpeg: b"x" * 500])
def test_a_damaged_picture_is_named(damage) -> None:
    packed = pack_take(META, a_take(), 92)
    packed.jpegs["real"][2] = damage(packed.jpegs["real"][2])
    assert packed.picture("real", 1).shape == (256, 256, 3)
    with pytest.raises(MediaError) as caught:
        packed.pictures("real", [1, 2])
    assert str(caught.value) == f"{META.file}: picture 2 of 'real' is damaged; delete the file, and {AGAIN}"


def test_the_index_lists_what_is_there(tmp_path: Path) -> None:
    metas = [dataclasses.replace(META, file=f"{clip}.0.safetensors", subject=clip) for clip in ("bob", "ada")]
    for meta in metas:
        write(tmp_path, meta)
    (tmp_path / ".eve.0.safetensors.1.partial").write_bytes(b"half")
    write_index(tmp_path)
    assert read_index(tmp_path) == metas[::-1]
    (tmp_path / "bob.0.safetensors").unlink()
    write_index(tmp_path)
    assert read_index(tmp_path) == metas[1:]


def test_an_index_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        read_index(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no takes.jsonl there, expected takes; make them with 'thgen preprocess takes'"
    )
    for content in ("[1]\n", "no JSON\n", '{"file": "x"}\n'):
        (tmp_path / "takes.jsonl").write_text(content)
        with pytest.raises(MediaError, match=r"takes.jsonl: not an index of takes"):
            read_index(tmp_path)


def test_what_killed_processes_left_is_swept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write(tmp_path)
    kept = {META.file, f".bob.0.safetensors.{os.getpid()}.partial", ".notes.partial"}
    for name in (*kept, f".eve.0.safetensors.{ended.pid}.partial"):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept
