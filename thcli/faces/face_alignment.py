"""Tracker of the package face-alignment, FAN (extra ``face-alignment``): 68 3D landmarks, completed to the mesh.

The package's weights are not part of thgen, which never downloads them: they must be in torch's cache already. One of
them (depth) is a pickle, which the package itself loads; use files that you trust.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thcli.errors import UsageError, WeightsError
from thcli.face_model import LANDMARKS_68, RIGID_27, FaceModel
from thcli.faces.pose import RIGID_WEIGHTS, fit_rigid
from thcli.faces.protocol import Detection
from thcli.faces.track import face_boxes
from thcli.records import N_EXPRESSION, Float, Image
from thcli.rotations import apply_pose, remove_pose

Array = NDArray[np.floating]

BOX_TOP = 0.2
"""Height by which the mesh rises above a box of FAN's detector, which ends at the eyebrows, over the box's height."""
RIDGE = 0.02
"""Weight of a coefficient of one standard deviation relative to landmark errors in canonical face units."""
ROUNDS = 4
"""Alternations between the fit of pose and scale and the fit of the coefficients."""
IDENTITY_SMOOTHING = 1e-3
"""Smoothing of the spline that spreads the landmarks' remaining offsets over the mesh."""
NOSE_TIP, JAW_ENDS = 30, (0, 16)
"""Landmarks that tell the sign of z: the tip of the nose; both ends of the jaw line."""


def fit_mesh(landmarks: Float, model: FaceModel) -> Float:
    """Return the mesh [478, 3] px that best explains landmarks [68, 3] px.

    Pose and scale, and the coefficients of expression and blink, are fitted alternately by least squares. Then the
    landmarks' remaining offsets, which are the person's own shape, are spread over the mesh by thin-plate splines.
    """
    vertices, rigid = list(LANDMARKS_68), list(RIGID_27)
    design = np.concatenate([model.basis, model.blink[None]])[:, vertices].reshape(N_EXPRESSION + 1, -1).T
    ridge = RIDGE * np.eye(N_EXPRESSION + 1)
    solve = np.linalg.solve(design.T @ design + ridge.T @ ridge, design.T)
    points = landmarks.astype(np.float64)
    face: Array = model.canonical.astype(np.float64)
    for _ in range(ROUNDS):
        pose, scale = fit_rigid(points[None, rigid], (0, 0), face[vertices][rigid], RIGID_WEIGHTS)
        unposed = remove_pose(points[None] * scale, pose)[0]
        coefficients = (solve @ (unposed - model.canonical[vertices]).ravel()).astype(np.float32)
        face = model.canonical + model.displacement(coefficients[:-1], np.clip(coefficients[-1], 0, 1))
    face = face + _spread(unposed - face[vertices], model.canonical[vertices], model.canonical)
    return np.asarray((apply_pose(face[None], pose)[0] / scale).astype(np.float32))


def _spread(offsets: Array, at: Array, to: Array) -> Array:
    """Interpolate offsets [L, 3] at points [L, 3] to other points [V, 3]."""
    from scipy.interpolate import RBFInterpolator

    spline = RBFInterpolator(at, offsets, kernel="thin_plate_spline", smoothing=IDENTITY_SMOOTHING)
    return np.asarray(spline(to))


class FaceAlignmentTracker:
    """FAN's 3D landmarks, predicted for every frame by itself."""

    def __init__(self, model: FaceModel, device: str = "cpu") -> None:
        try:
            import face_alignment
            from face_alignment import api
            from face_alignment.detection.sfd import sfd_detector
        except ImportError as error:
            raise UsageError(
                "the tracker face-alignment needs the package face-alignment, which is not installed; "
                "pip install 'thgen[face-alignment]', or use --tracker builtin"
            ) from error
        urls = [api.models_urls["3DFAN-4"], api.models_urls["depth"], sfd_detector.models_urls["s3fd"]]
        _require_cached([Path(url).name for url in urls])
        self.name = f"face-alignment {face_alignment.__version__}"
        self._model = model
        self._net: Any = face_alignment.FaceAlignment(face_alignment.LandmarksType.THREE_D, device=device)

    def detect(self, frame: Image) -> list[Detection]:
        """See ``Tracker.detect``. The detector is S3FD, whose boxes are extended to the forehead."""
        found = self._net.face_detector.detect_from_image(frame.copy())
        return [Detection(_stretched(np.asarray(box[:4], np.float32)), float(box[4])) for box in found]

    def mesh(self, frame: Image, prior: Float) -> tuple[Float, float]:
        """See ``Tracker.mesh``. The confidence is the mean score of the landmarks."""
        box = _shrunk(face_boxes(prior) if prior.ndim == 2 else prior)
        landmarks, scores, _ = self._net.get_landmarks_from_image(
            frame, detected_faces=[np.append(box, 1)], return_landmark_score=True
        )
        points = np.asarray(landmarks[0], np.float32)
        if points[NOSE_TIP, 2] < points[list(JAW_ENDS), 2].mean():
            points = points * np.array([1, 1, -1], np.float32)
        return fit_mesh(points, self._model), float(np.clip(np.mean(scores[0]), 0, 1))


def _stretched(box: Float) -> Float:
    """Extend a box of the detector to the box of the mesh."""
    x0, y0, x1, y1 = box
    return np.array([x0, y0 - BOX_TOP * (y1 - y0), x1, y1], np.float32)


def _shrunk(box: Float) -> Float:
    """Reduce a box of the mesh to the box of the detector: the inverse of ``_stretched``."""
    x0, y0, x1, y1 = box
    return np.array([x0, y0 + BOX_TOP / (1 + BOX_TOP) * (y1 - y0), x1, y1], np.float32)


def _require_cached(names: list[str]) -> None:
    """Raise WeightsError unless torch's cache holds the files, so that the package downloads nothing."""
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise WeightsError(
            f"{folder}: no {', '.join(missing)}, which the tracker face-alignment needs; "
            "put the files of its authors there (thgen does not fetch them), or use --tracker builtin"
        )
