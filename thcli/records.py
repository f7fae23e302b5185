"""Frozen records that pass between the stages, and the one place where their shapes and units are stated.

Shape letters: B batch, T frames, K references, H W image, V vertices, L = 68 landmarks, S audio samples, N = 20
expression coefficients. Image coordinates are pixels with x to the right, y down and z toward the camera; the centre of
the top left pixel is (0.5, 0.5). Frame t covers [t / FPS, (t + 1) / FPS) seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from thcli.rotations import remove_pose, to_canonical_units

FPS = 25
SAMPLE_RATE = 16_000
"""Samples per second of every ``Speech``."""
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS
CROP_SIZE = 256
"""Side in pixels of the square face crop on which faces are tracked and images are rendered."""
LOG_MEL_SILENCE = -12.0
"""Log-mel feature of silence, the lowest value: -52 dB relative to the speech level."""
N_VERTICES = 478
N_EXPRESSION = 20

Float = NDArray[np.float32]
Image = NDArray[np.uint8]
Points = NDArray[np.floating]
FaceChoice = str | int | tuple[float, float, float, float]
"""A face of a clip: ``largest``, an index from the left, or x, y, width, height in pixels."""


@dataclass(frozen=True)
class Clip:
    """Frames of a video at 25 fps, or one photo.

    frames: [T, H, W, 3] uint8, RGB
    path: file that the frames were read from, for messages
    start: time of frame 0 in the file, seconds
    """

    frames: Image
    path: Path
    start: float = 0.0

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class Speech:
    """A mono recording.

    samples: [S] float32 in -1..1 at ``SAMPLE_RATE``
    path: file that the samples were read from, for messages and for muxing
    """

    samples: Float
    path: Path

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def n_frames(self) -> int:
        """Number of video frames that cover the recording: ceil(duration x 25)."""
        return math.ceil(len(self.samples) / SAMPLES_PER_FRAME)


@dataclass(frozen=True)
class AudioFeatures:
    """A recording in the two forms that the audio front ends of Ψ and Φ take.

    log_mel: [T, 4, 80] float32, natural logarithm of mel energies; four steps of 80 bands per frame
    samples: [T, 640] float32, the 16 kHz samples of each frame
    """

    log_mel: Float
    samples: Float

    def __len__(self) -> int:
        return len(self.log_mel)

    def first(self, frames: int) -> AudioFeatures:
        """Return the features of the first frames."""
        return AudioFeatures(self.log_mel[:frames], self.samples[:frames])


@dataclass(frozen=True)
class CropBox:
    """A square of a frame in whole pixels; it may reach beyond the frame.

    x0, y0: top left corner, px of the frame
    side: length of a side, px of the frame
    """

    x0: int
    y0: int
    side: int

    def to_crop(self, points: Points, size: int = CROP_SIZE) -> Points:
        """Map points (..., 2 or 3) of the frame to pixels of the crop resized to ``size``; z is scaled alike."""
        return np.asarray((points - self._corner(points)) * points.dtype.type(size / self.side))

    def to_frame(self, points: Points, size: int = CROP_SIZE) -> Points:
        """Map points (..., 2 or 3) of the crop resized to ``size`` to px of the frame: the inverse of ``to_crop``."""
        return np.asarray(points * points.dtype.type(self.side / size) + self._corner(points))

    def shown(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return left, top, right, bottom of the part inside a frame of (width, height) px, as shares of the side."""
        left, top = max(0, -self.x0), max(0, -self.y0)
        right, bottom = min(self.side, size[0] - self.x0), min(self.side, size[1] - self.y0)
        return left / self.side, top / self.side, right / self.side, bottom / self.side

    def beyond(self, size: tuple[int, int]) -> float:
        """Return the share of the square beyond a frame of (width, height) px, where its border is repeated."""
        left, top, right, bottom = self.shown(size)
        return 1 - (right - left) * (bottom - top)

    def _corner(self, points: Points) -> Points:
        return np.array([self.x0, self.y0, 0][: points.shape[-1]], dtype=points.dtype)


WHOLE_CROP = CropBox(0, 0, CROP_SIZE)
"""Crop box of frames that are crops already, as in a store."""


@dataclass(frozen=True)
class FaceTrack:
    """One face in every frame of a clip; pixel values are pixels of the tracked frames.

    box: [T, 4] float32, x0, y0, x1, y1 of the face, px
    mesh: [T, V, 3] float32, px
    landmarks: [T, 68, 3] float32, px, read from the mesh
    pose: [T, 6] float32, rotation vector (rad) and translation (canonical face units), §3.3
    scale: canonical face units per pixel, one value for the whole clip
    confidence: [T] float32 in 0..1; 0 where the frame was interpolated
    size: (width, height) of the frames, px
    tracker: name and version of the tracker
    """

    box: Float
    mesh: Float
    landmarks: Float
    pose: Float
    scale: float
    confidence: Float
    size: tuple[int, int]
    tracker: str

    def __len__(self) -> int:
        return len(self.mesh)

    def select(self, frames: NDArray[np.intp] | slice) -> FaceTrack:
        """Return the track of a subset of the frames."""
        return replace(
            self,
            box=self.box[frames],
            mesh=self.mesh[frames],
            landmarks=self.landmarks[frames],
            pose=self.pose[frames],
            confidence=self.confidence[frames],
        )

    def unposed(self) -> Float:
        """Return the meshes with the head pose removed: [T, V, 3] float32, canonical face units (§3.3)."""
        return remove_pose(to_canonical_units(self.mesh, self.scale, self.size), self.pose).astype(np.float32)


@dataclass(frozen=True, eq=False)
class LearnedMotion:
    """Movement and sound of the part of a clip that articulation, blinks and range of motion are learned from.

    Each is equal to itself alone, so that what is computed from it can be kept by it.

    start: second of the file at which the part begins
    expression: [T, N] float32, difference from the part's median expression; interpolated between tracked frames
    eye_opening: [T] float32, ``face_model.eye_opening`` of the unposed meshes
    pose: [T, 6] float32, head poses, in the crop of the references
    audio: features of its audio; of fewer frames where less of it is learned from, of none where the clip has none
    every: distance in frames, from the first on, of those that were tracked
    """

    start: float
    expression: Float
    eye_opening: Float
    pose: Float
    audio: AudioFeatures
    every: int = 1

    def __len__(self) -> int:
        return len(self.expression)


@dataclass(frozen=True)
class Person:
    """What the reference clip or photo tells about a person.

    track: the face in every frame of the clip, px of the crop
    unposed_meshes: [T, V, 3] float32, meshes of the track with the head pose removed, canonical face units
    median_expression: [N] float32, median over the clip of the expression coefficients
    rest: [N] float32, expression at rest, lips closed
    neutral_mesh: [V, 3] float32, the face at the median expression with open eyes, canonical face units
    audio: features of the clip's own audio; 0 frames where the clip has none
    learned: part of the clip that articulation, blinks and range of motion are learned from: the track, or more
    reference_indices: [K], indices of the frames that serve as references
    reference_frames: [K, H, W, 3] uint8, the whole reference frames
    reference_images: [K, S, S, 3] uint8, the reference frames cut to the canvas
    reference_opacity: [K, S, S] uint8, opacity of the person in them; None where all of an image moves with the head
    box: the crop of head and shoulders, in px of the frame
    canvas: the square of the frame that is rendered: the crop, or a larger one around it where it is pasted back
    small_frames: [n, h, h] uint8, grey levels of frames of the clip, cut to the canvas, from which the renderer learns
        how hair and shoulders move (``render.secondary_motion``); None for a photo
    paste_back: whether images are pasted back into the whole frames
    start: second of the file at which the clip begins
    notes: lines for the user on the clip and on how it is used
    """

    track: FaceTrack
    unposed_meshes: Float
    median_expression: Float
    rest: Float
    neutral_mesh: Float
    audio: AudioFeatures
    learned: LearnedMotion
    reference_indices: NDArray[np.intp]
    reference_frames: Image
    reference_images: Image
    box: CropBox
    canvas: CropBox
    reference_opacity: Image | None = None
    small_frames: Image | None = None
    paste_back: bool = False
    start: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def video_size(self) -> tuple[int, int]:
        """(width, height) of a video of the person, px."""
        if self.paste_back:
            return self.frame_size
        return self.reference_images.shape[2], self.reference_images.shape[1]

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) of the whole frames, px."""
        return self.reference_frames.shape[2], self.reference_frames.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that grow with the clip: images, the track of a long clip, and the audio learned from."""
        given = (self.reference_images, self.reference_frames, self.reference_opacity, self.small_frames)
        images = sum(image.nbytes for image in given if image is not None)
        audio = self.learned.audio.log_mel.nbytes + self.learned.audio.samples.nbytes
        return images + audio + self.track.mesh.nbytes + self.unposed_meshes.nbytes

    def to_canvas(self, points: Float) -> Float:
        """Map points (..., 2 or 3) from px of the crop to px of the canvas resized to ``CROP_SIZE``."""
        if self.canvas == self.box:
            return points
        return np.asarray(self.canvas.to_crop(self.box.to_frame(points)), np.float32)


@dataclass(frozen=True)
class MotionCurves:
    """Motion of a face over the frames of a video, as Ψ and Φ predict it or as a video or a file prescribes it.

    pose: [T, 6] float32, rotation vector (rad) and translation (canonical face units)
    expression: [T, N] float32, coefficients of the face model's basis, standard deviations
    blink: [T] float32, 0 with the eyes as open as the person usually has them, 1 with the eyes closed
    """

    pose: Float
    expression: Float
    blink: Float

    def __len__(self) -> int:
        return len(self.pose)


class Target(Protocol):
    """Face that the renderer is to show in every frame of a video, in the person's crop."""

    @property
    def pose(self) -> Float:
        """Head poses [T, 6] of all frames."""

    def unposed_meshes(self, frames: slice) -> Float:
        """Return the meshes [B, V, 3] of some frames with the head pose removed, canonical face units."""

    def meshes(self, frames: slice) -> Float:
        """Return the meshes [B, V, 3] of some frames with the head pose applied, px of the crop."""


@dataclass(frozen=True)
class ReferenceWeights:
    """Weight of each reference in each frame, for the whole image, the mouth and the eyes: [T, K], rows sum to 1.

    dissolved: whether the whole image shows one reference after the other, with aligned transitions
        (``render.transition``), instead of a blend of all that have a weight
    """

    base: Float
    mouth: Float
    eyes: Float
    dissolved: bool = False

    def select(self, frames: slice) -> ReferenceWeights:
        """Return the weights of some frames."""
        return ReferenceWeights(self.base[frames], self.mouth[frames], self.eyes[frames], self.dissolved)
