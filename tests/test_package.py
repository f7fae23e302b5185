"""What the package promises about itself: pins that fit, one version, samples that are shipped."""

import re
import wave
from importlib import resources
from pathlib import Path

import pytest

from thcli.commands.main import COMMANDS
from thcli.version import __version__

ROOT = Path(__file__).parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text()


def test_version_is_the_same_everywhere():
    assert f'version = "{__version__}"' in PYPROJECT
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_pin_every_dependency_once_for_every_python():
    pins: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, marker = re.fullmatch(r"([a-z0-9-]+)==([\w.]+)(?:; (.*))?", line).groups()
            pins.setdefault(name, []).append(marker)
    older, newer = 'python_version < "3.11"', 'python_version >= "3.11"'
    assert all(markers in ([None], [older], [older, newer]) for markers in pins.values())
    required = re.search(r"\ndependencies = \[(.*?)\n\]", PYPROJECT, re.DOTALL)[1]
    required += re.search(r"\ndev = \[(.*?)\]", PYPROJECT)[1]
    assert {name.lower() for name in re.findall(r'"([\w-]+)>=', required)} <= set(pins)


def test_samples_are_part_of_the_package():
    sample = resources.files("thgen_samples") / "speech.wav"
    with sample.open("rb") as file, wave.open(file) as speech:
        assert (speech.getframerate(), speech.getnchannels(), speech.getsampwidth()) == (16_000, 1, 2)
        assert 9 < speech.getnframes() / 16_000 < 10


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_readme_or_a_page_shows_every_command(command):
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert any(re.search(rf"thgen {command}\b|`{command}`", page.read_text()) for page in pages)
