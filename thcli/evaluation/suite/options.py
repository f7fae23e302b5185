"""Options of the suite."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from thcli.errors import UsageError
from thcli.evaluation.metric_models import MetricModels
from thcli.pipeline.models import Models, load_models
from thcli.pipeline.option_checks import MAX_REFERENCES, RENDERERS, check_choice, check_references
from thcli.pipeline.options import DEFAULT_RENDERER

DRIVES = ("audio", "landmarks")
"""Values of ``--drive``: what the motion of the rendered frames follows."""
ABLATIONS = ("3d-aware", "hybrid-attention", "non-linear", "warping", "baseline")
"""Names that ``--ablate`` takes, in the order of Table 3; ``ablation.py`` and ``trained.py`` beside render them."""


@dataclass(frozen=True)
class SuiteOptions:
    """Options of ``thgen evaluate --suite``, with ``_`` for ``-`` in their names.

    drive: ``audio``, as in Table 1, or ``landmarks``, as in Table 2
    references: numbers K of references to render with, each 1 to ``MAX_REFERENCES``
    ablate: some of ``ABLATIONS``, or ``all`` of them, as in Table 3
    ablation_weights: folder of networks that render the ablations; without it the geometric renderer does
    renderer: renderer of the row ``thgen``, a value of ``--renderer``
    rasterizer: rasterizer of the row ``frontal texture``: ``torch`` or ``pytorch3d``
    split: split of the store
    clips: names of clips of the split; all clips where none is named
    seconds: most seconds of a clip to render after frame 64; None renders all of them
    metrics: names of the metrics to compute; all for None
    metric_models: external networks of metrics
    seed: seed of the predicted motion
    device: device on which networks run
    tracker: name of the tracker's backend
    weights: folder searched before the user's and the shipped weights
    """

    drive: str
    references: tuple[int, ...] = (1, 8, 32)
    ablate: tuple[str, ...] = ()
    ablation_weights: Path | None = None
    renderer: str = DEFAULT_RENDERER
    rasterizer: str = "torch"
    split: str = "val"
    clips: tuple[str, ...] = ()
    seconds: float | None = None
    metrics: tuple[str, ...] | None = None
    metric_models: MetricModels = field(default_factory=MetricModels)
    seed: int = 0
    device: str = "auto"
    tracker: str = "builtin"
    weights: Path | None = None

    def __post_init__(self) -> None:
        check_choice("--drive", self.drive, DRIVES)
        if not self.references:
            raise UsageError(f"--references: no number is given, expected some from 1 to {MAX_REFERENCES}")
        for count in self.references:
            check_references(count)
        for name in self.ablate:
            if name not in ("all", *ABLATIONS):
                raise UsageError(f"--ablate {name}: no such part, expected all or some of {','.join(ABLATIONS)}")
        if self.ablation_weights is not None and not self.ablate:
            raise UsageError(f"--ablation-weights {self.ablation_weights}: draws what --ablate names; add --ablate all")
        check_choice("--renderer", self.renderer, RENDERERS)
        if self.seconds is not None and not 1 <= self.seconds < math.inf:
            raise UsageError(f"--seconds {self.seconds:g}: expected 1 or more")

    @property
    def ablations(self) -> tuple[str, ...]:
        """Ablations asked for, in the order of Table 3."""
        return tuple(name for name in ABLATIONS if name in self.ablate or "all" in self.ablate)

    def load_models(self) -> Models:
        """Load the networks that ``thgen generate`` would use with these options."""
        return load_models(self.weights, self.device, tracker=self.tracker)
