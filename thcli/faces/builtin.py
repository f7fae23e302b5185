"""The tracker that comes with thgen, through ONNX Runtime: a small detector that says where faces may be, and the
unprojection network of §4.1, which says what they look like in three dimensions, and whether they are faces at all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from thcli.checkpoints import find_weights
from thcli.errors import WeightsError
from thcli.faces.crop import FaceCrop
from thcli.faces.protocol import Detection
from thcli.faces.track import MIN_CONFIDENCE, face_boxes
from thcli.onnx_files import open_network
from thcli.records import Float, Image

if TYPE_CHECKING:
    import onnxruntime

DETECTOR, MESH = "detection.onnx", "unprojection.onnx"
NETWORKS = {DETECTOR: (["frame"], ["face", "centre", "side"]), MESH: (["crop"], ["mesh", "confidence"])}
"""Inputs and outputs of each."""
VERSION = "1"
FACE_CROP_MARGIN = 1.5
"""Side of the crop that the mesh network sees, over the longer side of the face."""
LETTERBOX = 0.5
"""Grey of the bars beside what is not square, as in the detector's training."""
LARGE_FRAME = 900
"""Pixels of the longer side above which a face worth tracking may be too small for a look at the whole frame."""
TILE, TILE_STEP = 0.5, 0.55
"""Side of the tiles of a closer look over the frame's longer side; the step between them over theirs, at most."""
CANDIDATE, FURTHER = 0.3, 0.44
"""Least score of a face, and of further ones once there is a surer one; before the mesh network's look, and after."""
MAX_CANDIDATES = 12
AGREEMENT = (0.3, 0.6)
"""Of detector and mesh: distance of the centres and log ratio of the sides, in sides of the box, at most."""


class BuiltinTracker:
    """Raises WeightsError where a network is missing, damaged or another's."""

    def __init__(self, weights: Path | None = None, threads: int | None = None) -> None:
        self._detector, self._detector_size = _session(DETECTOR, weights, threads)
        self._mesh, self._size = _session(MESH, weights, threads)
        self.name = f"builtin {VERSION}"

    def mesh(self, frame: Image, prior: Float) -> tuple[Float, float]:
        """See ``Tracker.mesh``."""
        around = FaceCrop.around_box if prior.ndim == 1 else FaceCrop.around_mesh
        crop = around(prior, self._size, FACE_CROP_MARGIN)
        meshes, confidence = self._mesh.run(None, {"crop": crop.extract(frame).numpy()[None]})
        return crop.to_frame(meshes[0] * np.float32(self._size)), float(confidence[0])

    def detect(self, frame: Image) -> list[Detection]:
        """See ``Tracker.detect``. Large frames, and those where nothing is found, are looked at more closely."""
        height, width = frame.shape[:2]
        candidates = self._candidates(frame, [_Part(0, 0, width, height)])
        found = self._confirmed(frame, candidates)
        if not found or max(width, height) > LARGE_FRAME:
            # what the first look has refused, a closer one may still find
            closer = self._candidates(frame, _tiles(width, height))
            known = [Detection(d.box, 2 + d.score) for d in found]
            new = [d for d in _distinct([*known, *closer]) if d.score < 2]
            found = _distinct([*found, *self._confirmed(frame, new)])
        return [d for d in found if d.score >= FURTHER] or found[:1]

    def _candidates(self, frame: Image, parts: list[_Part]) -> list[Detection]:
        """Squares where the detector sees faces in parts of the frame, the surest first, each face once."""
        images = np.stack([part.letterboxed(frame, self._detector_size) for part in parts])
        scores, centres, sides = self._detector.run(None, {"frame": images})
        found = []
        for part, score, centre, side in zip(parts, scores, centres, sides, strict=True):
            for y, x in np.argwhere(_peaks(score) & (score >= CANDIDATE)):
                box = np.concatenate([centre[:, y, x] - side[y, x] / 2, centre[:, y, x] + side[y, x] / 2])
                found.append(Detection(part.to_frame(box), float(score[y, x])))
        return _distinct(found)[:MAX_CANDIDATES]

    def _confirmed(self, frame: Image, candidates: list[Detection]) -> list[Detection]:
        """Those in which the mesh network sees a face too, in the same place, with the boxes of its meshes."""
        found = []
        for candidate in candidates:
            mesh, confidence = self.mesh(frame, candidate.box)
            if confidence >= MIN_CONFIDENCE:
                mesh, confidence = self.mesh(frame, mesh)
            box = face_boxes(mesh)
            score = confidence * candidate.score
            if confidence >= MIN_CONFIDENCE and score >= CANDIDATE and _agree(box, candidate.box):
                found.append(Detection(box, score))
        return _distinct(found)


@dataclass(frozen=True)
class _Part:
    """A rectangle of a frame in pixels."""

    x0: int
    y0: int
    width: int
    height: int

    def letterboxed(self, frame: Image, size: int) -> NDArray[np.float32]:
        """The part [3, size, size] in 0..1, reduced until it fits, with bars beside it."""
        import torch
        from torch.nn.functional import interpolate

        scale = size / max(self.width, self.height)
        width, height = max(round(self.width * scale), 1), max(round(self.height * scale), 1)
        cut = frame[self.y0 : self.y0 + self.height, self.x0 : self.x0 + self.width]
        image = torch.from_numpy(np.ascontiguousarray(cut)).permute(2, 0, 1)[None]
        resized = interpolate(image, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
        boxed = np.full((3, size, size), LETTERBOX, np.float32)
        x, y = (size - width) // 2, (size - height) // 2
        boxed[:, y : y + height, x : x + width] = resized[0].numpy().astype(np.float32) / 255
        return boxed

    def to_frame(self, box: Float) -> Float:
        """A box x0, y0, x1, y1 in units of the letterboxed square in pixels of the frame."""
        longer = max(self.width, self.height)
        corner = np.array([self.x0 - (longer - self.width) / 2, self.y0 - (longer - self.height) / 2])
        return (box * longer + np.tile(corner, 2)).astype(np.float32)


def _tiles(width: int, height: int) -> list[_Part]:
    """Overlapping squares, or strips of a long frame, that cover it."""
    side = max(round(TILE * max(width, height)), 1)
    starts = []
    for length in (width, height):
        count = max(1, int(np.ceil((length - side) / (TILE_STEP * side))) + 1)
        starts.append(np.linspace(0, max(length - side, 0), count).round().astype(int))
    return [_Part(int(x), int(y), min(side, width), min(side, height)) for y in starts[1] for x in starts[0]]


def _peaks(score: Float) -> NDArray[np.bool_]:
    """Which cells of [G, G] are the highest of their neighbourhood of 3 x 3."""
    padded = np.pad(score, 1, constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return np.asarray(score == windows.max(axis=(-1, -2)))


def _distinct(found: list[Detection]) -> list[Detection]:
    """The surest first, without those that are a face already there."""
    kept: list[Detection] = []
    for new in sorted(found, key=lambda d: -d.score):
        if not any(_same(new.box, other.box) for other in kept):
            kept.append(new)
    return kept


def _same(box: Float, other: Float) -> bool:
    """Whether the centre of the smaller one lies well inside the other."""
    distance = np.abs((box[:2] + box[2:]) - (other[:2] + other[2:])) / 2
    return bool((distance < max(_side(box), _side(other)) * 0.4).all())


def _agree(box: Float, candidate: Float) -> bool:
    """Whether the mesh is that of the face that the detector saw."""
    side = _side(candidate)
    distance = float(np.linalg.norm((box[:2] + box[2:]) - (candidate[:2] + candidate[2:]))) / 2
    return distance < AGREEMENT[0] * side and abs(float(np.log(_side(box) / side))) < AGREEMENT[1]


def _side(box: Float) -> float:
    return max(float((box[2:] - box[:2]).max()), 1e-6)


def _session(name: str, weights: Path | None, threads: int | None) -> tuple[onnxruntime.InferenceSession, int]:
    """A network and the side of its square input."""
    import onnxruntime

    path = find_weights(name, weights)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or min(os.cpu_count() or 1, 4)
    session = open_network(path, "this tracker", options)
    inputs, outputs = ([one.name for one in ends] for ends in (session.get_inputs(), session.get_outputs()))
    shape: list[Any] = session.get_inputs()[0].shape
    if (inputs, outputs) != NETWORKS[name] or not isinstance(shape[-1], int):
        raise WeightsError(
            f"{path}: not a network of this tracker (it makes {', '.join(outputs)} of {', '.join(inputs)}, expected "
            f"{', '.join(NETWORKS[name][1])} of {', '.join(NETWORKS[name][0])}); get the file again"
        )
    return session, shape[-1]
