"""``thgen evaluate --suite``: its options and its run."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from thcli.commands import options
from thcli.commands.progress import show_progress
from thcli.pipeline.option_checks import RENDERERS
from thcli.pipeline.options import DEFAULT_RENDERER

if TYPE_CHECKING:
    from thcli.evaluation.metric_models import MetricModels
    from thcli.evaluation.suite.run import Done

_OPTIONS: tuple[options.Decorator, ...] = (
    click.option("--suite", type=options.PATH, metavar="DATA",
                 help="Render and measure clips of DATA, a folder made by `thgen preprocess all`."),
    click.option("--out", type=options.PATH, metavar="DIR",
                 help="Folder of the suite's tables; a run found there continues."),
    click.option("--drive", type=click.Choice(["audio", "landmarks"]), help="What drives the face after frame 64."),
    click.option("--references", default="1,8,32", show_default=True, metavar="K,K…",
                 help="Numbers of reference frames to compare, each 1 to 32."),
    click.option("--ablate", metavar="all|NAME,NAME…",
                 help="Also render without 3d-aware, hybrid-attention, non-linear, warping; baseline lacks all four."),
    click.option("--ablation-weights", type=options.PATH, metavar="DIR",
                 help="Folder of networks trained by benchmarks/ablation.py, with which --ablate renders."),
    click.option("--renderer", type=click.Choice(RENDERERS), default=DEFAULT_RENDERER, show_default=True,
                 help="Renderer of the row thgen, as in `thgen generate`."),
    click.option("--rasterizer", type=click.Choice(["torch", "pytorch3d"]), default="torch", show_default=True,
                 help="Rasterizer of the row frontal texture; pytorch3d must be installed."),
    click.option("--split", default="val", show_default=True, help="Split of DATA whose clips are rendered."),
    click.option("--clips", metavar="NAME,NAME…", help="Clips of the split to render.  [default: all]"),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of head motion and blinks."),
    options.device,
    options.weights,
)  # fmt: skip
NAMES = (
    "suite", "out", "drive", "references", "ablate", "ablation_weights", "renderer", "rasterizer", "split", "clips",
    "seed", "device", "weights",
)  # fmt: skip
"""Parameters of ``thgen evaluate`` that apply with ``--suite`` only."""
GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
"""Sources of the values that a user has set: the command line and ``thgen --defaults``."""
_OF_FILES = ("predicted", "reference", "reference_start", "output", "overwrite")
"""Parameters of ``thgen evaluate`` that do not apply with ``--suite``."""


def suite_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the suite to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check() -> None:
    """Raise UsageError for options that need ``--suite``, do not go with it, or are missing beside it."""
    ctx = click.get_current_context()
    suite = ctx.params["suite"] is not None
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE or ctx.params.get(name) is None:
            continue
        if suite and name in _OF_FILES:
            said = parameter.opts[-1] if isinstance(parameter, click.Option) else parameter.human_readable_name
            raise click.UsageError(f"{said} cannot be used with --suite.")
        if not suite and name in NAMES:
            raise click.UsageError(f"{parameter.opts[-1]} is for --suite DATA.")
    if suite:
        for name in ("drive", "out"):
            if ctx.params[name] is None:
                raise click.UsageError(f"--suite needs --{name} as well.")


def run(models: MetricModels, metrics: tuple[str, ...] | None) -> Done:
    """Run the suite with the options of the current command, and print where its table is."""
    from thcli.evaluation.suite.options import SuiteOptions
    from thcli.evaluation.suite.run import run_suite

    ctx = click.get_current_context()
    given = ctx.params
    chosen = SuiteOptions(
        drive=given["drive"],
        references=_numbers(given["references"]),
        ablate=words(given["ablate"]),
        ablation_weights=given["ablation_weights"],
        renderer=given["renderer"],
        rasterizer=given["rasterizer"],
        split=given["split"],
        clips=words(given["clips"]),
        seconds=given["seconds"],
        metrics=metrics,
        metric_models=models,
        seed=given["seed"],
        device=given["device"],
        tracker=given["tracker"],
        weights=given["weights"],
    )
    with show_progress(given["progress"], unit="videos") as display:
        done = run_suite(given["suite"], given["out"], chosen, display, _typed(ctx))
    earlier = f", {done.resumed} of them from an earlier run" if done.resumed else ""
    click.echo(f"{done.table}: {len(done.report.results)} videos{earlier}", err=True)
    return done


def words(text: str | None) -> tuple[str, ...]:
    """Return the words of a list separated by commas."""
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words(text))
    except ValueError as error:
        raise click.UsageError(f"--references {text}: expected numbers with commas, such as 1,8,32.") from error


def _typed(ctx: click.Context) -> str:
    """Return the command line with the options that were given, as a user would type it."""
    typed = ["thgen", "evaluate"]
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if name in ctx.params and ctx.get_parameter_source(name) in GIVEN:
            typed += [parameter.opts[-1], str(ctx.params[name])]
    return shlex.join(typed)
