"""What flows between the stages: frozen dataclasses, the one place where shapes and units stand.

Shape letters: B batch, T frames, K references, H W image, V vertices, L = 68 landmarks,
S audio samples, N = 20 expression coefficients. Image coordinates are pixels with x to the
right, y down and z toward the camera; the centre of the top left pixel is (0.5, 0.5).
Frame t covers [t / FPS, (t + 1) / FPS) seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FPS = 25
SAMPLE_RATE = 16_000
"""Rate of every ``Speech`` inside thgen, in Hz."""
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS
CROP_SIZE = 256
"""Side of the square face crop on which faces are tracked and pictures are made."""
N_VERTICES = 478
N_EXPRESSION = 20

Float = NDArray[np.float32]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Clip:
    """Frames of a video at 25 fps, or one photo.

    frames: [T, H, W, 3] uint8, RGB
    path: where they come from, for messages
    start: seconds into the file at which frame 0 stands
    """

    frames: Image
    path: Path
    start: float = 0.0

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class Speech:
    """A mono sound recording.

    samples: [S] float32 in -1..1 at ``SAMPLE_RATE``
    path: where it comes from, for messages and for muxing
    """

    samples: Float
    path: Path

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @property
    def n_frames(self) -> int:
        """Frames of a video that lasts as long: ceil(duration x 25)."""
        return math.ceil(len(self.samples) / SAMPLES_PER_FRAME)


@dataclass(frozen=True)
class FaceTrack:
    """One face through a clip; all pixel values are pixels of the tracked frames.

    box: [T, 4] float32, x0, y0, x1, y1 of the face in pixels
    mesh: [T, V, 3] float32, pixels
    landmarks: [T, 68, 3] float32, pixels, read from the mesh
    pose: [T, 6] float32, rotation vector (rad) and translation (canonical face units), §3.3
    scale: canonical face units per pixel, one for the whole clip
    confidence: [T] float32 in 0..1; 0 where the frame was interpolated
    size: (width, height) of the frames in pixels
    tracker: name and version of what tracked it
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
        """The same face on some of the frames."""
        return replace(
            self,
            box=self.box[frames],
            mesh=self.mesh[frames],
            landmarks=self.landmarks[frames],
            pose=self.pose[frames],
            confidence=self.confidence[frames],
        )


@dataclass(frozen=True)
class Drive:
    """How the face is to move: what Psi and Phi predict, or what a video or a file prescribes.

    pose: [T, 6] float32, rotation vector (rad) and translation (canonical face units)
    expression: [T, 20] float32, coefficients of the face model's basis
    blink: [T] float32, 0 as open as the person's eyes usually are, 1 closed
    """

    pose: Float
    expression: Float
    blink: Float

    def __len__(self) -> int:
        return len(self.pose)
