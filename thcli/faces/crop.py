"""Square crops: of head and shoulders for the rendered image, and of the face for the trackers.

Coordinates are pixels with the centre of the top left pixel at (0.5, 0.5), so a crop maps points by translation,
rotation and scale alone. Crops may reach beyond the frame, whose border is then repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thcli.cropping import crop_frame
from thcli.face_model import OUTER_EYE_CORNERS
from thcli.opencv import cv2
from thcli.records import CropBox, Float, Image

Array = NDArray[np.floating]

FACE_HEIGHT = 0.57
"""Height of the face (from the chin to the mesh's upper end) over the crop's side, as in the training clips."""
FACE_CENTRE = (0.5, 0.52)
"""Position of the face's centre in the crop, (x, y) over the side."""
MARGIN = 0.04
"""Least distance of the face from the crop's border in any frame, over the side."""
ALREADY_CROP = (0.45, 0.70)
"""Range of face height over side in which a square frame is taken as the crop."""
MADE_UP = 0.02
"""Largest share of a reference's crop that lies beyond the picture, where its border is repeated."""
WIDER = 1.3
"""Side of the canvas over the crop's in a whole frame; toward its border, motion with the head fades out."""


def head_crop(box: Float, size: tuple[int, int]) -> CropBox:
    """Return the fixed crop of a clip from its face boxes [T, 4] (x0, y0, x1, y1 px) in frames of (width, height) px.

    The crop shows head and shoulders in the proportions of the training clips around the median face, moved and
    enlarged as far as the face's range of motion requires. A frame that is already such a square is taken whole.
    """
    width, height = size
    face = float(np.median(box[:, 3]) - np.median(box[:, 1]))
    if width == height and ALREADY_CROP[0] <= face / height <= ALREADY_CROP[1]:
        return CropBox(0, 0, width)
    low, high = box[:, :2].min(axis=0), box[:, 2:].max(axis=0)
    return _placed(box, max(face / FACE_HEIGHT, float((high - low).max()) / (1 - 2 * MARGIN)), size)


def reference_crop(box: Float, size: tuple[int, int]) -> CropBox:
    """Return the crop of ``head_crop`` or, where more than ``MADE_UP`` of it lies beyond the frame, a square inside it.

    The square is the largest that fits into the frame. Where the face fills too much of that as well, the crop is the
    one of ``head_crop``, which is then shown only pasted back into the frame.

    box: face boxes [T, 4] (x0, y0, x1, y1 px)
    size: (width, height) of the frames, px
    """
    crop = head_crop(box, size)
    if crop.beyond(size) <= MADE_UP:
        return crop
    side = min(size)
    low, high = np.maximum(box[:, :2].min(axis=0), 0), np.minimum(box[:, 2:].max(axis=0), size)
    face = float(np.median(box[:, 3] - box[:, 1]))
    least = max(face / ALREADY_CROP[1], float((high - low).max()) / (1 - 2 * MARGIN))
    return _placed(box, side, size) if least <= side else crop


def crop_note(box: Float, size: tuple[int, int]) -> str | None:
    """Return a note for the user where ``reference_crop`` is not ``head_crop``, or is only pasted back; else None."""
    crop, wanted = reference_crop(box, size), head_crop(box, size)
    if crop != wanted:
        return (
            f"head and shoulders reach beyond the picture: a square of {crop.side} pixels is shown instead of "
            f"{wanted.side}, as large as the picture holds"
        )
    if crop.beyond(size) > MADE_UP:
        return (
            f"the face is too close for a square inside the picture, and {crop.beyond(size):.0%} of a larger one would "
            "be made up: the whole frame is shown, as with --frame full"
        )
    return None


def _placed(box: Float, side: float, size: tuple[int, int]) -> CropBox:
    """Return the square of ``side`` px around the median face, moved as far as the face boxes [T, 4] require."""
    x0, y0, x1, y1 = np.median(box, axis=0)
    low, high = box[:, :2].min(axis=0), box[:, 2:].max(axis=0)
    corner = np.array([x0 + x1, y0 + y1]) / 2 - np.array(FACE_CENTRE) * side
    corner = np.clip(corner, high + MARGIN * side - side, low - MARGIN * side)
    room = np.array(size) - side
    # a crop that fits into the frame stays in it, because beyond the border there is only repetition
    corner = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), corner)
    return CropBox(round(float(corner[0])), round(float(corner[1])), round(side))


def surroundings(box: CropBox, size: tuple[int, int]) -> CropBox:
    """Return a square around a crop, up to ``WIDER`` times as wide, inside frames of (width, height) px if it fits."""
    side = max(box.side, min(round(WIDER * box.side), max(size)))
    corner = np.array([box.x0, box.y0]) - (side - box.side) // 2
    room = np.array(size) - side
    x0, y0 = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), corner)
    return CropBox(int(x0), int(y0), side)


@dataclass(frozen=True)
class FaceCrop:
    """A square around a face, rotated so that the face is upright in it: the input of trackers.

    x, y: centre, px of the frame
    side: length of a side, px of the frame
    angle: clockwise rotation of the square in the image, rad
    size: side of the resized crop, px
    """

    x: float
    y: float
    side: float
    angle: float
    size: int

    @classmethod
    def around_box(cls, box: Array, size: int, scale: float) -> FaceCrop:
        """Return the upright crop around a box [4] x0, y0, x1, y1, ``scale`` times its longer side."""
        x0, y0, x1, y1 = (float(value) for value in box)
        return cls((x0 + x1) / 2, (y0 + y1) / 2, scale * max(x1 - x0, y1 - y0), 0.0, size)

    @classmethod
    def around_mesh(cls, mesh: Array, size: int, scale: float) -> FaceCrop:
        """Return the crop around a mesh [V, 3] px, rotated by the line of the eyes.

        Its side is ``scale`` times the longer side of the rotated face's box.
        """
        across = mesh[OUTER_EYE_CORNERS[1], :2] - mesh[OUTER_EYE_CORNERS[0], :2]
        angle = math.atan2(across[1], across[0])
        upright = mesh[:, :2] @ _turn(-angle).T
        low, high = upright.min(axis=0), upright.max(axis=0)
        x, y = _turn(angle) @ ((low + high) / 2)
        return cls(float(x), float(y), scale * float((high - low).max()), angle, size)

    def to_crop(self, points: Array) -> Array:
        """Map points (..., 2 or 3) of the frame to pixels of the crop; z is scaled alike."""
        moved = (points[..., :2] - [self.x, self.y]) @ _turn(self.angle)
        return self._with_depth(moved, points, self.size / self.side, self.size / 2)

    def to_frame(self, points: Array) -> Array:
        """Map points (..., 2 or 3) of the crop to pixels of the frame: the inverse of ``to_crop``."""
        moved = (points[..., :2] - self.size / 2) @ _turn(self.angle).T
        return self._with_depth(moved, points, self.side / self.size, np.array([self.x, self.y]))

    @staticmethod
    def _with_depth(flat: Array, points: Array, scale: float, shift: float | Array) -> Array:
        """Scale and shift x and y, and append the scaled z of the points, if they have one."""
        return np.concatenate([flat * scale + shift, points[..., 2:] * scale], axis=-1).astype(points.dtype)

    def extract(self, frame: Image) -> Float:
        """Return the crop [3, size, size] float32 in 0..1 of a frame [H, W, 3] uint8.

        The upright square around the rotated one is cut out and reduced with anti-aliasing, then rotated.
        """
        reach = self.side * (abs(math.cos(self.angle)) + abs(math.sin(self.angle)))
        half = math.ceil(reach / 2) + 1
        outer = CropBox(math.floor(self.x) - half, math.floor(self.y) - half, 2 * half + 1)
        resized = min(outer.side, math.ceil(outer.side * self.size / self.side))
        image = crop_frame(frame, outer, resized).astype(np.float32) / np.float32(255)
        scale = resized / outer.side
        turn = scale * self.side / self.size * _turn(self.angle)
        centre = scale * np.array([self.x - outer.x0, self.y - outer.y0])
        # From pixels of the crop to those of the image; for OpenCV, the first pixel's centre lies at 0.
        places = np.column_stack([turn, centre - 0.5 - turn @ np.full(2, self.size / 2 - 0.5)])
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        made = cv2.warpAffine(image, places, (self.size,) * 2, flags=how, borderMode=cv2.BORDER_REPLICATE)
        return np.ascontiguousarray(made.transpose(2, 0, 1), np.float32)


def _turn(angle: float) -> NDArray[np.float64]:
    """Return the rotation matrix [2, 2] by an angle in rad."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
