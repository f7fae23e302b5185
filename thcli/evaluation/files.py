"""From two videos, or two folders of them, to rows of figures: the predicted video's and the baselines'."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thcli.errors import DeviceError, MediaError, NoFaceError, ThgenError, UsageError
from thcli.evaluation.baselines import baselines
from thcli.evaluation.compare import Features, measure_to_pool, pool
from thcli.evaluation.metric import Metric
from thcli.evaluation.metric_models import Models
from thcli.evaluation.recording import Pair, read_pair, videos_in
from thcli.evaluation.table import Row, mean_rows

PREDICTED = "predicted"
"""The method that is measured; the others are the baselines."""
ROWS = 5
"""Rows that a pair comes to."""


@dataclass(frozen=True)
class Files:
    """Two videos to compare, and what the pair is called."""

    clip: str
    predicted: Path
    reference: Path


@dataclass(frozen=True)
class EvaluateOptions:
    """reference_start: seconds into the references at which the predicted videos begin
    seconds: how much to compare; all where None
    tracker: name of the backend
    models: external networks
    """

    reference_start: float = 0.0
    seconds: float | None = None
    tracker: str = "builtin"
    models: Models = field(default_factory=Models)


@dataclass(frozen=True)
class Outcome:
    """What became of a pair: rows, and each method's features for pooled metrics; or why not."""

    files: Files
    rows: tuple[Row, ...] = ()
    features: Mapping[str, Mapping[str, Features]] = field(default_factory=dict)
    error: str = ""


def find_pairs(predicted: Path, reference: Path) -> tuple[list[Files], str]:
    """The pair, or of two folders all videos that share a name up to its suffix; and a note on those that do not.

    Raises UsageError for a folder and a file, and for two videos of one name; MediaError where nothing is paired.
    """
    if not predicted.is_dir() and not reference.is_dir():
        return [Files(predicted.stem, predicted, reference)], ""
    for path, other in ((predicted, reference), (reference, predicted)):
        if not path.is_dir():
            what = "a file" if path.exists() else "not there"
            raise UsageError(f"{other} is a folder and {path} is {what}; name two videos or two folders")
    made, true = _by_name(predicted), _by_name(reference)
    pairs = [Files(name, made[name], true[name]) for name in made if name in true]
    if not pairs:
        raise MediaError(
            f"{predicted} and {reference}: no video of one has the name of a video of the other; "
            "expected pairs such as a.mp4 and a.mp4"
        )
    alone = [str(side[name]) for side in (made, true) for name in side if (name in made) != (name in true)]
    return pairs, f"no partner of that name, left out: {', '.join(alone)}" if alone else ""


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in videos_in(folder):
        twin = found.setdefault(path.stem, path)
        if twin != path:
            raise UsageError(f"{twin} and {path} are both called '{path.stem}'; rename or remove one of them")
    return found


def evaluate(
    pairs: Iterable[Files],
    metrics: Sequence[Metric],
    options: EvaluateOptions,
    on_row: Callable[[], None] = lambda: None,
    keep_going: bool = False,
) -> Iterator[Outcome]:
    """Measure pairs one after the other; the work happens while the outcomes are consumed.

    on_row: is called when a row is done, ``ROWS`` times a pair
    keep_going: a pair that cannot be measured is an outcome with an error, and stops no other; what is wrong for all
        pairs (weights, the disk) is raised all the same
    """
    for files in pairs:
        try:
            outcome = measure_files(files, metrics, options, on_row)
        except Exception as error:
            reason = _wrong_with_pair(error) if keep_going else None
            if reason is None:
                raise
            # the words alone: an exception keeps the frames of the pair in memory
            outcome = Outcome(files, error=reason)
        yield outcome


def _wrong_with_pair(error: Exception) -> str | None:
    if isinstance(error, (MediaError, NoFaceError, DeviceError)):
        return str(error)
    if isinstance(error, (ThgenError, OSError)):
        return None
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"a bug in thgen ({type(error).__name__}: {error}; {Path(place.filename).name} line {place.lineno})"


def measure_files(
    files: Files, metrics: Sequence[Metric], options: EvaluateOptions, on_row: Callable[[], None]
) -> Outcome:
    """Measure a pair; raises what ``read_pair`` and the metrics raise."""
    pair = read_pair(files.predicted, files.reference, options.reference_start, options.seconds, options.tracker)
    rows: list[Row] = []
    features: dict[str, Mapping[str, Features]] = {}
    for method, compared in _methods(pair):
        measured = measure_to_pool(compared, metrics, options.models)
        rows.append(Row(method, files.clip, measured.figures, pair.notes))
        features[method] = measured.features
        on_row()
    return Outcome(files, tuple(rows), features)


def _methods(pair: Pair) -> Iterator[tuple[str, Pair]]:
    yield PREDICTED, pair
    yield from baselines(pair)


def summary(outcomes: Sequence[Outcome], metrics: Sequence[Metric]) -> list[Row]:
    """One row a method over all pairs that could be measured."""
    rows = [row for outcome in outcomes for row in outcome.rows]
    features: dict[str, list[Mapping[str, Features]]] = {}
    for outcome in outcomes:
        for method, own in outcome.features.items():
            features.setdefault(method, []).append(own)
    return mean_rows(rows, metrics, pool(features, metrics))
