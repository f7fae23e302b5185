"""What metrics of a face over time share: whether there is a face, and how its head turns.

The openings of mouth and eyes are ``thcli.face_model``'s of ``track.mesh``: ratios of lengths in space, on which the
head's pose has no influence.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from thcli.evaluation.metric import Figure, not_computed
from thcli.evaluation.recording import Pair, Recording
from thcli.faces.pose import smooth_poses
from thcli.motion.head import TRACKER_NOISE
from thcli.records import FaceTrack
from thcli.rotations import placement

STILL = 1e-6
"""Standard deviation below which an opening is constant: what remains of a held frame after rounding."""


def face(recording: Recording) -> FaceTrack | Figure:
    """The track of a recording, or the figure of a metric that has none to measure."""
    return recording.track or not_computed(f"no face found in {recording.name}")


def faces(pair: Pair) -> tuple[FaceTrack, FaceTrack] | Figure:
    """The tracks of the predicted and the reference video, or the figure of a metric that lacks one."""
    made, true = face(pair.predicted), face(pair.reference)
    if isinstance(made, Figure):
        return made
    return true if isinstance(true, Figure) else (made, true)


def seen(*tracks: FaceTrack) -> NDArray[np.bool_]:
    """Frames [T] in which every track found its face, rather than guessing it from those around."""
    return np.asarray(np.all([track.confidence > 0 for track in tracks], axis=0))


def head_turn(track: FaceTrack, smooth: float = TRACKER_NOISE) -> NDArray[np.float64]:
    """Rotation vectors [T, 3] of the head in degrees (pitch, yaw, roll; signs in ``thcli.faces.pose``, negated).

    smooth: standard deviation, in frames, of the Gaussian that takes the tracker's noise out
    """
    pose = smooth_poses(np.asarray(track.pose, np.float64), smooth)
    return np.degrees(placement(pose)[:, :3])


def turning_speed(track: FaceTrack) -> NDArray[np.float64]:
    """Angle [T - 1] in degrees by which the head turns from each frame to the next, without the tracker's noise."""
    turn = Rotation.from_rotvec(head_turn(track), degrees=True)
    return np.degrees((turn[:-1].inv() * turn[1:]).magnitude())
