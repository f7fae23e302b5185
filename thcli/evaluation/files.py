"""Evaluation of two videos, or of two folders of videos: rows of figures for predictions and baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thcli.errors import DeviceError, MediaError, NoFaceError, ThgenError, UsageError, named_bug
from thcli.evaluation.baselines import baselines
from thcli.evaluation.compare import Features, measure_to_pool, pool
from thcli.evaluation.metric import Metric
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair, read_pair, videos_in
from thcli.evaluation.table import Row, mean_rows

PREDICTED = "predicted"
"""Name of the method that is measured; the other methods are the baselines."""
ROWS = 5
"""Rows of a pair: the prediction and four baselines."""


@dataclass(frozen=True)
class Files:
    """Two videos to compare, and the name of the pair."""

    clip: str
    predicted: Path
    reference: Path


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of ``thgen evaluate`` for videos.

    reference_start: time in the references at which the predicted videos begin, seconds
    seconds: length to compare; None compares everything
    tracker: name of the tracker's backend
    metric_models: external networks
    """

    reference_start: float = 0.0
    seconds: float | None = None
    tracker: str = "builtin"
    metric_models: MetricModels = field(default_factory=MetricModels)


@dataclass(frozen=True)
class PairOutcome:
    """Result of a pair: rows, and each method's features for pooled metrics, or the error that prevented them."""

    files: Files
    rows: tuple[Row, ...] = ()
    features: Mapping[str, Mapping[str, Features]] = field(default_factory=dict)
    error: str = ""


def find_pairs(predicted: Path, reference: Path) -> tuple[list[Files], str]:
    """Return the pairs of two files or folders, and a note on videos without a partner.

    In folders, videos of equal names without suffix are partners.

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
) -> Iterator[PairOutcome]:
    """Measure pairs one after the other; the work happens while the outcomes are consumed.

    on_row: called when a row is done, ``ROWS`` times per pair
    keep_going: whether a pair that cannot be measured gives an outcome with an error, and the other pairs go on;
        errors that concern all pairs (weights, the disk) are raised in any case
    """
    for files in pairs:
        try:
            outcome = measure_files(files, metrics, options, on_row)
        except Exception as error:
            reason = _wrong_with_pair(error) if keep_going else None
            if reason is None:
                raise
            # Only the message is kept: an exception would keep the frames of the pair in memory.
            outcome = PairOutcome(files, error=reason)
        yield outcome


def _wrong_with_pair(error: Exception) -> str | None:
    """Return what is wrong with a pair; None for an error that concerns all pairs."""
    if isinstance(error, (MediaError, NoFaceError, DeviceError)):
        return str(error)
    if isinstance(error, (ThgenError, OSError)):
        return None
    return f"a bug in thgen ({named_bug(error)})"


def measure_files(
    files: Files, metrics: Sequence[Metric], options: EvaluateOptions, on_row: Callable[[], None]
) -> PairOutcome:
    """Measure a pair and its baselines. Raises the errors of ``read_pair`` and of the metrics."""
    pair = read_pair(files.predicted, files.reference, options.reference_start, options.seconds, options.tracker)
    rows: list[Row] = []
    features: dict[str, Mapping[str, Features]] = {}
    for method, compared in _methods(pair):
        measured = measure_to_pool(compared, metrics, options.metric_models)
        rows.append(Row(method, files.clip, measured.figures, pair.notes))
        features[method] = measured.features
        on_row()
    return PairOutcome(files, tuple(rows), features)


def _methods(pair: Pair) -> Iterator[tuple[str, Pair]]:
    yield PREDICTED, pair
    yield from baselines(pair)


def summary(outcomes: Sequence[PairOutcome], metrics: Sequence[Metric]) -> list[Row]:
    """Return one row per method over all pairs that could be measured."""
    rows = [row for outcome in outcomes for row in outcome.rows]
    features: dict[str, list[Mapping[str, Features]]] = {}
    for outcome in outcomes:
        for method, own in outcome.features.items():
            features.setdefault(method, []).append(own)
    return mean_rows(rows, metrics, pool(features, metrics))
