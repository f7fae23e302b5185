"""What the suite can be told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from thcli.errors import UsageError
from thcli.evaluation.metric_models import Models
from thcli.pipeline.options import DEFAULT_RENDERER, MAX_REFERENCES, RENDERERS, GenerateOptions

DRIVES = ("audio", "landmarks")
ABLATIONS = ("3d-aware", "hybrid-attention", "non-linear", "warping", "baseline")
"""Names that ``--ablate`` takes, in the order of Table 3; drawn in ``ablation.py`` and ``trained.py`` beside this."""


@dataclass(frozen=True)
class SuiteOptions:
    """The options of ``thgen evaluate --suite``; ``-`` in them is ``_`` here.

    drive: ``audio``, as in Table 1, or ``landmarks``, as in Table 2
    references: every K to draw with, 1 to 32
    ablate: some of ``ABLATIONS``, or ``all`` of them, as in Table 3
    ablation_weights: folder of networks that draw them; without it they are the geometric picture without its parts
    renderer: of the row ``thgen``, as of ``thgen generate``
    split, clips: of the store; all clips of the split where none is named
    seconds: how much after frame 64 is drawn at most; all of it for None
    metrics: names of those to compute; all for None
    """

    drive: str
    references: tuple[int, ...] = (1, 8, 32)
    ablate: tuple[str, ...] = ()
    ablation_weights: Path | None = None
    renderer: str = DEFAULT_RENDERER
    split: str = "val"
    clips: tuple[str, ...] = ()
    seconds: float | None = None
    metrics: tuple[str, ...] | None = None
    models: Models = field(default_factory=Models)
    seed: int = 0
    device: str = "auto"
    tracker: str = "builtin"
    weights: Path | None = None

    def __post_init__(self) -> None:
        if self.drive not in DRIVES:
            raise UsageError(f"--drive {self.drive}: expected {' or '.join(DRIVES)}")
        if not self.references:
            raise UsageError(f"--references: no number is given, expected some from 1 to {MAX_REFERENCES}")
        for count in self.references:
            if not 1 <= count <= MAX_REFERENCES:
                raise UsageError(f"--references {count}: expected 1 to {MAX_REFERENCES}")
        for name in self.ablate:
            if name not in ("all", *ABLATIONS):
                raise UsageError(f"--ablate {name}: no such part, expected all or some of {','.join(ABLATIONS)}")
        if self.ablation_weights is not None and not self.ablate:
            raise UsageError(f"--ablation-weights {self.ablation_weights}: draws what --ablate names; add --ablate all")
        if self.renderer not in RENDERERS:
            raise UsageError(f"--renderer {self.renderer}: expected {' or '.join(RENDERERS)}")
        if self.seconds is not None and not 1 <= self.seconds < math.inf:
            raise UsageError(f"--seconds {self.seconds:g}: expected 1 or more")

    @property
    def ablations(self) -> tuple[str, ...]:
        """Those asked for, in the order of Table 3."""
        return tuple(name for name in ABLATIONS if name in self.ablate or "all" in self.ablate)

    def generating(self, references: int = 1) -> GenerateOptions:
        """The same as options of ``thgen generate`` with K references."""
        return GenerateOptions(
            references=references,
            renderer=self.renderer,
            seed=self.seed,
            device=self.device,
            tracker=self.tracker,
            weights=self.weights,
        )
