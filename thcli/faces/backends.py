"""Loading of tracker backends by the names that ``--tracker`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from thcli.errors import UsageError
from thcli.face_model import FaceModel
from thcli.faces.protocol import Tracker

TRACKERS = ("builtin", "mediapipe", "face-alignment")


def load_tracker(name: str, model: FaceModel, files: Sequence[Path] = (), device: str = "cpu") -> Tracker:
    """Load a tracker backend; packages that only one backend needs are imported here.

    files: verified files of detector and mesh network, for ``builtin``
    device: device on which ``face-alignment`` runs

    Raises UsageError for an unknown name or a missing extra, WeightsError for files of other networks.
    """
    if name == "builtin":
        from thcli.faces.builtin import BuiltinTracker

        detector, mesh = files
        return BuiltinTracker(detector, mesh)
    if name == "mediapipe":
        from thcli.faces.mediapipe import MediaPipeTracker

        return MediaPipeTracker()
    if name == "face-alignment":
        from thcli.faces.face_alignment import FaceAlignmentTracker

        return FaceAlignmentTracker(model, device)
    raise UsageError(f"--tracker {name}: no such tracker, expected one of {', '.join(TRACKERS)}")
