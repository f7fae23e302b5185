"""The ffmpeg that is used: the system's where it is new enough, else the one in imageio-ffmpeg."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import imageio_ffmpeg
import pytest

from thcli.clips import binaries, ffmpeg
from thcli.clips.capabilities import capabilities
from thcli.errors import MediaError

UBUNTU_22 = "4.4.2-0ubuntu0.22.04.1"
Install = Callable[..., Path]


def forget() -> None:
    for kept in (binaries.installed, binaries.version, ffmpeg.candidates, ffmpeg.h264_encoder):
        kept.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """install(version): the ffmpeg on PATH states this version; with ``packaged``, that of imageio-ffmpeg does.

    It notes in the file ``asked`` beside it what it is asked.
    """

    def script(version: str, packaged: bool = False) -> Path:
        path = tmp_path / ("packaged" if packaged else "system") / "ffmpeg"
        path.parent.mkdir(exist_ok=True)
        said = f"ffmpeg version {version} Copyright (c) 2000-2021 the FFmpeg developers"
        path.write_text(f'#!/bin/sh\necho "$*" >> "{path.parent / "asked"}"\necho "{said}"\n')
        path.chmod(0o755)
        if packaged:
            monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(path))
        forget()
        return path

    monkeypatch.setenv("PATH", str(tmp_path / "system"))
    forget()
    yield script
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize("version", ["5.1", "5.1.9-0+deb12u1", "n5.1.2", "10.0", "6", "N-109468-gd39b34123d", "git-20"])
def test_candidates_begin_with_a_system_s_ffmpeg_that_is_new_enough(install: Install, version: str) -> None:
    system = install(version)
    assert ffmpeg.candidates() == (str(system), imageio_ffmpeg.get_ffmpeg_exe())


@pytest.mark.parametrize("version", [UBUNTU_22, "4.2.2", "n4.4.1", "5.0.3", "5", "n3.4-20-gabc"])
def test_candidates_leave_out_a_system_s_ffmpeg_that_is_too_old(install: Install, version: str) -> None:
    install(version)
    assert ffmpeg.candidates() == (imageio_ffmpeg.get_ffmpeg_exe(),)
    assert ffmpeg.executable() == ffmpeg.h264_encoder().executable == imageio_ffmpeg.get_ffmpeg_exe()


def test_candidates_keep_an_ffmpeg_that_states_no_version(install: Install) -> None:
    silent = install("5.1")
    silent.write_text("#!/bin/sh\n")
    assert ffmpeg.executable() == str(silent)


def test_candidates_ask_each_ffmpeg_once(install: Install) -> None:
    old = install(UBUNTU_22)
    for _ in range(3):
        ffmpeg.executable()
        ffmpeg.first_with(decoders=["h264"])
    assert (old.parent / "asked").read_text() == "-version\n"


def test_executable_names_what_is_too_old_where_nothing_else_is_there(install: Install) -> None:
    system, packaged = install(UBUNTU_22), install("4.2.2-static", packaged=True)
    for search in (ffmpeg.executable, ffmpeg.h264_encoder):
        with pytest.raises(MediaError) as error:
            search()
        assert str(error.value) == (
            f"ffmpeg: found {UBUNTU_22} at {system} and 4.2.2-static at {packaged}, expected 5.1 or newer; "
            "install a newer one: pip install --upgrade imageio-ffmpeg"
        )


def test_inspect_refuses_an_ffmpeg_that_is_too_old(install: Install, thgen, folder: Path, speech_wav: Path) -> None:
    old = install("5.0.1", packaged=True)
    said = thgen("inspect", speech_wav)
    assert (said.code, said.out, said.new) == (3, "", ())
    assert said.err == (
        f"thgen: error: ffmpeg: found 5.0.1 at {old}, expected 5.1 or newer; "
        "install a newer one: pip install --upgrade imageio-ffmpeg\n"
    )


def test_capabilities_name_an_ffmpeg_that_is_too_old_to_be_used(install: Install) -> None:
    assert capabilities().old == ""
    old = install(UBUNTU_22)
    found = capabilities()
    assert (found.reader, found.old) == (imageio_ffmpeg.get_ffmpeg_exe(), f"{UBUNTU_22} at {old}")
