"""What the first pass over a video tells of the person in it: poses, usual face, and which frames can be dubbed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from thcli.face_model import LANDMARKS_68, LIPS, FaceModel
from thcli.faces.crop import FACE_CENTRE, FACE_HEIGHT
from thcli.faces.pose import fit_to_shape, rigid_shape
from thcli.faces.track import MOST_OUTSIDE, face_boxes, outside_share
from thcli.motion.silence import rest_expression
from thcli.pipeline.covered import covered_mouths
from thcli.pipeline.footage import PART, Footage
from thcli.pipeline.person import neutral_mesh
from thcli.records import CropBox, Float
from thcli.render.window import WINDOW_STEP
from thcli.rotations import remove_pose, to_canonical_units
from thcli.smoothing import smoothed

SAMPLES = 1500
"""Most frames from which the person's usual face is measured, spread over the video."""
LEAST_FACE = 64.0
"""Least height of a face that is dubbed, px."""
MOST_TURN, MOST_NOD = 0.85, 0.7
"""Largest turn and nod of a head that is dubbed, rad."""
FADE_SECONDS = 0.16
"""Seconds over which what is drawn fades in and out."""
LEAST_SECONDS = 0.4
"""Least seconds of a stretch of frames that is dubbed."""
STEADY = (0.4, 1.0)
"""Standard deviations, seconds, with which place and size of the window are smoothed."""
REASONS = (
    "the person is not in view",
    "face too small",
    "head turned away",
    "face cut by the border",
    "mouth covered",
    "cut",
)
"""Why frames are not dubbed, by the number in ``FilmedFace.reason`` less 1."""


@dataclass(frozen=True)
class FilmedFace:
    """The person of a video.

    shape: [27, 3], rigid points of the face
    pose: [T, 6] float32; NaN without a face
    expression: [T, N] float32, coefficients as filmed; NaN without a face
    reason: [T] int, 0 where a frame can be dubbed, else 1 + the number in ``REASONS``
    centre, side: [T, 2] and [T] float32, smooth place and side of the window, px
    median_expression, rest, neutral_mesh: as in ``records.Person``
    sampled: [S] numbers of the frames that were measured in detail, all of which can be dubbed
    unposed: [S, V, 3], their unposed meshes
    """

    shape: np.ndarray
    pose: Float
    expression: Float
    reason: np.ndarray
    centre: Float
    side: Float
    median_expression: Float
    rest: Float
    neutral_mesh: Float
    sampled: np.ndarray
    unposed: Float

    def window(self, t: int) -> CropBox:
        """Return the window of a frame, head and shoulders.

        Its corner is even, and its side a multiple of ``WINDOW_STEP``.
        """
        side = max(int(self.side[t]) // WINDOW_STEP, 1) * WINDOW_STEP
        corner = self.centre[t] - np.array(FACE_CENTRE) * side
        return CropBox(int(corner[0]) // 2 * 2, int(corner[1]) // 2 * 2, side)


def examine(footage: Footage, model: FaceModel) -> FilmedFace | None:
    """Measure the person of a video; None where no frame shows a face that can be dubbed."""
    seen = np.flatnonzero(np.isfinite(footage.confidence))
    if not len(seen):
        return None
    some = seen[np.linspace(0, len(seen) - 1, min(len(seen), SAMPLES)).round().astype(int)]
    landmarks = np.concatenate([mesh[:, LANDMARKS_68] for _, mesh in _picked(footage, some)])
    shape = rigid_shape(landmarks, footage.size, model)
    pose, expression, boxes, outside = _measured(footage, shape, model)
    reason = _reasons(footage, pose, boxes, outside)
    good = np.flatnonzero(reason == 0)
    if not len(good):
        return FilmedFace(
            shape, pose, expression, reason, *_windows(footage, boxes), *(np.zeros(0, np.float32),) * 3,
            good, np.zeros((0, len(model.canonical), 3), np.float32),
        )  # fmt: skip
    sampled = good[np.linspace(0, len(good) - 1, min(len(good), SAMPLES)).round().astype(int)]
    unposed = np.concatenate([unpose(footage, shape, which, mesh)[0] for which, mesh in _picked(footage, sampled)])
    median = np.median(expression[good], axis=0).astype(np.float32)
    neutral = neutral_mesh(unposed, expression[sampled] - median, model)
    rest = rest_expression(unposed, model, neutral)
    return FilmedFace(
        shape, pose, expression, reason, *_windows(footage, boxes), median, rest, neutral, sampled, unposed
    )  # fmt: skip


def unpose(footage: Footage, shape: np.ndarray, frames: np.ndarray, mesh: Float) -> tuple[Float, Float, Float]:
    """Return unposed meshes [n, V, 3], poses [n, 6] and scales [n] of frames that show the face.

    One scale is fitted for the frames of a shot.

    frames: [n], their numbers
    mesh: [n, V, 3], px of the frame
    """
    unposed, poses = np.empty_like(mesh), np.empty((len(mesh), 6), np.float32)
    scales = np.empty(len(mesh), np.float32)
    for shot in np.unique(footage.shot[frames]):
        which = footage.shot[frames] == shot
        poses[which], scale = fit_to_shape(mesh[which][:, LANDMARKS_68], footage.size, shape)
        scales[which] = scale
        units = to_canonical_units(mesh[which], scale, footage.size)
        unposed[which] = remove_pose(units, poses[which]).astype(np.float32)
    return unposed, poses, scales


def opacities(seconds: np.ndarray, shot: np.ndarray, dubbed: np.ndarray, end: float) -> Float:
    """Return the opacity [M] of what is drawn: 1 in frames that are dubbed, 0 in others, with a fade between.

    A cut is hard. Stretches shorter than ``LEAST_SECONDS`` are left alone.

    seconds: [M], beginning of each frame
    shot: [M], number of its shot
    dubbed: [M] bool
    end: second at which the last frame ends
    """
    weight = np.zeros(len(seconds), np.float32)
    number = np.concatenate([[0], np.where(dubbed, shot + 1, 0), [0]])
    edges = np.flatnonzero(np.diff(number) != 0)
    times = np.append(seconds, end)
    for begin, stop in pairwise(edges):
        if not number[begin + 1] or times[stop] - times[begin] < min(LEAST_SECONDS, end):
            continue
        time, share = seconds[begin:stop], np.ones(stop - begin)
        if begin > 0 and shot[begin - 1] == shot[begin]:
            share = np.minimum(share, (time - times[begin - 1]) / FADE_SECONDS)
        if stop < len(seconds) and shot[stop] == shot[begin]:
            share = np.minimum(share, (times[stop] - time) / FADE_SECONDS)
        weight[begin:stop] = share.clip(0, 1)
    return weight


def _picked(footage: Footage, frames: np.ndarray) -> Iterator[tuple[np.ndarray, Float]]:
    """Yield some frames, in order, and their meshes, part by part."""
    for part in range(len(footage) // PART + 1):
        begin = part * PART
        which = frames[(frames >= begin) & (frames < begin + PART)]
        if len(which):
            yield which, footage.meshes(begin, min(begin + PART, len(footage)))[which - begin]


def _measured(footage: Footage, shape: np.ndarray, model: FaceModel) -> tuple[Float, Float, Float, Float]:
    """Return poses [T, 6], expressions [T, N], boxes [T, 4] and the share [T] of the face beyond the border."""
    count = len(footage)
    pose, expression, boxes, outside = (
        np.full((count, *shape_), np.nan, np.float32) for shape_ in ((6,), (len(model.basis),), (4,), ())
    )
    for which, mesh in _picked(footage, np.flatnonzero(np.isfinite(footage.confidence))):
        unposed, pose[which], _ = unpose(footage, shape, which, mesh)
        expression[which] = model.expression(unposed)
        boxes[which] = face_boxes(mesh)
        outside[which] = outside_share(mesh, footage.size)
    return pose, expression, boxes, outside


def _reasons(footage: Footage, pose: Float, boxes: Float, outside: Float) -> np.ndarray:
    """Return for each frame 0 where it can be dubbed, or 1 + the number of the reason in ``REASONS``."""
    with np.errstate(invalid="ignore"):
        tests = (
            np.isnan(footage.confidence),
            boxes[:, 3] - boxes[:, 1] < LEAST_FACE,
            (np.abs(pose[:, 1]) > MOST_TURN) | (np.abs(pose[:, 0]) > MOST_NOD),
            outside > MOST_OUTSIDE,
            covered_mouths(footage, pose[:, 1]),
            footage.shot < 0,
        )
    reason = np.zeros(len(footage), np.int64)
    for number in reversed(range(len(tests))):
        reason[tests[number]] = number + 1
    return reason


def _windows(footage: Footage, boxes: Float) -> tuple[Float, Float]:
    """Return centre [T, 2] and side [T] of the windows, smooth within each shot; frames without a face hold them."""
    count = len(footage)
    centre, side = np.zeros((count, 2), np.float32), np.full(count, 256.0, np.float32)
    rate = max(float(np.mean(np.diff(footage.seconds))) if count > 1 else 0.04, 1e-3)
    seen = np.isfinite(boxes[:, 0])
    for shot in np.unique(footage.shot[seen]):
        which = np.flatnonzero(footage.shot == shot)
        there = which[seen[which]]
        middle = (boxes[there, :2] + boxes[there, 2:]) / 2
        height = np.log(boxes[there, 3] - boxes[there, 1])
        for axis in range(2):
            held = np.interp(which, there, middle[:, axis])
            centre[which, axis] = smoothed(held, STEADY[0] / rate)
        held = np.interp(which, there, height)
        side[which] = np.exp(smoothed(held, STEADY[1] / rate)) / FACE_HEIGHT
    return centre, side


def lips_of(unposed: Float) -> Float:
    """Return the shape of the lips [n, L * 3] of unposed meshes, centred."""
    lips = unposed[:, list(LIPS)]
    return (lips - lips.mean(axis=1, keepdims=True)).reshape(len(unposed), -1)
