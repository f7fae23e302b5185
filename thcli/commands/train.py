"""``thgen train``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from thcli.commands import options
from thcli.commands.progress import show_progress

STAGES = ("face-model", "mouth-interior", "expression", "motion", "detection", "unprojection")
"""Those of ``thcli.training.stages``, which is not imported for a help text: it brings torch."""


@click.command("train")
@click.argument("stage", type=click.Choice(STAGES))
@click.option("--data", required=True, type=options.PATH, metavar="DIR", help="What `thgen preprocess all` made.")
@click.option("--out", required=True, type=options.PATH, metavar="RUN",
              help="Folder of the run; for face-model and mouth-interior, the file to write.")  # fmt: skip
@click.option("--config", metavar="NAME|FILE", help="lite, tiny, paper, or a YAML file.  [default: lite]")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
              help="Change one value, such as expression.train.steps=500; may be repeated.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the run in RUN; start anew where there is none.")
@options.device
@options.weights
@options.progress
@options.debug
def command(
    stage: str, data: Path, out: Path, config: str | None, overrides: tuple[str, ...], resume: bool, device: str,
    weights: Path | None, progress: str,
) -> None:  # fmt: skip
    """Train the networks on preprocessed clips.

    \b
    thgen train face-model --data store --out weights/face_model.safetensors
    thgen train expression --data store --out runs/expression --set expression.train.steps=4000
    thgen train motion --data store --out runs/motion --resume
    """
    from thcli.training import stages

    with show_progress(progress, unit="steps") as display:
        seen = 0

        def report(done: int, total: int, figures: Mapping[str, float]) -> None:
            nonlocal seen
            if not seen:
                display.stage(stage, total)
            display.advance(done - seen)
            seen = done

        result = stages.run(
            stage, data, out, config=config, overrides=overrides, resume=resume, device=device, weights=weights,
            progress=report,
        )  # fmt: skip
    figures = ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
    click.echo(f"{result.checkpoint}: step {result.step}" + (f", {figures}" if figures else ""), err=True)
