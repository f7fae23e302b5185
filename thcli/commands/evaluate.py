"""``thgen evaluate``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thcli.commands import options, suite
from thcli.commands.failures import SOME_FAILED, Failure
from thcli.commands.progress import show_progress
from thcli.commands.tables import check_output, deliver, note, table

if TYPE_CHECKING:
    from thcli.evaluation.files import EvaluateOptions, PairOutcome
    from thcli.evaluation.metric import Metric
    from thcli.evaluation.table import Row

FORMATS = ("table", "markdown", "csv", "jsonl")
SUFFIXES = {".md": "markdown", ".csv": "csv", ".jsonl": "jsonl"}


@click.command("evaluate")
@click.argument("predicted", type=options.PATH, required=False)
@click.argument("reference", type=options.PATH, required=False)
@click.option("--reference-start", type=click.FloatRange(min=0), default=0.0, show_default=True, metavar="SECONDS",
              help="Second of the reference at which the predicted video begins.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Seconds to compare.  [default: all]")
@click.option("--metrics", metavar="NAME,NAME…", help="Metrics to compute.  [default: all]")
@click.option("--list", "list_metrics", is_flag=True, help="Print the definition of each metric, and measure nothing.")
@click.option("--identity", type=options.PATH, metavar="FILE.onnx", help="Network for CSIM and the identity distance.")
@click.option("--inception", type=options.PATH, metavar="FILE.onnx", help="Network for FID.")
@click.option("--syncnet", type=options.PATH, metavar="FILE.onnx", help="Network for the sync offset and confidence.")
@options.tracker
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True,
              help="What to print on standard output.")  # fmt: skip
@click.option("-o", "--output", type=options.PATH, metavar="FILE", help="Also write a .csv, .jsonl or .md file.")
@options.overwrite
@suite.suite_options
@options.progress
@options.debug
def command(
    predicted: Path | None, reference: Path | None, metrics: str | None, list_metrics: bool, kind: str,
    output: Path | None, overwrite: bool, progress: str, **given: Any,
) -> None:  # fmt: skip
    """Compare videos with the real ones, beside the figures of the real videos and of trivial baselines.

    PREDICTED and REFERENCE are two videos, compared frame by frame, or two folders whose videos are paired by name.
    Networks that some metrics need are never downloaded: give their paths, or put them into the cache folder. A metric
    whose network is missing is not computed.

    With --suite, thgen renders the videos itself by the protocols of the paper's tables: the first 64 frames of each
    clip in DATA are known, and the clip's own audio or landmarks drive the rest.

    \b
    thgen evaluate made.mp4 clip.mp4 --reference-start 3
    thgen evaluate made/ real/ -o figures.csv
    thgen evaluate --list
    thgen evaluate --suite store --drive landmarks --references 1,8 --ablate all --out tables
    """
    from thcli.evaluation.compare import choose_metrics

    suite.check()
    names = None if metrics is None else suite.words(metrics)
    chosen = choose_metrics(names)
    if list_metrics:
        click.echo(_definitions(chosen, kind), nl=False)
        return
    measuring = _options(**{name: value for name, value in given.items() if name not in suite.NAMES})
    if given["suite"] is not None:
        report = suite.run(measuring.metric_models, names).report
        show(report.rows, report.means, chosen, kind, None)
        return
    check_output(output, SUFFIXES, overwrite)
    _evaluate_files(predicted, reference, chosen, measuring, kind, output, progress)


def _options(identity: Path | None, inception: Path | None, syncnet: Path | None, **given: Any) -> EvaluateOptions:
    """Return the options, after a check of the networks given, so that a wrong one is reported before the work."""
    from thcli.evaluation.files import EvaluateOptions
    from thcli.evaluation.metric_models import MetricModels, Role

    models = MetricModels(identity, inception, syncnet)
    roles: dict[Role, Path | None] = {"identity": identity, "inception": inception, "syncnet": syncnet}
    for role, path in roles.items():
        if path is not None:
            models.find(role)
    return EvaluateOptions(**given, metric_models=models)


def _evaluate_files(
    predicted: Path | None, reference: Path | None, metrics: Sequence[Metric], chosen: EvaluateOptions, kind: str,
    output: Path | None, progress: str,
) -> None:  # fmt: skip
    """Measure one pair of videos or the pairs of two folders, and print and write the figures."""
    from thcli.evaluation import files

    if predicted is None or reference is None:
        raise click.UsageError("Name two videos or two folders: PREDICTED REFERENCE.")
    folders = predicted.is_dir()
    pairs, unpaired = files.find_pairs(predicted, reference)
    if unpaired:
        note(unpaired)
    outcomes = []
    with show_progress(progress, unit="rows") as display:
        display.stage("measure", len(pairs) * files.ROWS)
        for outcome in files.evaluate(pairs, metrics, chosen, display.advance, keep_going=folders):
            display.advance(files.ROWS - len(outcome.rows))
            _tell(outcome, folders)
            outcomes.append(outcome)
    rows = [row for outcome in outcomes for row in outcome.rows]
    means = files.summary(outcomes, metrics) if folders else rows
    if rows:
        show(rows, means, metrics, kind, output)
    failed = sum(bool(outcome.error) for outcome in outcomes)
    if failed:
        raise Failure(f"error: {failed} of {len(pairs)} pairs could not be measured", SOME_FAILED)


def _tell(outcome: PairOutcome, folders: bool) -> None:
    """Print why a pair could not be measured, and the notes on it."""
    if outcome.error:
        click.echo(f"thgen: {outcome.files.clip}: {outcome.error}", err=True)
    for text in outcome.rows[0].notes if outcome.rows else ():
        note(f"{outcome.files.clip}: {text}" if folders else text)


def show(rows: Sequence[Row], means: Sequence[Row], metrics: Sequence[Metric], kind: str, output: Path | None) -> None:
    """Print the figures in the format ``kind``, and write them in the format that the file's suffix names.

    Tables show ``means``, which are ``rows`` itself where there is one clip; CSV and JSON Lines hold rows and means.
    """
    from thcli.evaluation.table import markdown, sheet, to_csv, to_json_lines

    everything = list(rows) if means is rows else [*rows, *means]
    clips = list(dict.fromkeys(row.clip for row in rows))
    heading = clips[0] if means is rows else f"mean of {len(clips)} clip{'s' if len(clips) > 1 else ''}"
    written: dict[str, Callable[[], str]] = {
        "table": lambda: table(sheet(means, metrics, heading)),
        "markdown": lambda: markdown(means, metrics, heading),
        "csv": lambda: to_csv(everything, metrics),
        "jsonl": lambda: to_json_lines(everything, metrics),
    }
    deliver(written, kind, output, SUFFIXES)


def _definitions(metrics: Sequence[Metric], kind: str) -> str:
    """Return the definitions of the metrics, as text or as JSON Lines."""
    import json

    from thcli.evaluation.table import ARROWS

    fields = ("name", "title", "better", "definition", "source", "inputs")
    if kind == "jsonl":
        objects = ({name: getattr(metric, name) for name in fields} for metric in metrics)
        return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects)
    if kind != "table":
        raise click.UsageError(f"--list prints a table or jsonl, not {kind}.")
    return "\n".join(
        f"{metric.name}  ({metric.title} {ARROWS[metric.better]})\n"
        f"    {metric.definition}\n    source: {metric.source}\n    from: {metric.inputs}\n"
        for metric in metrics
    )
