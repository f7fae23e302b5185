"""Following of one person through a video of any length: through shots, without a face, and among other people."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from thcli.face_model import OUTER_LIPS, FaceModel
from thcli.faces.looks import KEPT, SAME, STRANGE, distance, look_at
from thcli.faces.protocol import Detection, Tracker
from thcli.faces.track import MIN_CONFIDENCE, choose_face, face_boxes, same_face
from thcli.faces.upright import check_upright
from thcli.records import CropBox, FaceChoice, Float, Image
from thcli.yuv import YuvFrame

AROUND = 2.0
"""Side of the part of a frame that is given to the tracker, over the face's longer side."""
WIDE = 3.4
"""Side of the part of a frame from which looks are taken, over the face's longer side."""
TRACKED = 100
"""Least longer side, px, of a face in the part that is given to the tracker, which sees 85 px of it; larger ones are
reduced."""
SEARCH_EVERY = 6
"""Distance in frames between those that are searched for the person while they are out of view."""
SEARCHED_AT_ONCE = 3
"""Frames after a loss that are all searched."""
NEAR = 12
"""Most frames without the face after which one at its place is taken for it without a look."""
LOOK_EVERY = 40
"""Distance in frames between the looks that are remembered."""
# fmt: off
PLACES = (
    0, 11, 13, 15, 17, 32, 38, 40, 42, 57, 62, 73, 76, 78, 81, 83, 85, 87, 89, 91, 94, 96, 98, 106, 164, 167, 179, 181,
    183, 185, 191, 199, 201, 204, 207, 210, 212, 216, 267, 269, 271, 273, 291, 302, 304, 307, 310, 312, 314, 316, 318,
    320, 322, 325, 327, 335, 391, 402, 404, 406, 408, 410, 418, 422, 426, 428, 431, 434,
    50, 280, 101, 330, 4, 195, 9, 151, 108, 337,
)
"""Vertices whose colours are measured: lips and what is around them, then cheeks, nose and forehead."""
# fmt: on
LOWER = 68
"""Number of the first ``PLACES``, which lie where a hand would hide the mouth."""


@dataclass(frozen=True)
class Sight:
    """The person in one frame.

    mesh: [V, 3] float32, px of the frame
    confidence: of the tracker, 0..1
    colours: [P, 3] uint8, at ``PLACES``
    sharpness: variance of the Laplacian around the lips, in squares of code values
    """

    mesh: Float
    confidence: float
    colours: Image
    sharpness: float


@dataclass
class Follower:
    """Follower of one person.

    path: file of the frames, for messages
    face: the user's choice, made in the first frame that shows a face
    """

    tracker: Tracker
    model: FaceModel
    path: Path
    face: FaceChoice = "largest"
    last: Float | None = None
    missed: int = 0
    known: list[Float] = field(default_factory=list)
    others: list[Float] = field(default_factory=list)
    since_look: int = 0
    shown: tuple[CropBox, int, Image] | None = None

    def next(self, frame: YuvFrame, sudden: bool) -> Sight | None:
        """Return the person in the next frame, or None where they are not in view.

        sudden: whether the frame differs so much from the one before that it may be of another shot

        Raises NoFaceError where the chosen index is not among the faces of the first frame that shows any, and where
        the chosen face does not stand upright.
        """
        found = None
        if self.last is not None and not sudden and self.missed == 0:
            found = self._again(frame, self.last)
        if found is None and (sudden or self.missed < SEARCHED_AT_ONCE or self.missed % SEARCH_EVERY == 0):
            found = self._searched(frame, sudden)
        if found is None or not self._remembered(frame, found[0]):
            self.missed += 1
            if sudden or found is not None:
                self.last = None  # whoever is there now is known by their looks alone
            return None
        mesh, confidence = found
        self.last, self.missed = mesh, 0
        return self._measured(frame, mesh, confidence)

    def _again(self, frame: YuvFrame, last: Float) -> tuple[Float, float] | None:
        """Return mesh and confidence of the face that was at ``last`` in the frame before."""
        mesh, confidence = self._mesh(frame, last)
        if confidence < MIN_CONFIDENCE or not same_face(face_boxes(mesh), face_boxes(last), 1):
            return None
        return mesh, confidence

    def _searched(self, frame: YuvFrame, sudden: bool) -> tuple[Float, float] | None:
        """Return mesh and confidence of the person among all faces of a frame."""
        image, step = frame.reduced()
        faces = [Detection(d.box * np.float32(step), d.score) for d in self.tracker.detect(image)]
        if not self.known:
            box = choose_face(faces, self.face, self.path)
            chosen = None if box is None else self._settled(frame, box)
            if chosen is not None:
                check_upright(image, _placed(chosen[0], np.zeros(2, np.float32), 1 / step), self.tracker, self.path)
            for other in faces:
                if chosen is not None and other.box is not box:
                    self._meet(frame, other.box)
            return chosen
        if self.last is not None and not sudden and self.missed <= NEAR:
            near = [d for d in faces if same_face(d.box, face_boxes(self.last), self.missed + 1)]
            if len(near) == 1:
                return self._settled(frame, near[0].box)
        return self._known(frame, faces)

    def _known(self, frame: YuvFrame, faces: list[Detection]) -> tuple[Float, float] | None:
        """Return mesh and confidence of the face that looks like the person; None where none does."""
        settled = [one for one in (self._settled(frame, face.box) for face in faces) if one is not None]
        looks = [self._looks(frame, mesh) for mesh, _ in settled]
        far = [distance(one, self.known) for one in looks]
        able = [i for i, one in enumerate(looks) if far[i] < min(SAME, distance(one, self.others))]
        if not able:
            return None
        best = min(able, key=lambda i: far[i])
        strangers = [one for i, one in enumerate(looks) if i != best and far[i] > far[best]]
        self.others = [*self.others, *strangers][-KEPT:]
        return settled[best]

    def _settled(self, frame: YuvFrame, box: Float) -> tuple[Float, float] | None:
        mesh, confidence = self._mesh(frame, box)
        if confidence >= MIN_CONFIDENCE:
            mesh, confidence = self._mesh(frame, mesh)
        return (mesh, confidence) if confidence >= MIN_CONFIDENCE else None

    def _mesh(self, frame: YuvFrame, prior: Float) -> tuple[Float, float]:
        """Ask the tracker, which is given the part of the frame around a box [4] or a mesh [V, 3] alone."""
        box, step = tracked_part(prior if prior.ndim == 1 else face_boxes(prior), AROUND)
        corner = np.array([box.x0, box.y0], np.float32)
        if prior.ndim == 1:
            there = (prior - np.tile(corner, 2)) / np.float32(step)
        else:
            there = _placed(prior, -corner, 1 / step)
        image = frame.image(box, step)
        self.shown = (box, step, image)
        mesh, confidence = self.tracker.mesh(image, there)
        return _placed(mesh, corner / np.float32(step), step), confidence

    def _looks(self, frame: YuvFrame, mesh: Float) -> Float:
        box, step = tracked_part(face_boxes(mesh), WIDE)
        corner = np.array([box.x0, box.y0], np.float32)
        return look_at(frame.image(box, step), _placed(mesh, -corner, 1 / step), self.model)

    def _remembered(self, frame: YuvFrame, mesh: Float) -> bool:
        """Remember the looks of the person, now and then, and return whether it is still the person.

        Of many looks those are kept that differ most.
        """
        self.since_look -= 1
        if self.since_look > 0 and self.missed == 0:
            return True
        looks = self._looks(frame, mesh)
        if self.known and distance(looks, self.known) > STRANGE:
            return False
        self.since_look = LOOK_EVERY
        self.known.append(looks)
        if len(self.known) > KEPT:
            far = [distance(one, self.known[:i] + self.known[i + 1 :]) for i, one in enumerate(self.known)]
            self.known.pop(int(np.argmin(far)))
        return True

    def _meet(self, frame: YuvFrame, box: Float) -> None:
        """Remember the looks of another person."""
        settled = self._settled(frame, box)
        if settled is not None:
            self.others = [*self.others[1 - KEPT :], self._looks(frame, settled[0])]

    def _measured(self, frame: YuvFrame, mesh: Float, confidence: float) -> Sight:
        """Measure colours and sharpness, in the part of the frame that the tracker was last given if it is of them."""
        around, step = tracked_part(face_boxes(mesh), AROUND)
        box, image = around, None
        if self.shown is not None:
            box, step_, image = self.shown
            apart = max(abs(box.x0 - around.x0), abs(box.y0 - around.y0), abs(box.side - around.side))
            box, step, image = (box, step_, image) if apart < around.side / 8 else (around, step, None)
        if image is None:
            image = frame.image(box, step)
        there = _placed(mesh, -np.array([box.x0, box.y0], np.float32), 1 / step)
        x, y = (there[list(PLACES), axis].astype(int).clip(0, image.shape[0] - 1) for axis in (0, 1))
        return Sight(mesh, confidence, image[y, x], _sharpness(image, there))


def tracked_part(box: Float, wide: float) -> tuple[CropBox, int]:
    """Return the square around a face's box [4], and the number of its pixels along each side that are made one."""
    x0, y0, x1, y1 = (float(value) for value in box)
    longer = max(x1 - x0, y1 - y0, 2.0)
    step = 1
    while longer / (2 * step) >= TRACKED:
        step *= 2
    unit = max(step, 2)
    side = -(-int(wide * longer) // unit) * unit + unit
    corner = [int((low + high) / 2 - side / 2) // 2 * 2 for low, high in ((x0, x1), (y0, y1))]
    return CropBox(corner[0], corner[1], side), step


def _placed(mesh: Float, shift: Float, scale: float) -> Float:
    """Return a mesh [V, 3] moved by ``shift`` [2] and then scaled."""
    moved = mesh.copy()
    moved[:, :2] += shift
    return moved * np.float32(scale)


def _sharpness(image: Image, mesh: Float) -> float:
    """Return the variance of the Laplacian of the luma around the lips."""
    low, high = (edge(mesh[list(OUTER_LIPS), :2], axis=0) for edge in (np.min, np.max))
    x0, y0 = np.maximum(low, 0).astype(int)
    x1, y1 = np.ceil(high).astype(int)
    luma = image[y0:y1, x0:x1].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    if min(luma.shape) < 3:
        return 0.0
    inner = luma[1:-1, 1:-1]
    return float((4 * inner - luma[:-2, 1:-1] - luma[2:, 1:-1] - luma[1:-1, :-2] - luma[1:-1, 2:]).var())
