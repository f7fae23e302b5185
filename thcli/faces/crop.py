"""Square crops: of head and shoulders for the picture, of the face for the trackers; and the way back.

Coordinates are pixels with the centre of the top left pixel at (0.5, 0.5), so a crop maps points by shift, turn and
scale alone. Crops may reach beyond the frame, whose border is then repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from thcli.face_model import OUTER_EYE_CORNERS
from thcli.records import CROP_SIZE, Float, Image

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.floating]

FACE_HEIGHT = 0.57
"""Height of the face (chin to the mesh's upper end) over the crop's side, as in the training clips."""
FACE_CENTRE = (0.5, 0.52)
"""Where the face's centre sits in the crop."""
MARGIN = 0.04
"""A moving face keeps this part of the side clear of the crop's border."""
ALREADY_CROP = (0.45, 0.70)
"""A square frame whose face height is in this range of its side is taken whole."""
WIDER = 1.3
"""Side of what is drawn of a whole frame, over the crop's: there, what moves with the head comes to rest."""


@dataclass(frozen=True)
class CropBox:
    """A square of a frame, in whole pixels; may reach beyond the frame.

    x0, y0: its top left corner
    side: its length
    """

    x0: int
    y0: int
    side: int

    def to_crop(self, points: Array, size: int = CROP_SIZE) -> Array:
        """Points (..., 2 or 3) of the frame in pixels of the crop resized to ``size``; z scales alike."""
        return np.asarray((points - self._corner(points)) * points.dtype.type(size / self.side))

    def to_frame(self, points: Array, size: int = CROP_SIZE) -> Array:
        """The inverse of ``to_crop``."""
        return np.asarray(points * points.dtype.type(self.side / size) + self._corner(points))

    def shown(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Left, top, right and bottom end of what frames of (width, height) px show of it, in shares of its side."""
        left, top = max(0, -self.x0), max(0, -self.y0)
        right, bottom = min(self.side, size[0] - self.x0), min(self.side, size[1] - self.y0)
        return left / self.side, top / self.side, right / self.side, bottom / self.side

    def _corner(self, points: Array) -> Array:
        return np.array([self.x0, self.y0, 0][: points.shape[-1]], dtype=points.dtype)


WHOLE_CROP = CropBox(0, 0, CROP_SIZE)
"""Of frames that are crops already, as a store has them."""


def head_crop(box: Float, size: tuple[int, int]) -> CropBox:
    """The fixed crop of a clip from its face boxes [T, 4] (x0, y0, x1, y1 px) in frames of (width, height) px.

    Head and shoulders in the proportions of the training clips around the median face, moved and enlarged as far as
    the face's range of motion asks. A frame that is such a square already is taken whole.
    """
    width, height = size
    x0, y0, x1, y1 = np.median(box, axis=0)
    face = float(y1 - y0)
    if width == height and ALREADY_CROP[0] <= face / height <= ALREADY_CROP[1]:
        return CropBox(0, 0, width)
    low, high = box[:, :2].min(axis=0), box[:, 2:].max(axis=0)
    side = max(face / FACE_HEIGHT, float((high - low).max()) / (1 - 2 * MARGIN))
    corner = np.array([x0 + x1, y0 + y1]) / 2 - np.array(FACE_CENTRE) * side
    corner = np.clip(corner, high + MARGIN * side - side, low - MARGIN * side)
    room = np.array([width, height]) - side
    # a crop that fits into the frame stays in it: what lies beyond the border is nothing to look at
    corner = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), corner)
    return CropBox(round(float(corner[0])), round(float(corner[1])), round(side))


def surroundings(box: CropBox, size: tuple[int, int]) -> CropBox:
    """A larger square around a crop, as far as frames of (width, height) px have anything there; holds the crop."""
    side = max(box.side, min(round(WIDER * box.side), max(size)))
    corner = np.array([box.x0, box.y0]) - (side - box.side) // 2
    room = np.array(size) - side
    x0, y0 = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), corner)
    return CropBox(int(x0), int(y0), side)


def crop_frames(frames: Image, box: CropBox, size: int = CROP_SIZE) -> Image:
    """[T, H, W, 3] uint8 to [T, size, size, 3] uint8: cut out, border repeated, resized with anti-aliasing."""
    return np.stack([crop_frame(frame, box, size) for frame in frames])


def crop_frame(frame: Image, box: CropBox, size: int = CROP_SIZE) -> Image:
    """One frame [H, W, 3] as in ``crop_frames``."""
    import torch
    from torch.nn.functional import interpolate

    rows = np.clip(np.arange(box.y0, box.y0 + box.side), 0, frame.shape[0] - 1)
    columns = np.clip(np.arange(box.x0, box.x0 + box.side), 0, frame.shape[1] - 1)
    if rows[-1] - rows[0] == box.side - 1 == columns[-1] - columns[0]:
        cut = np.ascontiguousarray(frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    else:
        cut = frame[rows[:, None], columns]
    if box.side == size:
        return cut
    image = torch.from_numpy(cut).permute(2, 0, 1)[None]
    resized = interpolate(image, size=(size, size), mode="bicubic", antialias=True, align_corners=False)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


@dataclass(frozen=True)
class FaceCrop:
    """A turned square of a frame around a face, upright as the face is; what trackers look at.

    x, y: centre, px of the frame
    side: length, px of the frame
    angle: rad, how far the square is turned clockwise in the picture
    size: side of the resized crop, px
    """

    x: float
    y: float
    side: float
    angle: float
    size: int

    @classmethod
    def around_box(cls, box: Array, size: int, scale: float) -> FaceCrop:
        """Upright, ``scale`` times the longer side of a box [4] x0, y0, x1, y1."""
        x0, y0, x1, y1 = (float(value) for value in box)
        return cls((x0 + x1) / 2, (y0 + y1) / 2, scale * max(x1 - x0, y1 - y0), 0.0, size)

    @classmethod
    def around_mesh(cls, mesh: Array, size: int, scale: float) -> FaceCrop:
        """Turned by the line of the eyes, ``scale`` times the longer side of the turned face's box; mesh [V, 3] px."""
        across = mesh[OUTER_EYE_CORNERS[1], :2] - mesh[OUTER_EYE_CORNERS[0], :2]
        angle = math.atan2(across[1], across[0])
        upright = mesh[:, :2] @ _turn(-angle).T
        low, high = upright.min(axis=0), upright.max(axis=0)
        x, y = _turn(angle) @ ((low + high) / 2)
        return cls(float(x), float(y), scale * float((high - low).max()), angle, size)

    def to_crop(self, points: Array) -> Array:
        """Points (..., 2 or 3) of the frame in pixels of the crop; z scales alike."""
        moved = (points[..., :2] - [self.x, self.y]) @ _turn(self.angle)
        return self._with_depth(moved, points, self.size / self.side, self.size / 2)

    def to_frame(self, points: Array) -> Array:
        """The inverse of ``to_crop``."""
        moved = (points[..., :2] - self.size / 2) @ _turn(self.angle).T
        return self._with_depth(moved, points, self.side / self.size, np.array([self.x, self.y]))

    @staticmethod
    def _with_depth(flat: Array, points: Array, scale: float, shift: float | Array) -> Array:
        return np.concatenate([flat * scale + shift, points[..., 2:] * scale], axis=-1).astype(points.dtype)

    def extract(self, frame: Image) -> Tensor:
        """The crop [3, size, size] float32 in 0..1 of a frame [H, W, 3] uint8.

        The upright square around the turned one is cut out and reduced with anti-aliasing, then turned.
        """
        import torch
        from torch.nn.functional import affine_grid, grid_sample

        reach = self.side * (abs(math.cos(self.angle)) + abs(math.sin(self.angle)))
        half = math.ceil(reach / 2) + 1
        outer = CropBox(math.floor(self.x) - half, math.floor(self.y) - half, 2 * half + 1)
        resized = min(outer.side, math.ceil(outer.side * self.size / self.side))
        image = torch.from_numpy(crop_frame(frame, outer, resized)).permute(2, 0, 1)[None].float() / 255
        turn = self.side / outer.side * _turn(self.angle)
        centre = (np.array([self.x - outer.x0, self.y - outer.y0]) / outer.side) * 2 - 1
        theta = torch.tensor(np.column_stack([turn, centre]), dtype=torch.float32)[None]
        grid = affine_grid(theta, [1, 3, self.size, self.size], align_corners=False)
        return grid_sample(image, grid, padding_mode="border", align_corners=False)[0]


def _turn(angle: float) -> NDArray[np.float64]:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
