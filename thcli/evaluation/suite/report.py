"""Files that the suite writes: ``table.md`` to read, ``results.json`` with everything, ``results.jsonl`` per video."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from thcli.checkpoints import write_atomic
from thcli.evaluation.baselines import PAST
from thcli.evaluation.metric import Figure, Metric
from thcli.evaluation.suite import paper
from thcli.evaluation.suite.methods import Method
from thcli.evaluation.suite.options import SuiteOptions
from thcli.evaluation.suite.results import UnitResult
from thcli.evaluation.table import Row, markdown, mean_rows, to_json_lines
from thcli.records import FPS
from thcli.version import __version__

TABLE, RESULTS, LINES = "table.md", "results.json", "results.jsonl"
_DRIVEN = {"audio": "Audio-driven", "landmarks": "Landmark-driven"}


@dataclass(frozen=True)
class Report:
    """Report of a run of the suite.

    command: command line as it was typed; empty for a run from Python
    store: folder of the store
    options: options of the run
    subjects: number of people whom the clips show
    methods: rows, with their meaning
    metrics: metrics that were computed
    results: results of every clip, row and K
    pooled: figures over all clips, by row and metric
    left_out: clips that were not rendered, with the reasons
    weights: SHA-256 of the weights, by file name
    models: SHA-256 of the metrics' networks, by role
    """

    command: str
    store: Path
    options: SuiteOptions
    subjects: int
    methods: Sequence[Method]
    metrics: Sequence[Metric]
    results: Sequence[UnitResult]
    pooled: Mapping[str, Mapping[str, Figure]]
    left_out: Sequence[str]
    weights: Mapping[str, str]
    models: Mapping[str, str]

    @property
    def rows(self) -> list[Row]:
        """Row of every clip, method and K."""
        return [Row(result.unit.row, result.unit.clip, result.figures) for result in self.results]

    @property
    def means(self) -> list[Row]:
        """Mean row of every method and K."""
        return mean_rows(self.rows, self.metrics, self.pooled)


def write_report(out: Path, report: Report) -> None:
    """Write ``table.md``, ``results.json`` and ``results.jsonl`` into a folder."""
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    write_atomic(out / LINES, _lines(report).encode())
    write_atomic(out / RESULTS, (_json(report, date) + "\n").encode())
    write_atomic(out / TABLE, _markdown(report, date).encode())


def _lines(report: Report) -> str:
    lines = to_json_lines(report.rows, report.metrics).splitlines()
    return "".join(
        json.dumps({**json.loads(line), **_unit(result)}, ensure_ascii=False) + "\n"
        for line, result in zip(lines, report.results, strict=True)
    )


def _unit(result: UnitResult) -> dict[str, Any]:
    unit = result.unit
    return {"method": unit.method.name, "references": unit.references, "frames": result.frames}


def _json(report: Report, date: str) -> str:
    elsewhere = ("metric_models", "weights", "ablation_weights")
    options = {name: value for name, value in asdict(report.options).items() if name not in elsewhere}
    record = {
        "thgen": __version__,
        "date": date,
        "command": report.command,
        "store": str(report.store),
        "options": options,
        "weights": dict(report.weights),
        "models": dict(report.models),
        "left_out": list(report.left_out),
        "methods": {method.name: method.meaning for method in report.methods},
        "metrics": {metric.name: _about(metric) for metric in report.metrics},
        "means": [json.loads(line) for line in to_json_lines(report.means, report.metrics).splitlines()],
        "clips": [json.loads(line) for line in _lines(report).splitlines()],
        "printed_in_the_paper_on_other_data": [
            asdict(one) for one in paper.printed_for(report.options.drive, bool(report.options.ablations))
        ],
    }
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)


def _about(metric: Metric) -> dict[str, str]:
    fields = ("title", "definition", "source", "inputs", "better")
    return {name: getattr(metric, name) for name in fields}


def _markdown(report: Report, date: str) -> str:
    clips = len({result.unit.clip for result in report.results})
    blocks = [
        f"# {_DRIVEN[report.options.drive]}: {clips} clips of {report.store.name}, split {report.options.split}",
        *_header(report, date, clips),
        f"## Mean over {clips} clips",
        markdown(report.means, report.metrics),
        *_networks(report),
        "\n".join(f"- **{method.name}**: {method.meaning}" for method in report.methods),
        paper.markdown(paper.printed_for(report.options.drive, bool(report.options.ablations))),
        "## Every clip",
        markdown(report.rows, report.metrics),
        "## The metrics",
        "\n".join(f"- **{metric.title}** ({metric.source}): {metric.definition}" for metric in report.metrics),
    ]
    return "\n\n".join(block.strip() for block in blocks) + "\n"


def _header(report: Report, date: str, clips: int) -> list[str]:
    """Return a block of facts about the run (command, data, options, networks), and a block of notes."""
    options = report.options
    frames = {result.unit.clip: result.frames for result in report.results}
    total = sum(frames.values())
    used = {figure.model for result in report.results for figure in result.figures.values() if figure.model}
    facts = {
        "command": f"`{report.command}`" if report.command else "from Python",
        "thgen": f"{__version__}, {date}",
        "data": f"{report.store}, split {options.split}: {clips} clips of {report.subjects} people",
        "drawn": f"{total} frames ({total / FPS:.1f} s), {_extent(options)}",
        "drive": f"{options.drive}; K = {', '.join(map(str, options.references))}; seed {options.seed}",
        "device": f"{options.device}; renderer {options.renderer}; tracker {options.tracker}",
        "weights": ", ".join(f"{name} {digest[:12]}" for name, digest in report.weights.items()),
        "networks of metrics": ", ".join(sorted(used)) or "none",
    }
    notes = [
        f"References are K of each clip's first {PAST} frames; face, voice and manner of moving come from all of them.",
        "Frames are measured as drawn, before any video encoder; the real ones are the store's 256² crops.",
        f"What is drawn and what is real are tracked alike, by the tracker {options.tracker}.",
        "The sound is moved by the clip's av_lag, so that it is in step with the real mouth.",
        *(["Clips with av_lag null: nothing is said of their sound."] if options.drive == "landmarks" else []),
        *(f"Left out: {one}." for one in report.left_out),
    ]
    return ["\n".join(f"- {name}: {text}" for name, text in facts.items()), "\n".join(f"- {note}" for note in notes)]


def _networks(report: Report) -> list[str]:
    """Return a list of the networks that metrics used, each with its metrics; empty where none was used."""
    titles: dict[str, list[str]] = {}
    for metric in report.metrics:
        models = {row.figures[metric.name].model for row in report.means if metric.name in row.figures} - {""}
        for model in sorted(models):
            titles.setdefault(model, []).append(metric.title)
    return ["\n".join(f"- {', '.join(names)}: by {model}" for model, names in titles.items())] if titles else []


def _extent(options: SuiteOptions) -> str:
    if options.seconds is None:
        return f"all that follows frame {PAST}"
    return f"of each clip at most {options.seconds:g} s after frame {PAST}"
