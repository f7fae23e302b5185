"""Results of the suite so far: a JSON of figures and an npz of features to pool, for each clip, row and K.

    DIR/clips/CLIP/ROW-K.KEY.json     figures
    DIR/clips/CLIP/ROW-K.KEY.npz      features [N, D] of the rendered frames, by metric

KEY is the beginning of a hash of everything that a result depends on, so results of other code, options or data are
not taken for these. The JSON is written last, so a result that has one is complete.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from thcli.checkpoints import sha256, user_folder, write_atomic
from thcli.data.store import TRACK, ClipMeta, Store
from thcli.evaluation.compare import Measured
from thcli.evaluation.metric import Figure, Metric
from thcli.evaluation.metric_models import CONTRACTS, MetricModels
from thcli.evaluation.suite.methods import Method
from thcli.evaluation.suite.options import SuiteOptions
from thcli.records import Float
from thcli.version import __version__


@dataclass(frozen=True)
class Unit:
    """One row on one clip.

    references: K; None where it makes no difference
    """

    clip: str
    method: Method
    references: int | None

    @property
    def row(self) -> str:
        """Name of the row in tables."""
        return self.method.name + ("" if self.references is None else f" (K={self.references})")


@dataclass(frozen=True)
class UnitResult:
    """Result of a unit.

    frames: number of frames that were measured
    figures: figures by metric
    features_path: npz file of its features
    """

    unit: Unit
    frames: int
    figures: Mapping[str, Figure]
    features_path: Path

    def features(self) -> dict[str, Float]:
        """Read the features [N, D] of the rendered frames, by metric."""
        with np.load(self.features_path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}


class Folder:
    """Folder of results, DIR.

    common: what all results depend on (``common_ingredients``)
    ingredients: what only the results of one clip depend on (``ingredients_of``), by clip
    """

    def __init__(self, out: Path, common: Mapping[str, Any], ingredients: Mapping[str, Any]):
        self.clips, self.common, self.ingredients = out / "clips", common, ingredients

    def load(self, unit: Unit) -> UnitResult | None:
        """Return the result of an earlier run with the same key; None where there is none that can be read."""
        path = self._path(unit)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            figures = {name: Figure(**figure) for name, figure in record["figures"].items()}
            result = UnitResult(unit, int(record["frames"]), figures, path.with_suffix(".npz"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return result if result.features_path.is_file() else None

    def save(self, unit: Unit, frames: int, measured: Measured) -> UnitResult:
        """Write a result; of the features only the rendered frames' are kept, since the real video is a row itself."""
        path = self._path(unit)
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {name: made for name, (made, _) in measured.features.items()}
        np.savez(buffer, **arrays)
        write_atomic(path.with_suffix(".npz"), buffer.getvalue())
        record = {
            "clip": unit.clip,
            "row": unit.method.name,
            "references": unit.references,
            "frames": frames,
            "figures": {name: asdict(figure) for name, figure in measured.figures.items()},
        }
        write_atomic(path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
        return UnitResult(unit, frames, measured.figures, path.with_suffix(".npz"))

    def _path(self, unit: Unit) -> Path:
        method = unit.method
        made_of = [self.common, self.ingredients[unit.clip], method.name, dict(method.weights), unit.references]
        key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]
        name = "".join(c if c.isalnum() else "-" for c in unit.method.name.lower()).strip("-")
        count = "" if unit.references is None else f"-{unit.references}"
        return self.clips / unit.clip / f"{name}{count}.{key}.json"


def hash_of_code() -> str:
    """Compute the SHA-256 of all of thgen's Python files; during development the version alone says too little."""
    digest = hashlib.sha256()
    for package in ("thcli", "thgen_models"):
        root = Path(str(resources.files(package)))
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def hashes_of_models(models: MetricModels) -> dict[str, str]:
    """Compute the SHA-256 of the networks that metrics find, by role."""
    paths = {role: getattr(models, role) or user_folder() / f"{role}.onnx" for role in CONTRACTS}
    return {role: sha256(path) for role, path in paths.items() if path.is_file()}


def common_ingredients(options: SuiteOptions, metrics: Sequence[Metric]) -> dict[str, Any]:
    """Return what the results of all clips and rows depend on; ``Method.weights`` holds the weights of single rows."""
    return {
        "thgen": [__version__, hash_of_code()],
        "weights": options.load_models().hashes(theta=False),
        "models": hashes_of_models(options.metric_models),
        "metrics": [metric.name for metric in metrics],
        "options": [options.drive, options.seconds, options.seed, options.device, options.tracker, options.rasterizer],
    }


def ingredients_of(store: Store, meta: ClipMeta, other: ClipMeta) -> list[Any]:
    """Return what only the results of one clip depend on: its own files, and the audio that stands for a wrong one."""
    files = [store.crop(meta.clip), store.speech(meta.clip), store.root / meta.clip / TRACK, store.speech(other.clip)]
    return [meta.av_lag, other.clip, other.frames, *map(sha256, files)]
