"""The tracker that comes with thgen: the unprojection network of §4.1 through ONNX Runtime.

It finds faces coarse to fine by its own confidence: it looks at overlapping windows of falling size, then again at
what it took for a face, closer each time. From then on the last mesh says where to look.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thcli.checkpoints import find_weights
from thcli.errors import WeightsError
from thcli.faces.crop import CropBox, FaceCrop, crop_frame
from thcli.faces.protocol import Detection
from thcli.faces.track import MIN_CONFIDENCE, face_boxes
from thcli.records import Float, Image

WEIGHTS = "unprojection.onnx"
VERSION = "1"
FACE_CROP_MARGIN = 1.5
"""Side of the crop that the network sees, over the longer side of the face."""
WINDOW_SIDES = (1.4, 1.0, 0.72, 0.52, 0.37, 0.27, 0.19)
"""Of the windows of the search, over the shorter side of the frame: the smallest face is an eighth of it."""
WINDOW_STEP = 0.3
"""Between windows, over their side; the network is trained on crops that are off by up to 0.15."""
CANDIDATE = 0.2
"""Least confidence in a window for a second look."""
MAX_CANDIDATES = 16
SMALLER = 3.0
"""Once a face is found, faces smaller than it by more than this factor are not searched."""
BATCH = 16


class BuiltinTracker:
    """Raises WeightsError where the network is missing, damaged or another's."""

    def __init__(self, weights: Path | None = None, threads: int | None = None) -> None:
        import onnxruntime

        path = find_weights(WEIGHTS, weights)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or min(os.cpu_count() or 1, 4)
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            self._size = int(self._session.get_inputs()[0].shape[-1])
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            reason = str(error).splitlines()[0]
            raise WeightsError(f"{path}: not an unprojection network ({reason}); get the file again") from error
        self.name = f"builtin {VERSION}"

    def mesh(self, frame: Image, prior: Float) -> tuple[Float, float]:
        """See ``Tracker.mesh``."""
        around = FaceCrop.around_box if prior.ndim == 1 else FaceCrop.around_mesh
        crop = around(prior, self._size, FACE_CROP_MARGIN)
        meshes, confidence = self._run(crop.extract(frame).numpy()[None])
        return crop.to_frame(meshes[0] * np.float32(self._size)), float(confidence[0])

    def detect(self, frame: Image) -> list[Detection]:
        """See ``Tracker.detect``."""
        found: list[Detection] = []
        shorter = min(frame.shape[:2])
        for side in WINDOW_SIDES:
            largest = max((_side(d.box) for d in found), default=0.0) * FACE_CROP_MARGIN
            if side * shorter < largest / SMALLER:
                break
            for box in self._search(frame, side * shorter):
                self._add(found, self._settle(frame, box))
        return found

    def _search(self, frame: Image, side: float) -> list[Float]:
        """Boxes of what may be faces in windows of one size, the likeliest first."""
        windows = _windows(frame, side)
        crops = np.stack([crop_frame(frame, window, self._size) for window in windows])
        images = crops.transpose(0, 3, 1, 2).astype(np.float32) / 255
        parts = [self._run(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        meshes = np.concatenate([part[0] for part in parts]) * np.float32(self._size)
        confidence = np.concatenate([part[1] for part in parts])
        likely = [int(i) for i in np.argsort(-confidence)[:MAX_CANDIDATES] if confidence[i] > CANDIDATE]
        return [face_boxes(windows[i].to_frame(meshes[i], self._size)) for i in likely]

    def _settle(self, frame: Image, box: Float) -> Detection | None:
        """A second and a third look, each from where the one before saw the face."""
        mesh, confidence = self.mesh(frame, box)
        if confidence < CANDIDATE:
            return None
        mesh, confidence = self.mesh(frame, mesh)
        return Detection(face_boxes(mesh), confidence) if confidence >= MIN_CONFIDENCE else None

    @staticmethod
    def _add(found: list[Detection], new: Detection | None) -> None:
        """Add a detection, unless it is a face already found, of which the surer one stays."""
        if new is None:
            return
        same = [d for d in found if _same(d.box, new.box)]
        if all(d.score < new.score for d in same):
            found[:] = [d for d in found if not any(d is other for other in same)] + [new]

    def _run(self, images: NDArray[np.float32]) -> tuple[Float, Float]:
        """[B, 3, S, S] in 0..1 to meshes [B, V, 3] in units of the crop and confidence [B]."""
        mesh, confidence = self._session.run(None, {"crop": images})
        return mesh, confidence


def _windows(frame: Image, side: float) -> list[CropBox]:
    """Overlapping squares that cover the frame; large ones reach beyond it."""
    height, width = frame.shape[:2]
    corners = []
    for length in (width, height):
        count = max(1, int(np.ceil((length - side) / (WINDOW_STEP * side))) + 1)
        ends = (0.0, length - side) if count > 1 else ((length - side) / 2,) * 2
        corners.append(np.linspace(*ends, count))
    return [CropBox(round(x), round(y), round(side)) for y in corners[1] for x in corners[0]]


def _side(box: Float) -> float:
    return float((box[2:] - box[:2]).max())


def _same(box: Float, other: Float) -> bool:
    """Whether the centre of one lies within the other's inner half."""
    distance = np.abs((box[:2] + box[2:]) - (other[:2] + other[2:])) / 2
    return bool((distance < max(_side(box), _side(other)) / 3).all())
