"""docs/inputs.md lists the exit codes and limits of the code."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from thcli import errors
from thcli.clips import audio, decode, ffmpeg, probe
from thcli.commands import failures
from thcli.inspection.clip import LONGEST
from thcli.signals import ENDING

PAGE = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text(encoding="utf-8")


def test_inputs_page_lists_every_exit_code():
    listed = {int(code) for code in re.findall(r"^\| (\d+) \| ", PAGE, re.MULTILINE)}
    kinds = {kind.exit_code for kind in (errors.ThgenError, *errors.ThgenError.__subclasses__())}
    signals = {failures.BY_SIGNAL + number for number in ENDING}
    assert listed == {0, 141, failures.SOME_FAILED, *signals, *kinds}


def test_inputs_page_lists_the_limits_of_the_code():
    megapixels, gigabytes = 10**6, 1 << 30
    for words in (
        f"{probe.MIN_SIDE} pixels",
        f"{ffmpeg.MAX_PIXELS // megapixels} megapixels",
        f"{(Image.MAX_IMAGE_PIXELS or 0) // megapixels} megapixels",
        f"{audio.MIN_SECONDS} s to {audio.MAX_SECONDS // 3600} hours",
        f"{decode.MAX_BYTES // gigabytes} GB",
        f"{ffmpeg.MAX_MEMORY // gigabytes} GB",
        f"{ffmpeg.MAX_SECONDS} s",
    ):
        assert f"\n| {words} | " in PAGE
    assert LONGEST == 60 and "`inspect` a minute" in PAGE
