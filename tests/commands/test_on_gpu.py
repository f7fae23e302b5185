"""Commands on a GPU, the machine's own or a pretended one: they end well, and make the images that the CPU makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.decode import read_clip

MEAN, LARGEST = 1.5, 64
"""Mean and largest difference of the pixels of a GPU's video from those of the CPU's in float32, of 255.

Most of it is the encoder's, which turns the least change into others; on pretended GPUs it comes to 1.0 and 29.
"""


@pytest.fixture
def photo(media, portrait_png) -> Path:
    """Make a wide photo, of which the crop is a part."""
    return media("photo.png", "-i", portrait_png, "-vf", "scale=128:128,pad=224:128:48:0")


@pytest.fixture
def word(folder, say) -> str:
    say(folder / "word.wav", 0.2)
    return "word.wav"


@pytest.fixture
def on(thgen, folder, photo, word, nodding, monkeypatch) -> Callable[..., np.ndarray]:
    """on(device, *options): the frames of ``thgen generate`` on a device."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")  # else the CPU listens to speech in bfloat16, and a GPU does not

    def generate(device: str, *options: str) -> np.ndarray:
        given = ("--ref", photo, "--audio", word, "--overwrite", "-o", "out.mp4", "--device", device)
        said = thgen("generate", *given, *options)
        assert said.code == 0, said.err
        assert json.loads((folder / "out.mp4.json").read_text())["device"] == device
        return read_clip(folder / "out.mp4").frames.astype(int)

    return generate


CASES = {
    "crop": ("fp32", ()),
    "crop, fp16": ("fp16", ()),
    "512, bf16": ("bf16", ("--size", "512")),
    "full, fp16": ("fp16", ("--frame", "full")),
    "warp": (None, ("--renderer", "warp", "--motion", "still", "--batch-size", "2")),
    "warp, full": (None, ("--renderer", "warp", "--frame", "full")),
}
"""Precision and options of the image."""


@pytest.mark.parametrize(
    ("gpu", "case"),
    [
        pytest.param("cuda:0", "512, bf16", marks=pytest.mark.slow),
        ("cuda:0", "full, fp16"),
        ("cuda:0", "warp, full"),
        ("mps:0", "crop, fp16"),
        *(pytest.param("real", case, marks=pytest.mark.gpu) for case in CASES),
    ],
    indirect=["gpu"],
)
def test_generate_on_a_gpu_makes_the_frames_of_the_cpu(on, gpu, case):
    precision, image = CASES[case]
    rounded, exact = ((), ()) if precision is None else (("--precision", precision), ("--precision", "fp32"))
    found, expected = on(gpu, *image, *rounded), on("cpu", *image, *exact)
    difference = np.abs(found - expected)
    assert len(found) == 5 and difference.mean() <= MEAN and difference.max() <= LARGEST


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "mps:1"])
@pytest.mark.parametrize("command", ["generate", "dub", "evaluate", "train"])
def test_a_gpu_that_is_not_there_ends_with_code_6(thgen, folder, photo, word, device, command, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    arguments = {
        "generate": ("--ref", photo, "--audio", word),
        "dub": (photo, "--audio", word),
        "evaluate": ("--suite", folder, "--drive", "audio", "--out", "tables"),
        "train": ("motion", "--data", folder, "--out", "run"),
    }[command]
    said = thgen(command, *arguments, "--device", device)
    assert (said.code, said.new) == (6, ()) and f"--device {device}: no such device here; use --device cpu" in said.err


@pytest.fixture
def clip(media, portrait_png, say, folder) -> Path:
    """Make two seconds of a portrait that moves, with sound."""
    say(folder / "own.wav", 2.0)
    moved = "scale=264:264,crop=256:256:x='4+3*sin(n/5)':y='4+3*cos(n/7)'"
    return media(
        "clip.mp4", "-loop", 1, "-framerate", 25, "-t", 2, "-i", portrait_png, "-i", "own.wav", "-vf", moved,
        "-pix_fmt", "yuv420p",
    )  # fmt: skip


@pytest.mark.slow
def test_adapt_on_a_gpu_learns_from_the_clip(thgen, folder, gpu, clip, word, theta_weights, nodding):
    given = ("--ref", clip, "--audio", word, "--weights", theta_weights, "-o", "out.mp4", "--precision", "fp16")
    said = thgen("generate", *given, "--device", gpu, "--adapt", "1", "--references", "1")
    assert said.code == 0, said.err
    record = json.loads((folder / "out.mp4.json").read_text())["adapt"]
    assert record["steps"] == 1 and 0 < record["after"]["ssim"] <= 1


@pytest.mark.slow
def test_batch_on_a_gpu_makes_and_dubs_videos(thgen, folder, gpu, clip, word, theta_weights):
    same = {"audio": word, "device": gpu, "weights": str(theta_weights)}
    jobs = [{"id": "made", "ref": str(clip), **same}, {"id": "dubbed", "dub": str(clip), **same}]
    (folder / "jobs.jsonl").write_text("".join(json.dumps(job) + "\n" for job in jobs))
    said = thgen("batch", "jobs.jsonl", "--out-dir", "out")
    assert said.code == 0, said.err
    assert {"out/made.mp4", "out/dubbed.mp4"} <= set(said.new)
    assert json.loads((folder / "out/dubbed.mp4.json").read_text())["device"] == gpu


@pytest.mark.slow
def test_preprocess_and_the_suite_on_a_gpu(thgen, folder, gpu, media, theta_weights, nodding):
    image, tone = "testsrc2=size=128x128:rate=25:duration=4", "sine=frequency=200:duration=4"
    media("videos/val/bars.mp4", "-f", "lavfi", "-i", image, "-f", "lavfi", "-i", tone, "-pix_fmt", "yuv420p")
    assert thgen("preprocess", "all", "videos", "--out", "store").code == 0
    said = thgen("evaluate", "--suite", "store", "--drive", "landmarks", "--references", "1", "--seconds", "1",
                 "--metrics", "ssim", "--out", "tables", "--format", "csv", "--ablate", "all",
                 "--weights", theta_weights, "--device", gpu)  # fmt: skip
    assert said.code == 0, said.err
    assert {"thgen (K=1)", "frontal texture (K=1)"} <= {line.split(",")[1] for line in said.out.splitlines()[1:]}


@pytest.mark.slow
def test_export_and_doctor_beside_a_gpu(thgen, gpu):
    assert thgen("export", "--onnx", "onnx").code == 0
    assert thgen("doctor", "--device", gpu).code == 0
