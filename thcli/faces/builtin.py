"""The built-in tracker, on ONNX Runtime: a detector proposes faces, and the unprojection network of §4.1 confirms them.

The unprojection network predicts the 3D mesh of a proposed face and the confidence that it is a face.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from thcli.checkpoints import DETECTION, UNPROJECTION
from thcli.cropping import resize_frame
from thcli.errors import WeightsError
from thcli.faces.crop import FaceCrop
from thcli.faces.protocol import Detection
from thcli.faces.track import MIN_CONFIDENCE, face_boxes
from thcli.onnx_files import open_network
from thcli.records import Float, Image
from thcli.threads import usable_cores

if TYPE_CHECKING:
    import onnxruntime

NETWORKS = {DETECTION: (["frame"], ["face", "centre", "side"]), UNPROJECTION: (["crop"], ["mesh", "confidence"])}
"""Names of the inputs and outputs of each network, by file name."""
VERSION = "2"
FACE_CROP_MARGIN = 1.5
"""Side of the mesh network's crop, over the longer side of the face."""
LETTERBOX = 0.5
"""Grey level, 0..1, of the bars that make an image square, as in the detector's training."""
LARGE_FRAME = 900
"""Longer side in px above which a frame is also searched in tiles, because the reduced frame may hide a face."""
TILE, TILE_STEP = 0.5, 0.55
"""Side of a tile over the frame's longer side; largest step between tiles over the side of a tile."""
CANDIDATE, FURTHER = 0.3, 0.48
"""Least score of a face, both before and after the mesh network; least score of faces beside the surest one."""
MAX_CANDIDATES = 12
"""Most proposals of the detector that the mesh network checks in one search."""
MOST_THREADS = 4
"""Most threads of a network; with more, their small layers gain nothing."""
AGREEMENT = (0.3, 0.6)
"""Largest differences between the boxes of detector and mesh: distance of the centres in sides, log ratio of sides."""


class BuiltinTracker:
    """The built-in tracker, loaded from the files of its detector and of its mesh network.

    Raises WeightsError where a file is damaged or holds another network.
    """

    def __init__(self, detector: Path, mesh: Path, threads: int | None = None) -> None:
        self._detector, self._detector_size = _session(detector, DETECTION, threads)
        self._mesh, self._size = _session(mesh, UNPROJECTION, threads)
        self.name = f"builtin {VERSION}"

    def mesh(self, frame: Image, prior: Float) -> tuple[Float, float]:
        """See ``Tracker.mesh``."""
        around = FaceCrop.around_box if prior.ndim == 1 else FaceCrop.around_mesh
        crop = around(prior, self._size, FACE_CROP_MARGIN)
        meshes, confidence = self._mesh.run(None, {"crop": crop.extract(frame)[None]})
        return crop.to_frame(meshes[0] * np.float32(self._size)), float(confidence[0])

    def detect(self, frame: Image) -> list[Detection]:
        """See ``Tracker.detect``. Large frames, and frames without a face, are also searched in tiles."""
        height, width = frame.shape[:2]
        candidates = self._candidates(frame, [_Region(0, 0, width, height)])
        found = self._confirmed(frame, candidates)
        if not found or max(width, height) > LARGE_FRAME:
            # a tile may show a face that was rejected in the whole frame
            closer = self._candidates(frame, _tiles(width, height))
            known = [Detection(d.box, 2 + d.score) for d in found]
            new = [d for d in _distinct([*known, *closer]) if d.score < 2]
            found = _distinct([*found, *self._confirmed(frame, new)])
        return [d for d in found if d.score >= FURTHER] or found[:1]

    def _candidates(self, frame: Image, regions: list[_Region]) -> list[Detection]:
        """Return the detector's boxes of faces in regions of the frame, surest first, one box per face."""
        images = np.stack([region.letterboxed(frame, self._detector_size) for region in regions])
        scores, centres, sides = self._detector.run(None, {"frame": images})
        found = []
        for region, score, centre, side in zip(regions, scores, centres, sides, strict=True):
            for y, x in np.argwhere(_peaks(score) & (score >= CANDIDATE)):
                box = np.concatenate([centre[:, y, x] - side[y, x] / 2, centre[:, y, x] + side[y, x] / 2])
                found.append(Detection(region.to_frame(box), float(score[y, x])))
        return _distinct(found)[:MAX_CANDIDATES]

    def _confirmed(self, frame: Image, candidates: list[Detection]) -> list[Detection]:
        """Return the candidates that the mesh network confirms as faces in the same place, with its meshes' boxes."""
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
class _Region:
    """A rectangle of a frame in pixels."""

    x0: int
    y0: int
    width: int
    height: int

    def letterboxed(self, frame: Image, size: int) -> NDArray[np.float32]:
        """Return the region as [3, size, size] in 0..1, resized to fit, with bars on both sides."""
        scale = size / max(self.width, self.height)
        width, height = max(round(self.width * scale), 1), max(round(self.height * scale), 1)
        cut = frame[self.y0 : self.y0 + self.height, self.x0 : self.x0 + self.width]
        resized = resize_frame(np.ascontiguousarray(cut), (height, width), linear=True)
        boxed = np.full((3, size, size), LETTERBOX, np.float32)
        x, y = (size - width) // 2, (size - height) // 2
        boxed[:, y : y + height, x : x + width] = resized.transpose(2, 0, 1).astype(np.float32) / 255
        return boxed

    def to_frame(self, box: Float) -> Float:
        """Map a box x0, y0, x1, y1 from units of the letterboxed square to pixels of the frame."""
        longer = max(self.width, self.height)
        corner = np.array([self.x0 - (longer - self.width) / 2, self.y0 - (longer - self.height) / 2])
        return (box * longer + np.tile(corner, 2)).astype(np.float32)


def _tiles(width: int, height: int) -> list[_Region]:
    """Return overlapping tiles that cover a frame: squares, or narrower rectangles where the frame is narrow."""
    side = max(round(TILE * max(width, height)), 1)
    starts = []
    for length in (width, height):
        count = max(1, int(np.ceil((length - side) / (TILE_STEP * side))) + 1)
        starts.append(np.linspace(0, max(length - side, 0), count).round().astype(int))
    return [_Region(int(x), int(y), min(side, width), min(side, height)) for y in starts[1] for x in starts[0]]


def _peaks(score: Float) -> NDArray[np.bool_]:
    """Whether each cell of a map [G, G] is the highest of its neighbourhood of 3 x 3 cells."""
    padded = np.pad(score, 1, constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return np.asarray(score == windows.max(axis=(-1, -2)))


def _distinct(found: list[Detection]) -> list[Detection]:
    """Return detections, surest first, without further detections of the same face."""
    kept: list[Detection] = []
    for new in sorted(found, key=lambda d: -d.score):
        if not any(_same(new.box, other.box) for other in kept):
            kept.append(new)
    return kept


def _same(box: Float, other: Float) -> bool:
    """Whether two boxes show the same face: the centre of the smaller one lies well inside the larger one."""
    distance = np.abs((box[:2] + box[2:]) - (other[:2] + other[2:])) / 2
    return bool((distance < max(_side(box), _side(other)) * 0.4).all())


def _agree(box: Float, candidate: Float) -> bool:
    """Whether the box of a mesh is that of the face that the detector proposed (``AGREEMENT``)."""
    side = _side(candidate)
    distance = float(np.linalg.norm((box[:2] + box[2:]) - (candidate[:2] + candidate[2:]))) / 2
    return distance < AGREEMENT[0] * side and abs(float(np.log(_side(box) / side))) < AGREEMENT[1]


def _side(box: Float) -> float:
    """Longer side of a box x0, y0, x1, y1; above 0."""
    return max(float((box[2:] - box[:2]).max()), 1e-6)


def _session(path: Path, name: str, threads: int | None) -> tuple[onnxruntime.InferenceSession, int]:
    """Open the network ``NETWORKS[name]`` of a file; return it and the side of its square input.

    Raises WeightsError for another network.
    """
    session = open_network(path, "this tracker", threads or min(usable_cores(), MOST_THREADS))
    inputs, outputs = ([one.name for one in ends] for ends in (session.get_inputs(), session.get_outputs()))
    shape: list[Any] = session.get_inputs()[0].shape
    if (inputs, outputs) != NETWORKS[name] or not isinstance(shape[-1], int):
        raise WeightsError(
            f"{path}: not a network of this tracker (it makes {', '.join(outputs)} of {', '.join(inputs)}, expected "
            f"{', '.join(NETWORKS[name][1])} of {', '.join(NETWORKS[name][0])}); get the file again"
        )
    return session, shape[-1]
