"""Fixtures that tests of several commands share: a clip without a face, and a tracker that finds one everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thcli.face_model import FaceModel
from thcli.faces.protocol import Detection
from thcli.faces.track import face_boxes
from thcli.pipeline.models import Models


@pytest.fixture
def faceless_clip(media: Callable[..., Path]) -> Path:
    """Make two seconds of a test image with a tone."""
    image, tone = "testsrc=size=160x120:rate=25:duration=2", "sine=frequency=200:duration=2"
    return media("bars.mp4", "-f", "lavfi", "-i", image, "-f", "lavfi", "-i", tone, "-pix_fmt", "yuv420p")


class NoddingTracker:
    """A tracker that finds the same face in every frame, a little higher or lower each time."""

    name = "nodding 1"

    def __init__(self, model: FaceModel) -> None:
        self.model, self.calls = model, 0

    def detect(self, frame: np.ndarray) -> list[Detection]:
        return [Detection(face_boxes(self._mesh(frame)), 0.9)]

    def mesh(self, frame: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, float]:
        self.calls += 1
        return self._mesh(frame), 0.9

    def _mesh(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        middle = np.array([width / 2, height / 2 + np.sin(self.calls / 9), 0], np.float32)
        return (self.model.canonical * np.float32(0.22 * height) + middle).astype(np.float32)


@pytest.fixture
def nodding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every tracker one that finds a face everywhere, so that a command's own work is tested."""
    monkeypatch.setattr(Models, "tracker", property(lambda models: NoddingTracker(models.face_model)))
