"""Helpers for metrics of a face over time: its track, the frames in which it was found, and the rotation of its head.

Openings of mouth and eyes are those of ``thcli.face_model``, computed from ``track.mesh``: ratios of lengths in space,
which the head pose does not affect.
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
"""Standard deviation below which an opening counts as constant; rounding leaves less in a held frame."""


def face(recording: Recording) -> FaceTrack | Figure:
    """Return the track of a recording, or, where no face was found, the figure that says so."""
    return recording.track or not_computed(f"no face found in {recording.name}")


def faces(pair: Pair) -> tuple[FaceTrack, FaceTrack] | Figure:
    """Return the tracks of the predicted and the reference video, or, where one has none, the figure that says so."""
    made, true = face(pair.predicted), face(pair.reference)
    if isinstance(made, Figure):
        return made
    return true if isinstance(true, Figure) else (made, true)


def seen(*tracks: FaceTrack) -> NDArray[np.bool_]:
    """Return whether every track found its face in a frame [T], rather than interpolating it from other frames."""
    return np.asarray(np.all([track.confidence > 0 for track in tracks], axis=0))


def head_turn(track: FaceTrack, smooth: float = TRACKER_NOISE) -> NDArray[np.float64]:
    """Return rotation vectors [T, 3] of the head in degrees: pitch, yaw and roll, as in a placement.

    Their signs are the opposite of those that ``thcli.faces.pose`` gives for poses.

    smooth: standard deviation, in frames, of the Gaussian that removes the tracker's noise
    """
    pose = smooth_poses(np.asarray(track.pose, np.float64), smooth)
    return np.degrees(placement(pose)[:, :3])


def turning_speed(track: FaceTrack) -> NDArray[np.float64]:
    """Return the angle [T - 1] in degrees by which the head turns between frames, with the tracker's noise removed."""
    turn = Rotation.from_rotvec(head_turn(track), degrees=True)
    return np.degrees((turn[:-1].inv() * turn[1:]).magnitude())
