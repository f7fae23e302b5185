"""Tracker of MediaPipe's face mesh (extra ``mediapipe``): 468 skin points and 10 iris points.

MediaPipe's legacy solution is used, because its wheel contains the weights and nothing is downloaded. It gives no
confidence of a mesh, so the confidence is 1 where a face is found, else 0. Its z points away from the camera and is
negated here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thcli.errors import UsageError
from thcli.faces.crop import FaceCrop
from thcli.faces.protocol import Detection
from thcli.faces.track import face_boxes
from thcli.records import N_VERTICES, Float, Image

MAX_FACES = 8
"""Most faces that are detected in a frame."""
WINDOW_SIZE = 384
"""Side in px to which the window around the face is resized for MediaPipe."""
WINDOW_SCALE = 2.0
"""Side of the window over the longer side of the face."""
WINDOW_SLACK = 0.12
"""Movement of the face's centre up to which the window stays in place, over the window's side."""


class MediaPipeTracker:
    """MediaPipe's tracking within a window around the face, so that it cannot move on to another face in the frame."""

    def __init__(self) -> None:
        try:
            import mediapipe
        except ImportError as error:
            raise UsageError(
                "the tracker mediapipe needs the package mediapipe, which is not installed; "
                "pip install 'thgen[mediapipe]', or use --tracker builtin"
            ) from error
        if not hasattr(mediapipe, "solutions"):
            raise UsageError(
                f"mediapipe {mediapipe.__version__} has no face mesh with its own weights; "
                "pip install 'mediapipe==0.10.21', or use --tracker builtin"
            )
        self.name = f"mediapipe {mediapipe.__version__}"
        self._make = mediapipe.solutions.face_mesh.FaceMesh
        self._finder: Any = None
        self._mesher: Any = None
        self._window: FaceCrop | None = None

    def detect(self, frame: Image) -> list[Detection]:
        """See ``Tracker.detect``. Faces are found by the face mesh in its mode for single photos."""
        if self._finder is None:
            self._finder = self._make(static_image_mode=True, max_num_faces=MAX_FACES, refine_landmarks=True)
        meshes = _meshes(self._finder, frame)
        return [Detection(face_boxes(mesh), 1.0) for mesh in meshes]

    def mesh(self, frame: Image, prior: Float) -> tuple[Float, float]:
        """See ``Tracker.mesh``. A box as prior resets MediaPipe's memory of earlier frames."""
        window = self._moved_window(prior)
        if self._mesher is None:
            self._mesher = self._make(static_image_mode=False, max_num_faces=1, refine_landmarks=True)
        elif window != self._window or prior.ndim == 1:
            self._mesher.reset()
        self._window = window
        crop = (window.extract(frame).transpose(1, 2, 0) * 255).round().astype(np.uint8)
        meshes = _meshes(self._mesher, crop)
        if not meshes:
            return np.zeros((N_VERTICES, 3), np.float32), 0.0
        return window.to_frame(meshes[0]), 1.0

    def _moved_window(self, prior: Float) -> FaceCrop:
        """Return the window around the prior: the last window while the face has hardly moved in it, else a new one."""
        box = face_boxes(prior) if prior.ndim == 2 else prior
        window, last = FaceCrop.around_box(box, WINDOW_SIZE, WINDOW_SCALE), self._window
        if last is None or prior.ndim == 1:
            return window
        moved = max(abs(window.x - last.x), abs(window.y - last.y)) > WINDOW_SLACK * last.side
        return window if moved or not 0.8 < window.side / last.side < 1.25 else last


def _meshes(solution: Any, image: Image) -> list[Float]:
    """Return the meshes [478, 3] px that a face mesh solution finds in an image [H, W, 3] uint8."""
    height, width = image.shape[:2]
    found = solution.process(np.ascontiguousarray(image)).multi_face_landmarks or []
    scale = np.array([width, height, -width], np.float32)
    return [np.array([(p.x, p.y, p.z) for p in face.landmark], np.float32) * scale for face in found]
