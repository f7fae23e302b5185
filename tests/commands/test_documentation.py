"""Every command, program and script that the documentation shows runs, in one folder with real files.

Runs are small: training has the tiny configuration, Θ is a tiny network, clips last a few seconds, and tables of the
suite have some of their rows.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from thcli import checkpoints
from thcli.checkpoints import Header, save_checkpoint
from thcli.clips.decode import read_clip
from thcli.clips.encode import VideoWriter
from thcli.clips.ffmpeg import executable
from thcli.commands.generate import default_output
from thcli.commands.main import COMMANDS, main
from thcli.config import load_config
from thcli.configs.sections import Config
from thcli.evaluation.suite.methods import choose_methods
from thcli.evaluation.suite.trained import LACKS
from thcli.faces.track import track_clip
from thcli.pipeline.models import load_models
from thcli.records import Clip
from thgen_models.generator import Generator, GeneratorDims

ROOT = Path(__file__).parents[2]
FIRST = ("docs/training.md", "docs/study.md", "README.md")
"""Pages whose commands run before those of others: one makes a store, and one takes clips that others add to."""
PAGES = tuple(dict.fromkeys([*FIRST, *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]))
ELSEWHERE = ("git clone ", "make ", "pip ", ".venv/bin/pip ", "openssl ")
"""Beginnings of lines that the Makefile and CI run on a fresh machine, or whose work the tests do themselves."""
OTHER_TESTS = re.compile(r" --ray |^thgen doctor$")
"""Commands that other tests run: tests/batch/test_cluster.py starts a cluster, and test_doctor_command.py examines the
weights that ship, which are not in use here."""
PLAIN = re.compile(r"^videos/|^STORE/|^thgen: |^\{|^ *[\w./]+ {2,}\S")
"""Lines that are not commands: names of files, alone or with what they hold, output, JSON."""
ARROW = "──▶"
"""Part of every diagram."""
FRAMES, LONG = 96, 232
"""Frames of a clip that is measured, and of one that Φ can learn from."""
CLIPS = ("train/ada", "train/bea", "val/cem")


@dataclass(frozen=True)
class Block:
    """A block of code on a page; ``kind`` is the word after its fence, and empty where it is indented."""

    kind: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Lines without comments, those that go on after a backslash joined."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        return [re.sub(r"\s+#.*$", "", line) for line in joined.splitlines() if line.strip()]


def blocks(page: str) -> list[Block]:
    """Return the blocks of code on a page."""
    found = re.findall(
        r"^```(\w+)\n(.*?)^```|((?:^    [^\n]*\n)+)", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL
    )
    return [Block(kind, text or re.sub(r"(?m)^    ", "", indented)) for kind, text, indented in found]


def commands(page: str) -> list[str]:
    """Return the commands of thgen on a page."""
    lines = [line for block in blocks(page) if not block.kind for line in block.lines]
    return [line for line in lines if re.match(r"(\.venv/bin/)?thgen |torchrun ", line)]


def of_kind(kind: str) -> list[tuple[str, str]]:
    """Return the blocks of a kind, each after its page."""
    return [(page, block.text) for page in PAGES for block in blocks(page) if block.kind == kind]


@pytest.fixture(scope="module")
def place(tmp_path_factory, portrait_png, speech_wav, certify) -> Path:
    """Make a folder with all files that the commands read and no other command writes."""
    here = tmp_path_factory.mktemp("place")
    certify(here)
    portrait = np.asarray(Image.open(portrait_png).convert("RGB"))
    write_clip(here / "clip.mp4", portrait, speech_wav, FRAMES)
    write_clip(here / "long.mp4", portrait, speech_wav, LONG)
    for name in ("other.mp4", "video.mp4"):
        shutil.copy(here / "clip.mp4", here / name)
    Image.fromarray(portrait).save(here / "photo.jpg")
    for name in ("speech.wav", "speech.flac", "translation.wav"):
        subprocess.run([executable(), "-v", "error", "-i", speech_wav, "-t", "0.6", here / name], check=True)
    for clip in CLIPS:
        (here / "videos" / clip).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(here / ("long.mp4" if clip.startswith("train") else "clip.mp4"), here / "videos" / f"{clip}.mp4")
    (here / "studio.yaml").write_text(next(block.text for block in blocks("docs/defaults.md") if block.kind == "yaml"))
    split_and_name = [clip.split("/") for clip in CLIPS]
    lines = [{"clip": name, "subject": name, "split": split, "av_lag": 0} for split, name in split_and_name]
    (here / "videos" / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in ("made", "other", "real", "clips"):
        (here / name).mkdir()
        shutil.copy(here / "clip.mp4", here / name / "one.mp4")
    return here


def write_clip(path: Path, portrait: np.ndarray, speech: Path, frames: int) -> None:
    """Write a video of the portrait drifting from side to side, with the speech."""
    with VideoWriter(path, (256, 256), speech, frames) as video:
        for t in range(frames):
            video.write(np.roll(portrait, round(4 * np.sin(t / 5)), axis=1))


@pytest.fixture(scope="module")
def small(place, theta_weights) -> Iterator[None]:
    """Put a tiny Θ among the shipped weights, tiny networks into Table 3, and the tiny configuration everywhere."""
    shipped = place / "shipped"
    shipped.mkdir()
    for path in checkpoints.shipped_weights().iterdir():
        if path.suffix in (".safetensors", ".onnx") and not path.name.startswith("generator"):
            (shipped / path.name).symlink_to(path)
    (shipped / "generator.safetensors").symlink_to(theta_weights / "generator.safetensors")
    (place / "models" / "weights").mkdir(parents=True)
    (place / "models" / "weights" / "generator.safetensors").symlink_to(theta_weights / "generator.safetensors")
    own = dict(checkpoints.load_checkpoint(theta_weights / "generator.safetensors", "generator").header.dims)
    own["widths"] = tuple(own["widths"])
    for name, lacks in LACKS.items():
        dims = GeneratorDims(**{**own, "floor": False, **dict.fromkeys(lacks, False)})
        header = Header("generator", dataclasses.asdict(dims), 5, {"size": 64, "train": {"steps": 5}, "network": {}})
        save_checkpoint(place / "runs" / "ablation" / f"{name}.safetensors", header, Generator(dims).state_dict())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "shipped_weights", lambda: shipped)
        for module in ("stages", "plan"):
            patch.setattr(f"thcli.training.{module}.load_config", tiny)
        patch.setattr("thcli.training.matting.check_teacher", lambda: None)  # MediaPipe is not installed
        patch.setattr("thcli.training.matting.mediapipe_masks", left_halves)
        patch.setattr("thcli.evaluation.suite.run.choose_methods", lambda options: choose_methods(options)[::4])
        yield


def left_halves(images: np.ndarray) -> np.ndarray:
    """Return masks [N, H, W] uint8 of images [N, H, W, 3] as if their left halves showed persons."""
    masks = np.zeros(images.shape[:3], np.uint8)
    masks[..., : masks.shape[2] // 2] = 255
    return masks


def tiny(source: str | None, overrides: Sequence[str] = ()) -> Config:
    """Return the tiny configuration, with all overrides but those of the length of training."""
    return load_config("tiny", [one for one in overrides if not re.search(r"\.(steps|val_every|warmup)=", one)])


@pytest.mark.parametrize("page", PAGES)
def test_documented_commands_run_as_printed(page, place, small, monkeypatch):
    monkeypatch.chdir(place)
    if any(" jobs.jsonl" in line for line in commands(page)):
        list_of_jobs(place)
    for line in dict.fromkeys(commands(page)):
        words = shlex.split(line)
        if words[0] == "torchrun":  # tests/training/test_distributed.py starts several processes.
            words = words[words.index("thcli") :]
        if words[1:3] == ["study", "score"]:
            answer(place)
            words = [name for word in words for name in (sorted(map(str, Path().glob(word))) or [word])]
        if done_before(words) or OTHER_TESTS.search(line):
            continue
        remove_default_output(words)
        result = CliRunner().invoke(main, words[1:])
        assert result.exit_code == 0, f"{page}: {line}\n{result.output}"


def list_of_jobs(folder: Path) -> None:
    """Write the list and table of the page, the files that they name, and programs of a cluster."""
    for name in ("clips/ada.mp4", "clips/cem.mp4"):
        shutil.copy(folder / "clip.mp4", folder / name)
    shutil.copy(folder / "photo.jpg", folder / "clips" / "bea.jpg")
    for name in "12":
        (folder / "speech").mkdir(exist_ok=True)
        shutil.copy(folder / "speech.wav", folder / "speech" / f"{name}.wav")
    (folder / "jobs.jsonl").write_text(next(text for page, text in of_kind("json") if page == "docs/batch.md"))
    (folder / "table.csv").write_text("one,clips/ada.mp4,speech/1.wav\n")
    (folder / "bin").mkdir(exist_ok=True)
    for name, text in (("thgen", f'exec {sys.executable} -m thcli "$@"'), ("srun", 'exec "$@"')):
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / "bin" / name).chmod(0o755)


def done_before(words: list[str]) -> bool:
    """Return whether the output of a command is there: a page may show again what another has shown."""
    if "--out-dir" in words and "--resume" not in words:
        return (Path(words[words.index("--out-dir") + 1]) / "outcomes.jsonl").exists()
    return "-o" in words and Path(words[words.index("-o") + 1]).exists()


def remove_default_output(words: list[str]) -> None:
    """Remove the video of an earlier example that names no output, as those of a page are alternatives."""
    if words[1] == "generate" and "-o" not in words:
        reference, audio = (Path(words[words.index(option) + 1]) for option in ("--ref", "--audio"))
        default_output(reference, audio).unlink(missing_ok=True)


def answer(folder: Path) -> None:
    """Write the answers that viewers would have saved from the page of a study."""
    key = json.loads((folder / "study.key.json").read_text())
    for viewer in range(7):
        answers = {name: {"realism": 5, "sync": viewer} for name in key["videos"]}
        content = {"format": 1, "study": key["study"], "viewer": f"v{viewer}", "answers": answers}
        (folder / f"answers_{viewer}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("page", PAGES)
def test_documentation_shows_only_commands_that_are_tested(page):
    lines = [line for block in blocks(page) if not block.kind and ARROW not in block.text for line in block.lines]
    known = [*commands(page), *(line for line in lines if line.startswith(ELSEWHERE))]
    assert [line for line in lines if line not in known and not PLAIN.search(line)] == []


@pytest.mark.parametrize("page", PAGES)
def test_documentation_names_only_options_that_exist(page):
    def names(command: click.Command) -> set[str]:
        own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        return own.union(*map(names, command.commands.values())) if isinstance(command, click.Group) else own

    known = {name for parameter in main.params for name in parameter.opts}
    known |= set().union(*(names(main.get_command(click.Context(main), name)) for name in COMMANDS))
    named = re.findall(r"`(?:thgen [a-z ]+)?(--[a-z][a-z-]*)", (ROOT / page).read_text())
    assert set(named) <= known | {"--help"}


@pytest.mark.parametrize(("page", "text"), of_kind("python"))
def test_documented_python_runs(page, text, place, small, monkeypatch, capsys):
    monkeypatch.chdir(place)
    Path("out.mp4").unlink(missing_ok=True)
    namespace: dict[str, object] = {}
    exec(text, namespace)
    if "out.mp4" in text:
        assert read_clip(Path("out.mp4")).frames.any()
    elif page == "README.md":
        assert capsys.readouterr().out.splitlines() == ["(256, 256, 3)"] * 15
    elif page == "docs/extending.md":
        model = load_models(device="cpu").face_model
        clip = Clip(np.zeros((3, 128, 160, 3), np.uint8), Path("black.mp4"))
        track = track_clip(clip, namespace["Centred"](model), model)
        assert track.tracker == "centred 1" and (track.confidence == 1).all() and len(track) == 3
    else:
        jobs = [json.loads(line) for line in Path("jobs.jsonl").read_text().splitlines()]
        assert len(jobs) == 4 * len(list(Path("speech").glob("*.wav"))) > 0


@pytest.mark.parametrize(("page", "text"), of_kind("sh"))
def test_documented_scripts_run(page, text, place, small, monkeypatch):
    if "jq " in text and shutil.which("jq") is None:
        pytest.skip("no jq here")
    monkeypatch.chdir(place)
    if "$SLURM" in text:
        job = {"id": "quick", "ref": "clips/bea.jpg", "audio": "speech/1.wav", "renderer": "warp"}
        Path("jobs.jsonl").write_text(json.dumps(job))
    monkeypatch.setenv("PATH", f"{place / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "1")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, f"{page}: {text}\n{done.stderr}"
