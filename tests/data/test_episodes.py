"""Episodes on disk: they come back as they were written, and messages name what is damaged."""

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

from thcli.data.episodes import (
    Episode,
    EpisodeMeta,
    pack_episode,
    read_episode,
    read_index,
    sweep,
    write_episode,
    write_index,
)
from thcli.errors import MediaError

IMAGES = ("references", "geometric", "projected", "real")
META = EpisodeMeta("ada_one.0.safetensors", "ada", "val", frames=4, references=3)
AGAIN = "render it again with 'thgen preprocess episodes --resume'"


def an_episode(seed: int = 0, frames: int = 4, references: int = 3) -> Episode:
    """Images of soft blots, each in its own place."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:256, :256].astype(np.float32)[..., None]

    def images(count: int) -> np.ndarray:
        middle, colour = random.uniform(60, 200, (count, 2)), random.uniform(100, 255, (count, 3))
        blots = [np.exp(-((y - v) ** 2 + (x - u) ** 2) / 5000) * c for (v, u), c in zip(middle, colour, strict=True)]
        return np.stack(blots).astype(np.uint8)

    def landmarks(count: int) -> np.ndarray:
        return random.normal(128, 40, (count, 68, 2)).astype(np.float32)

    return Episode(
        images(references), landmarks(references), images(frames), images(frames), images(frames),
        landmarks(frames), random.integers(0, references, frames),
    )  # fmt: skip


def write(root: Path, meta: EpisodeMeta = META, quality: int = 92, **sizes: int) -> Episode:
    episode = an_episode(**sizes)
    write_episode(root, pack_episode(meta, episode, quality))
    return episode


def test_read_episode_returns_what_was_written(tmp_path: Path) -> None:
    episode = write(tmp_path)
    back = read_episode(tmp_path / META.file)
    assert back.meta == META
    for name in ("reference_landmarks", "landmarks", "matched"):
        np.testing.assert_array_equal(getattr(back, name), getattr(episode, name))
        assert getattr(back, name).dtype == getattr(episode, name).dtype
    for name in IMAGES:
        images = getattr(episode, name)
        assert len(back.jpegs[name]) == len(images)
        got = back.images(name, list(range(len(images))))
        assert got.dtype == np.uint8 and np.abs(got.astype(int) - images).max() <= 8
        np.testing.assert_array_equal(back.image(name, 1), got[1])
    assert [path.name for path in tmp_path.iterdir()] == [META.file]


def test_read_episode_returns_the_smallest_episode(tmp_path: Path) -> None:
    write(tmp_path, dataclasses.replace(META, frames=2, references=1), frames=2, references=1)
    back = read_episode(tmp_path / META.file)
    assert [len(back.jpegs[name]) for name in IMAGES] == [1, 2, 2, 2] and back.landmarks.shape == (2, 68, 2)


def test_pack_episode_of_higher_quality_is_larger_and_nearer_to_the_images(tmp_path: Path) -> None:
    sizes, errors = [], []
    for quality in (30, 95):
        episode = write(tmp_path, quality=quality)
        back = read_episode(tmp_path / META.file).images("real", [0, 1, 2, 3])
        sizes.append((tmp_path / META.file).stat().st_size)
        errors.append(np.abs(back.astype(int) - episode.real).mean())
    assert sizes[0] < sizes[1] and errors[0] > errors[1]


def test_write_episode_writes_the_same_bytes_again(tmp_path: Path) -> None:
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
        lambda content: b"this is no episode",
        lambda content: save({"real": np.zeros(3)}),
        lambda content: save({"real": np.zeros(3)}, {"take": json.dumps(dataclasses.asdict(META))}),
        lambda content: content.replace(b"subject", b"someone"),
    ],
    ids=["cut", "cut in its header", "empty", "text", "foreign", "without images", "of another version"],
)
def test_read_episode_names_a_damaged_file(tmp_path: Path, damage) -> None:
    write(tmp_path)
    path = tmp_path / META.file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(MediaError) as caught:
        read_episode(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: not an episode of thgen (") and said.endswith(f"); delete it, and {AGAIN}")


def test_read_episode_names_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        read_episode(tmp_path / "ada.0.safetensors")
    assert str(caught.value) == f"{tmp_path}/ada.0.safetensors: no such file, though the index lists it; {AGAIN}"


@pytest.mark.parametrize("damage", [lambda jpeg: jpeg[:100], lambda jpeg: b"", lambda jpeg: b"x" * 500])
def test_images_of_a_packed_episode_names_a_damaged_one(damage) -> None:
    packed = pack_episode(META, an_episode(), 92)
    packed.jpegs["real"][2] = damage(packed.jpegs["real"][2])
    assert packed.image("real", 1).shape == (256, 256, 3)
    with pytest.raises(MediaError) as caught:
        packed.images("real", [1, 2])
    assert str(caught.value) == f"{META.file}: picture 2 of 'real' is damaged; delete the file, and {AGAIN}"


def test_write_index_lists_the_files_that_are_there(tmp_path: Path) -> None:
    metas = [dataclasses.replace(META, file=f"{clip}.0.safetensors", subject=clip) for clip in ("bob", "ada")]
    for meta in metas:
        write(tmp_path, meta)
    (tmp_path / ".eve.0.safetensors.1.partial").write_bytes(b"half")
    write_index(tmp_path)
    assert read_index(tmp_path) == metas[::-1]
    (tmp_path / "bob.0.safetensors").unlink()
    write_index(tmp_path)
    assert read_index(tmp_path) == metas[1:]


def test_read_index_refuses_a_missing_or_foreign_index(tmp_path: Path) -> None:
    with pytest.raises(MediaError) as caught:
        read_index(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no takes.jsonl there, expected episodes; make them with 'thgen preprocess episodes'"
    )
    for content in ("[1]\n", "no JSON\n", '{"file": "x"}\n'):
        (tmp_path / "takes.jsonl").write_text(content)
        with pytest.raises(MediaError, match=r"takes.jsonl: not an index of episodes"):
            read_index(tmp_path)


def test_sweep_removes_unfinished_files_of_killed_processes_alone(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write(tmp_path)
    kept = {META.file, f".bob.0.safetensors.{os.getpid()}.partial", ".notes.partial"}
    for name in (*kept, f".eve.0.safetensors.{ended.pid}.partial"):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept
