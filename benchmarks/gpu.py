"""What a GPU is asked: tests, speed of Θ alone and of whole videos, and a training at the paper's sizes. `make gpu`

    python benchmarks/gpu.py [tests|theta|video|train …] [--device cuda] [--episodes DIR] [--out build/gpu] [--tiny]

Each part stops after nine minutes; run again, it goes on where it was. What it found lies in the folder ``--out``:
``results.json``, a record for each test file, measurement and training; ``tests.txt``, what pytest printed; and
``train.jsonl``, the loss curve. The run that ``train`` continues has weights of gigabytes and lies beside it, in
``OUT-run``. ``--episodes`` names a set of at most 60 MiB, made by ``thgen preprocess episodes STORE --out DIR --frames
1400 --quality 85``. ``--tiny`` rehearses everything on a CPU, with tiny sizes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from generate import SPEECH, machine, repeat
from h264_codecs import codecs

from thcli import GenerateOptions, generate
from thcli.checkpoints import write_atomic
from thcli.device import resolve_device
from thcli.errors import ThgenError
from thcli.pipeline.models import load_models
from thcli.records import CROP_SIZE
from thcli.render.generator import PRECISIONS, TorchGenerator
from thgen_models.generator import PAPER, Frames, Generator

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 540
"""Seconds after which a part stops; what is under way is finished first, but for training, which is interrupted."""
LARGEST_SET = 60 << 20
"""Most bytes of the episodes that are trained on."""
TEST_FILES = (
    "tests/render/test_rasterize.py",
    "tests/commands/test_on_gpu.py",
    "tests/training/test_on_gpu.py",
)
"""Files with tests marked ``gpu``."""
REFERENCES = 8
WARM_UP, ROUNDS = 3, 20
"""Rounds before, and most rounds in, a measurement of Θ, which also ends after ``MEASURED`` seconds."""
MEASURED = 5.0
INTERRUPTED = 130
"""Exit code of ``thgen train`` when it is interrupted."""


@dataclass(frozen=True)
class Task:
    """A piece of work that is done once.

    name: name in ``results.json``
    work: returns what was found, or None where it is to go on in a later run
    """

    name: str
    work: Callable[[], dict[str, Any] | None]


def main() -> None:
    """Do what is left of the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--episodes", type=Path, help="set of episodes for the part train")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--tiny", action="store_true", help="rehearse with tiny sizes")
    given = parser.parse_args()
    for part in given.parts:
        if part not in PARTS:
            parser.error(f"{part}: no such part, expected one of {', '.join(PARTS)}")
    try:
        given.device = resolve_device(given.device)
        check_episodes(given.episodes)
    except ThgenError as error:
        sys.exit(f"gpu: error: {error}")
    given.out.mkdir(parents=True, exist_ok=True)
    for part in given.parts or PARTS:
        run_part(part, PARTS[part](given), given.out)


def check_episodes(folder: Path | None) -> None:
    """Raise ThgenError for a set of episodes that is not there or too large to carry to a GPU."""
    if folder is None:
        return
    size = sum(path.stat().st_size for path in folder.glob("*")) if folder.is_dir() else 0
    if not 0 < size <= LARGEST_SET:
        raise ThgenError(
            f"--episodes {folder}: {size >> 20} MiB, expected a set of up to {LARGEST_SET >> 20} MiB; make one with "
            "thgen preprocess episodes STORE --out DIR --frames 1400 --quality 85"
        )


def run_part(part: str, tasks: Iterator[Task], out: Path) -> None:
    """Do the tasks of a part that are not in ``results.json`` yet, and write each result at once."""
    path, began = out / "results.json", time.perf_counter()
    results, left = json.loads(path.read_text()) if path.is_file() else {}, False
    for task in tasks:
        if task.name in results:
            continue
        if time.perf_counter() - began > SECONDS:
            print(f"{part}: nine minutes are over; run again for the rest", flush=True)
            return
        found = task.work()
        if found is None:
            left = True
            print(f"{part}: {task.name} is not done; run again to go on", flush=True)
            continue
        results[task.name] = {**found, "device": device_name(), "date": time.strftime("%Y-%m-%d")}
        write_atomic(path, (json.dumps({"machine": machine(), **results}, indent=1) + "\n").encode())
        print(f"{task.name}: {found}", flush=True)
    print(f"{part}: {'some is left' if left else 'done'}", flush=True)


def device_name() -> str:
    """Return the name of the GPU, or of the CPU's architecture where there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"


def tests(given: argparse.Namespace) -> Iterator[Task]:
    """Run each file of tests marked ``gpu``; one that fails is run again the next time."""
    for name in TEST_FILES:
        yield Task(f"tests: {name}", partial(test, given, name))


def test(given: argparse.Namespace, name: str) -> dict[str, Any] | None:
    """Run a file of tests, and keep what it prints."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-rs", name]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with (given.out / "tests.txt").open("a", encoding="utf-8") as file:
        file.write(f"{' '.join(command[1:])}\n{done.stdout}\n")
    print(done.stdout, flush=True)
    return None if done.returncode else {"outcome": done.stdout.splitlines()[-1]}


def theta(given: argparse.Namespace) -> Iterator[Task]:
    """Measure frames a second of Θ alone, of the shipped sizes and the paper's, compiled in the end."""
    lite = load_models(device="cpu").generator
    precisions = ("fp32", "bf16") if given.device == "cpu" else ("fp32", "bf16", "fp16")
    for precision in precisions:
        for batch in (1, 2) if given.tiny else (1, 4, 16, 64):
            yield Task(f"theta: lite, {precision}, batch {batch}", partial(measure, lite, given, precision, batch))
    if given.tiny:
        return
    yield Task("theta: paper, bf16, batch 8", lambda: measure(Generator(PAPER), given, "bf16", 8))
    for batch in (1, 16):
        work = partial(measure, lite, given, "bf16", batch, compiled=True)
        yield Task(f"theta: lite, bf16, batch {batch}, torch.compile with CUDA graphs", work)


def measure(
    network: Generator, given: argparse.Namespace, precision: str, batch: int, compiled: bool = False
) -> dict[str, Any]:
    """Return frames a second of Θ on noise; the error where it cannot be compiled or does not fit."""
    device = given.device
    size = (CROP_SIZE // network.dims.reduction,) * 2
    made = TorchGenerator(network, device, PRECISIONS[precision])
    embedding = made.embed(
        torch.rand(REFERENCES, 3, *size, device=device), torch.rand(REFERENCES, 1, *size, device=device)
    )
    frames = Frames(*(torch.rand(batch, *shape, device=device) for shape in network.dims.frame_shapes(CROP_SIZE)))
    render = torch.compile(made.render, mode="reduce-overhead") if compiled else made.render
    try:
        for _ in range(WARM_UP):
            render(frames, embedding)
        wait(device)
        began, rounds = time.perf_counter(), 0
        while rounds < ROUNDS and time.perf_counter() - began < MEASURED:
            render(frames, embedding)
            wait(device)
            rounds += 1
    except RuntimeError as error:
        return {"error": str(error).splitlines()[0]}
    seconds = (time.perf_counter() - began) / rounds
    return {"fps": round(batch / seconds, 1), "milliseconds a call": round(1000 * seconds, 2)}


def wait(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    elif device.startswith("mps"):
        torch.mps.synchronize()


def video(given: argparse.Namespace) -> Iterator[Task]:
    """Measure frames a second of ``thgen generate`` from end to end, with networks loaded before."""
    precision = "bf16"
    rows = [
        *((f"network, {precision}, batch {n}", {"precision": precision, "batch_size": n}) for n in (4, 16, 64)),
        ("network, 512", {"precision": precision, "batch_size": 16, "size": "512"}),
        ("warp", {"renderer": "warp", "batch_size": 16}),
    ]
    for name, options in rows[:1] if given.tiny else rows:
        yield Task(f"video: {name}", partial(end_to_end, given, options))
    yield Task("video: NVENC and NVDEC", codecs)


def end_to_end(given: argparse.Namespace, options: dict[str, Any]) -> dict[str, Any]:
    """Return frames a second of the second of two videos, and its seconds by stage."""
    folder, reference = given.out.with_name(f"{given.out.name}-run"), ROOT / "demo" / "reference.mp4"
    folder.mkdir(exist_ok=True)
    if not reference.is_file():
        from thcli.generation.demo import make_demo

        make_demo(reference.parent, overwrite=True)
    repeat(SPEECH, folder / "speech.wav", 0.4 if given.tiny else 20.0)
    chosen = GenerateOptions(device=given.device, overwrite=True, **options)
    for _ in range(2):
        began = time.perf_counter()
        made = generate(reference, folder / "speech.wav", folder / "out.mp4", chosen)
        total = time.perf_counter() - began
    seconds = {stage: round(value, 2) for stage, value in made.seconds.items()}
    return {"fps": round(made.frames / total, 1), "frames": made.frames, "seconds": seconds}


def train(given: argparse.Namespace) -> Iterator[Task]:
    """Train Θ at the paper's sizes; interrupted when the time is over, it goes on from its last validation."""
    if given.episodes is None:
        print("train: needs --episodes DIR, or make gpu EPISODES=DIR", flush=True)
        return
    run = given.out.with_name(f"{given.out.name}-run") / "train"
    config, steps, every = ("tiny", 4, 2) if given.tiny else ("paper", 2000, 50)
    command = [sys.executable, "-m", "thcli", "train", "generator", "--config", config, "--resume"]
    command += ["--data", str(given.episodes.resolve()), "--out", str(run), "--device", given.device]
    command += ["--steps", str(steps), "--set", f"generator.train.val_every={every}", "--progress", "none"]

    def work() -> dict[str, Any] | None:
        began = time.perf_counter()
        code = interrupted_after(SECONDS, command)
        log = run / "log.jsonl"
        if log.is_file():
            shutil.copyfile(log, given.out / "train.jsonl")
        if code not in (0, INTERRUPTED, -signal.SIGINT):
            sys.exit(f"gpu: error: {' '.join(command)} ended with code {code}")
        if code:
            return None
        last = json.loads(log.read_text().splitlines()[-1])
        return {"command": " ".join(command[1:]), "last": last, "seconds of the last run": time.perf_counter() - began}

    yield Task(f"train: generator, {config}", work)


def interrupted_after(seconds: float, command: list[str]) -> int:
    """Run a command, interrupt it as Ctrl-C does once it has run for ``seconds``, and return its exit code."""
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            return process.wait()


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Task]]] = {
    "tests": tests,
    "theta": theta,
    "video": video,
    "train": train,
}
"""The parts, in order."""

if __name__ == "__main__":
    main()
