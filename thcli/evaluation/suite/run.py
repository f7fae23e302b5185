"""Run of the suite: every clip, row and K that has no result yet is measured, then the tables are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from thcli.data.store import ClipMeta, Store
from thcli.device import resolve_device
from thcli.evaluation.compare import choose_metrics, measure_to_pool, pool
from thcli.evaluation.metric import Figure, Metric
from thcli.evaluation.recording import Pair
from thcli.evaluation.suite.case import Case, load_case
from thcli.evaluation.suite.clips import choose_clips
from thcli.evaluation.suite.methods import REAL, Method, choose_methods
from thcli.evaluation.suite.options import SuiteOptions
from thcli.evaluation.suite.report import TABLE, Report, write_report
from thcli.evaluation.suite.results import Folder, Unit, UnitResult, common_ingredients, ingredients_of
from thcli.pipeline.progress import Progress, Quiet


@dataclass(frozen=True)
class Done:
    """A finished run.

    table: path of ``table.md``
    report: content of the table
    resumed: number of results that were taken from an earlier run
    """

    table: Path
    report: Report
    resumed: int


def run_suite(
    data: Path, out: Path, options: SuiteOptions, progress: Progress | None = None, command: str = ""
) -> Done:
    """Render and measure the clips of a store by the paper's protocols, and write the tables into the folder ``out``.

    Results of an earlier run with the same options are taken from that folder.

    command: command line to name in the table

    Raises UsageError, MediaError, WeightsError, DeviceError.
    """
    options = replace(options, device=resolve_device(options.device))
    store, metrics, methods = Store(data), choose_metrics(options.metrics), choose_methods(options)
    choice = choose_clips(store, options)
    common = common_ingredients(options, metrics)
    folder = Folder(out, common, {meta.clip: ingredients_of(store, meta, other) for meta, other in choice.clips})
    work = [(meta, other, units_of(meta.clip, methods, options)) for meta, other in choice.clips]
    out.mkdir(parents=True, exist_ok=True)
    suite = _Suite(store, options, metrics, folder, progress or Quiet())
    suite.progress.stage("suite", sum(len(units) for _, _, units in work))
    results = [result for meta, other, units in work for result in suite.results(meta, other, units)]
    report = Report(
        command=command,
        store=data,
        options=options,
        subjects=choice.subjects,
        methods=methods,
        metrics=metrics,
        results=results,
        pooled=_pooled(results, metrics),
        left_out=choice.left_out,
        weights=common["weights"] | {name: sha for method in methods for name, sha in method.weights.items()},
        models=common["models"],
    )
    write_report(out, report)
    return Done(out / TABLE, report, suite.resumed)


def units_of(clip: str, methods: Sequence[Method], options: SuiteOptions) -> list[Unit]:
    """Return the rows of a clip in the order of the table: those that do not depend on K, then those of each K."""
    once = [Unit(clip, method, None) for method in methods if not method.uses_references]
    counts = sorted(set(options.references))
    return once + [Unit(clip, method, count) for count in counts for method in methods if method.uses_references]


class _Suite:
    """Makes the missing results of a run; ``resumed`` counts those of an earlier run."""

    def __init__(
        self, store: Store, options: SuiteOptions, metrics: Sequence[Metric], folder: Folder, progress: Progress
    ) -> None:
        self.store, self.options, self.metrics, self.folder, self.progress = store, options, metrics, folder, progress
        self.resumed = 0

    def results(self, meta: ClipMeta, other: ClipMeta, units: Sequence[Unit]) -> Iterator[UnitResult]:
        """Yield the results of a clip one after the other; a clip that has them all is not read."""
        case: Case | None = None
        for unit in units:
            result = self.folder.load(unit)
            if result is None:
                case = case or load_case(self.store, meta, other, self.options)
                result = self._make(case, unit)
            else:
                self.resumed += 1
            self.progress.advance()
            yield result

    def _make(self, case: Case, unit: Unit) -> UnitResult:
        made = case.real
        if unit.method is not REAL:
            made = case.recording(unit.row, unit.method.render(case, unit.references or 1))
        measured = measure_to_pool(Pair(made, case.real), self.metrics, self.options.metric_models)
        return self.folder.save(unit, len(case), measured)


def _pooled(results: Sequence[UnitResult], metrics: Sequence[Metric]) -> dict[str, dict[str, Figure]]:
    """Compute figures over all clips at once, by row and metric, against the features of the real videos.

    Rows are read one at a time, because the features of all rows would not fit into memory.
    """
    real = {result.unit.clip: result for result in results if result.unit.method is REAL}
    pooled: dict[str, dict[str, Figure]] = {}
    for row in dict.fromkeys(result.unit.row for result in results):
        features = []
        for result in results:
            if result.unit.row == row:
                made, true = result.features(), real[result.unit.clip].features()
                features.append({name: (made[name], true[name]) for name in made if name in true})
        pooled.update(pool({row: features}, metrics))
    return pooled
