"""Train the networks of Table 3: `python benchmarks/ablation.py EPISODES --out OUT [--steps 600] [--size 128]`.

It trains six networks on what `thgen preprocess episodes` made: Θ, Θ without each of its four modules, and Θ without
all of them. Each is what

    thgen train generator --data EPISODES --out OUT/runs/NAME --resume \\
        --set generator.network.MODULE=false --set generator.network.floor=false \\
        --set generator.size=128 --set generator.train.steps=600 --set generator.train.val_every=600

trains: the same steps, on the same batches, from the same seed; the network after the last step is kept, no earlier
one. They paint the whole image, as in the paper (`floor: false`): over the geometric image, their results could not be
told apart. Networks that are finished are not trained again. The table is written by

    thgen evaluate --suite STORE --drive landmarks --references 8 --ablate all --ablation-weights OUT --out TABLES
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path

from thcli.checkpoints import read_header
from thcli.config import load_config
from thcli.configs.sections import GeneratorConfig
from thcli.evaluation.suite.trained import LACKS
from thcli.training import stages


def main() -> None:
    """Train the networks that are not finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("episodes", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--config", default="lite")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], help="as of `thgen train`, for all six")
    arguments = parser.parse_args()
    for name, lacks in LACKS.items():
        overrides = [
            *arguments.set,
            f"generator.size={arguments.size}",
            f"generator.train.steps={arguments.steps}",
            f"generator.train.val_every={arguments.steps}",
            *(f"generator.network.{module}=false" for module in (*lacks, "floor")),
        ]
        train(name, arguments.episodes, arguments.out, arguments.config, overrides, arguments.device)


def train(name: str, episodes: Path, out: Path, config: str, overrides: list[str], device: str) -> None:
    """Train one network and write it as ``OUT/NAME.safetensors``."""
    path = out / f"{name}.safetensors"
    if path.is_file() and is_made_with(path, load_config(config, overrides).generator):
        print(f"{path}: done before")
        return
    run = out / "runs" / name
    result = stages.run(
        "generator", episodes, run, config=config, overrides=overrides, resume=True, device=device, progress=said(name)
    )
    shutil.copyfile(result.checkpoint, path)
    print(f"{path}: step {result.step}, " + ", ".join(f"{key} {value:.4g}" for key, value in result.metrics.items()))


def is_made_with(path: Path, config: GeneratorConfig) -> bool:
    """Return whether a checkpoint was trained with a configuration."""
    return read_header(path).config == json.loads(json.dumps(dataclasses.asdict(config)))


def said(name: str):
    """Return what prints the progress of a network, a line every hundred steps."""

    def report(done: int, total: int, figures) -> None:
        if done % 100 == 0 or done == total:
            print(f"{name}: {done} of {total}, total {figures['total']:.4f}", flush=True)

    return report


if __name__ == "__main__":
    main()
