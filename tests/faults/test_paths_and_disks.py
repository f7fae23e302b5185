"""Commands meet names that are odd, too long or taken, and folders and disks that cannot be written to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from thcli.clips.probe import probe


@pytest.mark.parametrize("name", ["Ünï çødé 北京 😀", "a'b\"c $(touch x) ;&|", "100%d%03d", "http:x", "concat:a|b"])
def test_generate_takes_any_names_of_inputs_and_outputs(generate, folder, name):
    for kind in ("photo.png", "speech.wav"):
        (folder / f"{name}{kind[-4:]}").symlink_to((folder / kind).resolve())
    said = generate(f"{name}.png", f"{name}.wav", "-o", f"{name}.mp4", "--save-curves", f"{name}.csv")
    assert (said.code, said.new) == (0, tuple(sorted(f"{name}{end}" for end in (".mp4", ".mp4.json", ".csv"))))
    assert json.loads((folder / f"{name}.mp4.json").read_text())["inputs"]["ref"]["path"] == f"{name}.png"
    assert probe(folder / f"{name}.mp4").video
    assert generate(f"{name}.png", f"{name}.wav", "--dry-run").code == 0


def test_generate_and_inspect_take_names_that_begin_with_a_dash(thgen, generate, folder):
    for name, kind in (("-ref.png", "photo.png"), ("-i.wav", "speech.wav")):
        (folder / name).symlink_to((folder / kind).resolve())
    said = generate("-ref.png", "-i.wav", "-o", "-out.mp4")
    assert (said.code, said.new) == (0, ("-out.mp4", "-out.mp4.json"))
    assert thgen("inspect", "--", "-ref.png").new == ("-ref_inspect.png",)
    said = thgen("inspect", "-ref.png")
    assert (said.code, said.out, said.new) == (2, "", ())
    assert said.err.startswith("thgen: error: No such option") and said.err.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have only names that are text")
def test_generate_takes_names_that_are_not_utf8(generate, folder):
    for name, kind in ((b"caf\xe9.png", "photo.png"), (b"caf\xe9.wav", "speech.wav")):
        os.symlink(os.fsencode((folder / kind).resolve()), name)  # noqa: PTH211 - pathlib has no names of bytes
    said = generate(os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"caf\xe9.wav"), "-o", os.fsdecode(b"caf\xe9.mp4"))
    assert said.code == 0, said.err
    assert json.loads((folder / os.fsdecode(b"caf\xe9.mp4.json")).read_bytes())["frames"] == 5
    assert generate(os.fsdecode(b"caf\xe9.png"), "speech.wav", "--dry-run").code == 0


def test_generate_takes_a_name_as_long_as_the_system_allows(generate, folder):
    longest = "b" * (255 - len(".mp4.json")) + ".mp4"
    said = generate("photo.png", "speech.wav", "-o", longest)
    assert (said.code, said.new) == (0, (longest, f"{longest}.json"))


@pytest.mark.parametrize(("option", "name"), [("-o", "b" * 248 + ".mp4"), ("--save-curves", "b" * 300 + ".csv")])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_generate_refuses_an_output_whose_name_is_too_long(generate, option, name, dry):
    generate("photo.png", "speech.wav", option, name, *dry).refused(
        3, f"{name}.json: the name is too long for this system; shorten it"
    )


def test_generate_and_inspect_refuse_inputs_whose_names_are_too_long(generate, thgen, folder):
    for name in ("b" * 300 + ".png", "b/" * 2200 + "b.png"):
        message = f"{name}: the name is too long for this system; shorten it"
        generate(name).refused(3, message)
        thgen("inspect", name).refused(3, message)


def test_generate_refuses_a_default_name_that_is_too_long(generate, thgen, folder):
    for name, kind in (("a" * 200 + ".png", "photo.png"), ("b" * 200 + ".wav", "speech.wav")):
        (folder / name).symlink_to((folder / kind).resolve())
    said = thgen("generate", "--ref", "a" * 200 + ".png", "--audio", "b" * 200 + ".wav", "--renderer", "warp")
    said.refused(3, f"{'a' * 200}_{'b' * 200}.mp4.json: the name is too long for this system; shorten it")


@pytest.mark.parametrize("output", ["photo.png", "speech.wav", "clip.mp4", "./here/../photo.png"])
def test_generate_refuses_an_output_that_is_an_input(generate, folder, output):
    (folder / "here").mkdir()
    given = ("--motion", "clip.mp4", "-o", output, "--overwrite")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    name = output.removeprefix("./")
    generate("photo.png", "speech.wav", *given).refused(2, f"{name}: is also an input; choose another output with -o")
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@contextmanager
def mounted(folder: Path, options: str):
    """Mount a file system in memory on a new folder; skip the test where mounting is not allowed."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"may not mount: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")


@ON_LINUX
def test_generate_and_inspect_refuse_a_read_only_folder(generate, thgen, folder):
    with mounted(folder / "ro", "ro,size=1m"):
        for output in (["-o", "ro/out.mp4"], ["--save-curves", "ro/c.csv"]):
            said = generate("photo.png", "speech.wav", *output)
            said.refused(
                3, f"{output[1]}: the folder ro cannot be written to (Read-only file system); choose another one"
            )
        said = thgen("inspect", "photo.png", "-o", "ro/sheet.png")
        said.refused(3, "ro/sheet.png: not allowed (Read-only file system); check the permissions, or write elsewhere")


@pytest.mark.skipif(
    not Path("/sys/kernel").is_dir(), reason="needs a folder into which nobody can write, not even root"
)
def test_generate_refuses_a_folder_that_takes_no_files(generate):
    generate("photo.png", "speech.wav", "-o", "/sys/out.mp4").refused(
        3, "/sys/out.mp4: the folder /sys cannot be written to (Permission denied); choose another one"
    )


@ON_LINUX
def test_generate_leaves_nothing_on_a_full_disk(generate, folder):
    """The disk has no room for the video, for the curves, or for the sidecar."""
    assert generate("photo.png", "speech.wav", "-o", "whole.mp4", "--save-curves", "whole.csv").code == 0
    video, curves = (-(-(folder / f"whole.{kind}").stat().st_size // 4096) for kind in ("mp4", "csv"))
    for pages in (1, video, video + curves):
        with mounted(folder / f"full{pages}", f"size={4 * pages}k"):
            output = f"full{pages}/out.mp4"
            said = generate("photo.png", "speech.wav", "-o", output, "--save-curves", f"full{pages}/c.csv")
            left = [path.name for path in (folder / f"full{pages}").iterdir()]
        assert (said.code, said.out, left) == (3, "", []), said.err
        assert said.err.startswith(f"thgen: error: full{pages}/") and said.err.count("\n") == 1
        assert "no space left on " in said.err.lower()


@ON_LINUX
def test_generate_keeps_the_old_video_on_a_disk_without_room_for_a_new_one(generate, folder):
    with mounted(folder / "full", "size=20k"):
        (folder / "full" / "out.mp4").write_bytes(b"mine" * 2000)
        said = generate("clip.mp4", "clip.mp4", "-o", "full/out.mp4", "--overwrite")
        assert (folder / "full" / "out.mp4").read_bytes() == b"mine" * 2000
        assert [path.name for path in (folder / "full").iterdir()] == ["out.mp4"]
    assert said.code == 3 and "no space left on the d" in said.err


@ON_LINUX
def test_generate_works_where_no_folder_takes_temporary_files(generate, folder, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "gone"))
    said = generate("clip.mp4", "speech.wav")
    assert (said.code, said.new) == (0, ("out.mp4", "out.mp4.json")), said.err
    (folder / "damaged.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:2000])
    assert generate("damaged.mp4", "speech.wav", "-o", "b.mp4").code == 3


@ON_LINUX
def test_self_test_passes_where_the_folder_for_temporary_files_is_full(folder, monkeypatch):
    from thcli.doctor.self_test import self_test

    with mounted(folder / "full", "size=64k"):
        monkeypatch.setattr(tempfile, "tempdir", str(folder / "full"))
        check = self_test("cpu")
    assert check.ok, check.found


def test_batch_does_without_a_folder_for_tracks(thgen, folder, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "speech.wav"))
    (folder / "jobs.jsonl").write_text('{"id": "a", "ref": "clip.mp4", "audio": "speech.wav"}\n')
    said = thgen("batch", "jobs.jsonl", "--out-dir", "videos", "--renderer", "warp", "--device", "cpu")
    assert said.code == 0, said.err


@ON_LINUX
def test_generate_refuses_standard_input_in_a_full_temporary_folder(generate, folder, monkeypatch):
    with mounted(folder / "full", "size=4k"):
        (folder / "full" / "big").write_bytes(bytes(4096))
        monkeypatch.setattr(tempfile, "tempdir", str(folder / "full"))
        from click.testing import CliRunner

        from thcli.commands.main import main

        speech = (folder / "speech.wav").read_bytes()
        given = ["generate", "--renderer", "warp", "--ref", "photo.png", "--audio", "-", "-o", "out.mp4"]
        result = CliRunner().invoke(main, given, input=speech)
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1 and "no space left on the disk" in result.stderr
    assert not (folder / "out.mp4").exists()
