"""``thgen train``."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thcli.commands import options
from thcli.commands.failures import Failure, failure_of
from thcli.commands.progress import show_progress

if TYPE_CHECKING:
    from thcli.pipeline.progress import Progress as Display
    from thcli.training.distributed import World
    from thcli.training.loop import TrainResult

STAGES = (
    "face-model", "mouth-interior", "expression", "adapter", "motion", "detection", "unprojection", "matting",
    "generator",
)  # fmt: skip
"""Stages of ``thcli.training.stages``, repeated here because that module imports torch, which a help text must not."""


@click.command("train")
@click.argument("stage", type=click.Choice(STAGES))
@click.option("--data", required=True, type=options.PATH, metavar="DIR",
              help="Folder made by `thgen preprocess all`; for generator, by `thgen preprocess episodes`.")  # fmt: skip
@click.option("--out", required=True, type=options.PATH, metavar="RUN",
              help="Folder of the run; for face-model and mouth-interior, the file to write.")  # fmt: skip
@click.option("--config", type=options.WordOrFile("lite", "tiny", "paper"), metavar="NAME|FILE",
              help="lite, tiny, paper, or a YAML file.  [default: lite]")  # fmt: skip
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
              help="Change one value, such as expression.train.steps=500; may be repeated.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), metavar="N",
              help="Number of training steps; short for --set STAGE.train.steps=N.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Continue the run in RUN, or start one where there is none.")
@click.option("--init", type=options.PATH, metavar="CHECKPOINT", help="Start from the weights of an earlier run.")
@click.option("--perceptual-weights", "perceptual", type=options.PATH, metavar="FILE",
              help="generator: VGG19 (safetensors) or MobileFaceNet (ONNX), for the perceptual loss.")  # fmt: skip
@options.device
@options.weights
@click.option("--dry-run", is_flag=True, help="Check everything and print what would be done.")
@options.progress
@options.debug
def command(
    stage: str, data: Path, out: Path, config: str | None, overrides: tuple[str, ...], steps: int | None, resume: bool,
    init: Path | None, perceptual: Path | None, device: str, weights: Path | None, dry_run: bool, progress: str,
) -> None:  # fmt: skip
    """Train the networks on preprocessed clips.

    \b
    thgen train face-model --data store --out weights/face_model.safetensors
    thgen train expression --data store --out runs/expression --set expression.train.steps=4000
    thgen train adapter --data store --out runs/adapter --resume
    thgen train motion --data store --out runs/motion --resume
    thgen train generator --data episodes --out runs/generator --resume
    thgen train generator --data own_episodes --out runs/own --init generator.safetensors --steps 300
    torchrun --nproc-per-node 2 -m thcli train motion --data store --out runs/motion
    """
    from thcli.training import stages
    from thcli.training.distributed import processes

    for option, value in (("--dry-run", dry_run), ("--init", init), ("--steps", steps)):
        if value and stage in stages.FITTED:
            raise click.UsageError(f"train {stage}: has no steps; leave out {option}.")
    if steps is not None:
        overrides = (*overrides, f"{stage}.train.steps={steps}")
    if perceptual is not None and stage != "generator":
        raise click.UsageError("--perceptual-weights is for 'train generator'.")
    given: dict[str, Any] = {
        "config": config, "overrides": overrides, "init": init, "device": device, "weights": weights,
        "perceptual": perceptual,
    }  # fmt: skip
    with processes() as world, _one_voice(world):
        if dry_run:
            from thcli.training.plan import plan

            planned = plan(stage, data, **given, world=world)
            if world.rank == 0:
                click.echo(str(planned))
            return
        with show_progress("none" if world.rank else progress, unit="steps") as display:
            report = _report(stage, display)
            result = stages.run(stage, data, out, **given, resume=resume, progress=report, world=world)
        if world.rank == 0:
            _echo(result, boards=stage not in stages.FITTED)


def _report(stage: str, display: Display) -> Callable[[int, int, Mapping[str, float]], None]:
    """Return a function that shows the steps done of a stage on a progress display."""
    seen = 0

    def report(done: int, total: int, figures: Mapping[str, float]) -> None:
        nonlocal seen
        if not seen:
            display.stage(stage, total)
        display.advance(done - seen)
        seen = done

    return report


def _echo(result: TrainResult, boards: bool) -> None:
    if boards and importlib.util.find_spec("tensorboard") is None:
        click.echo("without TensorBoard the curves are in log.jsonl alone; pip install 'thgen[train]' has it", err=True)
    figures = ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
    click.echo(f"{result.checkpoint}: step {result.step}" + (f", {figures}" if figures else ""), err=True)


@contextmanager
def _one_voice(world: World) -> Iterator[None]:
    """A block in which, of several processes, only the first that fails prints its error; the others end quietly."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if world.fails_first():
            raise
        raise Failure("", failure_of(error).exit_code) from error
