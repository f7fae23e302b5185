"""The tracker backends by the names that ``--tracker`` takes."""

from __future__ import annotations

from pathlib import Path

from thcli.errors import UsageError
from thcli.face_model import FaceModel
from thcli.faces.protocol import Tracker

TRACKERS = ("builtin", "mediapipe", "face-alignment")


def load_tracker(name: str, model: FaceModel, weights: Path | None = None, device: str = "cpu") -> Tracker:
    """A backend, ready to track; what only it needs is imported here.

    weights: folder in which ``builtin`` looks for its weights first; device: where ``face-alignment`` runs
    Raises UsageError for an unknown name or a missing extra, WeightsError.
    """
    if name == "builtin":
        from thcli.faces.builtin import BuiltinTracker

        return BuiltinTracker(weights)
    if name == "mediapipe":
        from thcli.faces.mediapipe import MediaPipeTracker

        return MediaPipeTracker()
    if name == "face-alignment":
        from thcli.faces.face_alignment import FaceAlignmentTracker

        return FaceAlignmentTracker(model, device)
    raise UsageError(f"--tracker {name}: no such tracker, expected one of {', '.join(TRACKERS)}")
