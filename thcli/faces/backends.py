"""The tracker backends by the names that ``--tracker`` takes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from thcli.checkpoints import find_weights
from thcli.errors import UsageError
from thcli.face_model import FaceModel
from thcli.faces.protocol import Tracker

TRACKERS = ("builtin", "mediapipe", "face-alignment")


@lru_cache(maxsize=4)
def load_face_model(weights: Path | None = None) -> FaceModel:
    """The face model of a folder of weights, else the shipped one; read once a process."""
    return FaceModel.load(find_weights("face_model.safetensors", weights))


@lru_cache(maxsize=2)
def cached_tracker(name: str, weights: Path | None = None) -> Tracker:
    """A tracker, loaded once a process however many clips it tracks."""
    return load_tracker(name, load_face_model(weights), weights)


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
