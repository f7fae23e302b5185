"""Fit of the face model to training tracks (``thgen train face-model``), in four steps.

1. Canonical face: generalised Procrustes analysis of all clips (one scale per clip, rigid points only), the mean over
   subjects, made symmetric.
2. Topology: ``topology.triangulate``.
3. Blink: movement of the skin around the eyes as they close, median over subjects.
4. Expression (the 20 PCA coefficients of §3.2): the movement of the face that remains once head pose, camera distance,
   blinks, gaze and the tracker's errors for turned heads are removed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thcli.errors import MediaError
from thcli.face_model import (
    CLOSED_EYES,
    INNER_LIPS,
    LANDMARKS_68,
    LEFT_EYE,
    LEFT_IRIS,
    MOUTH_CORNERS,
    OUTER_EYE_CORNERS,
    OUTER_LIPS,
    RIGHT_EYE,
    RIGHT_IRIS,
    RIGID_27,
    FaceModel,
    eye_opening,
    mouth_opening,
)
from thcli.faces.pose import RIGID_WEIGHTS, fit_rigid
from thcli.records import N_EXPRESSION, Float
from thcli.rotations import remove_pose
from thcli.training.topology import triangulate

Array = NDArray[np.floating]

RIGID = np.array(LANDMARKS_68)[list(RIGID_27)]
"""Vertices of the 27 rigid landmarks."""
SKULL = RIGID[RIGID_WEIGHTS == 1]
"""Vertices of the rigid landmarks without the jaw line."""
PROCRUSTES_ROUNDS = 6
"""Rounds of the Procrustes analysis."""
LIP_WEIGHT = 3.0
"""Weight of the lips' vertices in the expression basis; all others have 1."""
DEPTH_WEIGHT = 0.7
"""Factor of the weight of depth, which counts less because one camera only allows a guess of it."""
EYE_REACH = (0.10, 0.22)
"""Distances from the lids, canonical units, up to which they move the skin fully, and from which not at all."""
NO_BLINK = "no training clip shows a blink, from which a face model learns how eyes close; give longer clips, or more"
"""Message of the error where no clip has enough frames with closing eyes."""


@dataclass(frozen=True)
class MeshTrack:
    """Track of a training clip.

    subject: who is in the clip; every subject has the same weight
    mesh: [T, V, 3] float32, px, z toward the camera; pixels are square
    """

    subject: str
    mesh: Float


@dataclass(frozen=True)
class _UnposedClip:
    """A clip whose meshes are laid on the canonical face.

    mesh: [T, V, 3], canonical units
    turn: [T, 3], rotation vectors of the head, rad
    """

    subject: str
    mesh: Array
    turn: Array


@dataclass(frozen=True)
class _Movement:
    """Deviations of the N frames of all clips from the means of their clips.

    mesh: [N, V, 3], canonical units, without the movement of the eyes
    turn: [N, 3], rad
    opening: [N], opening of the mouth
    weight: [N], weights that sum to 1, with the same sum for every subject
    """

    mesh: Array
    turn: Array
    opening: Array
    weight: Array


@dataclass(frozen=True)
class FitReport:
    """Quality of the basis on the training frames, where every subject has the same weight.

    variance: share of the weighted variance that the 20 components explain
    mouth_median, mouth_mean: median and mean error of the lips' vertices after projection onto the basis, over the
        mouth's width
    clips, frames: numbers of clips and frames that were used
    """

    variance: float
    mouth_median: float
    mouth_mean: float
    clips: int
    frames: int


def fit_face_model(tracks: Iterable[MeshTrack], step: int = 5) -> tuple[FaceModel, FitReport]:
    """Fit the face model to every ``step``-th frame of the tracks.

    The fit is deterministic and takes about a minute for 180 clips.
    Raises MediaError where no clip shows a blink.
    """
    clips = [MeshTrack(track.subject, track.mesh[::step].astype(np.float64)) for track in tracks]
    canonical, unposed = _procrustes(clips)
    mirror = mirror_vertices(canonical)
    faces = triangulate(_opened(canonical, unposed, mirror))
    blink = _blink(canonical, unposed, mirror)
    movement = _movement(canonical, unposed)
    basis, projection, variance = _expression_basis(canonical, blink, movement, mirror)
    model = FaceModel(
        canonical=canonical.astype(np.float32),
        faces=faces,
        basis=basis.astype(np.float32),
        projection=projection.astype(np.float32),
        blink=blink.astype(np.float32),
    )
    median, mean = _mouth_error(model, movement)
    return model, FitReport(variance, median, mean, len(clips), len(movement.mesh))


def mirror_vertices(face: Array) -> NDArray[np.intp]:
    """Pair each vertex of a face [V, 3] with the one nearest to its mirror image: [V], its own inverse.

    Raises ValueError for a face that is too asymmetric.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    reflected = face * [-1, 1, 1]
    distance = cdist(reflected, face)
    # The cost is symmetric in i and j, so that the best assignment is its own inverse.
    _, partner = linear_sum_assignment(distance**2 + distance.T**2)
    if not np.array_equal(partner[partner], np.arange(len(face))):
        raise ValueError("the mean face is too lopsided to pair its vertices left to right")
    return np.asarray(partner)


def mirrored(vectors: Array, mirror: NDArray[np.intp]) -> Array:
    """Mirror faces or displacements [..., V, 3]."""
    return vectors[..., mirror, :] * [-1, 1, 1]


def _procrustes(clips: Sequence[MeshTrack]) -> tuple[Array, list[_UnposedClip]]:
    """Find the canonical face [V, 3], and unpose every clip's meshes onto it."""
    canonical = _normalised(_mean_over_subjects([(c.subject, _sized(c.mesh.mean(axis=0))) for c in clips]))
    for _ in range(PROCRUSTES_ROUNDS):
        means = [(clip.subject, _unpose(clip.mesh, canonical)[0].mean(axis=0)) for clip in clips]
        canonical = _normalised(_mean_over_subjects(means))
    return canonical, [_steadied(clip, canonical) for clip in clips]


def _unpose(mesh: Array, target: Array) -> tuple[Array, Array]:
    """Lay meshes [T, V, 3] px on a face [V, 3] by their rigid points; return them and the poses [T, 6] that do it."""
    pose, scale = fit_rigid(mesh[:, RIGID], (0, 0), target[RIGID], RIGID_WEIGHTS)
    return remove_pose(mesh * scale, pose), pose


def _steadied(clip: MeshTrack, canonical: Array) -> _UnposedClip:
    """Unpose a clip, and fit it again to its own mean with a scale for every frame.

    A head that nears the camera grows, and with one scale per clip that would be the strongest "expression" of all.
    """
    mean = _unpose(clip.mesh, canonical)[0].mean(axis=0)
    mesh, pose = _unpose(clip.mesh, mean)
    centre, goal = mesh[:, SKULL].mean(axis=1, keepdims=True), mean[SKULL].mean(axis=0)
    size = ((mesh[:, SKULL] - centre) * (mean[SKULL] - goal)).sum(axis=(1, 2), keepdims=True)
    size = size / ((mesh[:, SKULL] - centre) ** 2).sum(axis=(1, 2), keepdims=True)
    return _UnposedClip(clip.subject, (mesh - centre) * size + goal, pose[:, :3])


def _mean_over_subjects(faces: Sequence[tuple[str, Array]]) -> Array:
    """Mean over subjects of the means of their faces [V, 3]."""
    by_subject = defaultdict(list)
    for subject, face in faces:
        by_subject[subject].append(face)
    return np.asarray(np.mean([np.mean(group, axis=0) for group in by_subject.values()], axis=0))


def _sized(face: Array) -> Array:
    """Move a face's origin to the centroid of its rigid points, and scale its outer eye corners to a distance of 1."""
    face = face - face[RIGID].mean(axis=0)
    return np.asarray(face / np.linalg.norm(face[OUTER_EYE_CORNERS[0]] - face[OUTER_EYE_CORNERS[1]]))


def _normalised(face: Array) -> Array:
    """Make a face symmetric about x = 0, and scale it by ``_sized``.

    It need not be aligned with its mirror image first, as the Procrustes rounds turn the clips onto the symmetric face.
    """
    face = _sized(face)
    return _sized((face + mirrored(face, mirror_vertices(face))) / 2)


def _opened(canonical: Array, unposed: Sequence[_UnposedClip], mirror: NDArray[np.intp]) -> Array:
    """Open the canonical face's mouth, by twice its mean movement in the 5 % of frames where it is widest."""
    moves = []
    for clip in unposed:
        opening = mouth_opening(clip.mesh)
        wide = clip.mesh[opening >= np.quantile(opening, 0.95)].mean(axis=0)
        moves.append((clip.subject, wide - clip.mesh.mean(axis=0)))
    move = _mean_over_subjects(moves)
    move[list(RIGHT_EYE + LEFT_EYE + RIGHT_IRIS + LEFT_IRIS)] = 0
    return canonical + move + mirrored(move, mirror)


def eye_region(canonical: Array) -> Array:
    """Share [V] of a vertex's movement that is the eyes' and lids' own: 1 on them, falling smoothly to 0 beyond."""
    ring = canonical[list(RIGHT_EYE + LEFT_EYE)]
    distance = np.linalg.norm(canonical[:, None] - ring, axis=-1).min(axis=1)
    distance[list(RIGHT_IRIS + LEFT_IRIS)] = 0
    near, far = EYE_REACH
    fade = np.clip((far - distance) / (far - near), 0, 1)
    return np.asarray(fade * fade * (3 - 2 * fade))


def _blink(canonical: Array, unposed: Sequence[_UnposedClip], mirror: NDArray[np.intp]) -> Array:
    """Displacement [V, 3] that closes the eyes of the canonical face.

    Its direction is the median over subjects of how their meshes move per unit of eye opening. Raises MediaError
    where no clip shows a blink.
    """
    slopes = defaultdict(list)
    for clip in unposed:
        opening = eye_opening(clip.mesh)
        usual = np.median(opening)
        rest = clip.mesh[np.abs(opening - usual) < 0.1 * usual].mean(axis=0)
        shut = opening < 0.6 * usual
        if shut.sum() >= 3:
            gap = (usual - opening[shut])[:, None, None]
            slopes[clip.subject].append(((clip.mesh[shut] - rest) * gap).sum(axis=0) / (gap**2).sum())
    if not slopes:
        raise MediaError(NO_BLINK)
    slope = np.median([np.mean(group, axis=0) for group in slopes.values()], axis=0)
    slope = (slope + mirrored(slope, mirror)) / 2 * eye_region(canonical)[:, None]
    # The lid gap is not quite linear in the displacement, so the least length that closes the eyes is searched for.
    lengths = np.linspace(0, 2, 401) * eye_opening(canonical)
    openings = eye_opening(canonical + lengths[:, None, None] * slope)
    return np.asarray(slope * lengths[np.argmax(openings <= max(CLOSED_EYES, openings.min() + 1e-3))])


def _movement(canonical: Array, unposed: Sequence[_UnposedClip]) -> _Movement:
    """Collect the movement of all clips."""
    still = (1 - eye_region(canonical))[:, None]
    count: dict[str, int] = defaultdict(int)
    for clip in unposed:
        count[clip.subject] += len(clip.mesh)
    weight = [np.full(len(clip.mesh), 1 / (len(count) * count[clip.subject])) for clip in unposed]
    return _Movement(
        mesh=np.concatenate([_centred(clip.mesh) * still for clip in unposed]),
        turn=np.concatenate([_centred(clip.turn) for clip in unposed]),
        opening=np.concatenate([_centred(mouth_opening(clip.mesh)) for clip in unposed]),
        weight=np.concatenate(weight),
    )


def _centred(values: Array) -> Array:
    """Subtract the mean over the first axis."""
    return np.asarray(values - values.mean(axis=0))


def _turn_artefacts(movement: _Movement) -> Array:
    """Deformation of the tracker's mesh with the head's rotation: [3, V * 3] per radian of rx, ry and rz.

    The regression includes the mouth's opening, so that a habit of nodding while speaking is not taken for deformation.
    """
    root = np.sqrt(movement.weight)[:, None]
    causes = np.concatenate([movement.turn, movement.opening[:, None]], axis=1)
    effects = movement.mesh.reshape(len(causes), -1)
    return np.asarray(np.linalg.lstsq(causes * root, effects * root, rcond=None)[0][:3])


def _expression_basis(
    canonical: Array, blink: Array, movement: _Movement, mirror: NDArray[np.intp]
) -> tuple[Array, Array, float]:
    """Weighted PCA of the movement and its mirror image.

    Returns the basis [20, V, 3], the projection [V * 3, 20], and the share of the variance that is explained.
    """
    importance = _importance(canonical)
    artefacts = _turn_artefacts(movement)
    moves = movement.mesh - (movement.turn @ artefacts).reshape(movement.mesh.shape)
    both = np.concatenate([moves, mirrored(moves, mirror)]).reshape(2 * len(moves), -1) * importance
    both *= np.sqrt(np.tile(movement.weight, 2) / 2)[:, None]
    values, vectors = np.linalg.eigh(both.T @ both)
    top = vectors[:, ::-1][:, :N_EXPRESSION].T
    top *= np.sign(top[np.arange(N_EXPRESSION), np.abs(top).argmax(axis=1)])[:, None]
    basis = top / importance
    nuisances = np.concatenate([_similarity_directions(canonical), artefacts, blink.reshape(1, -1)])
    projection = _projection(basis, nuisances, importance * (1 - np.repeat(eye_region(canonical), 3)))
    coefficients = movement.mesh.reshape(len(movement.mesh), -1) @ projection
    deviation = np.sqrt(movement.weight @ coefficients**2)
    explained = float(values[::-1][:N_EXPRESSION].sum() / values.sum())
    return (basis * deviation[:, None]).reshape(N_EXPRESSION, -1, 3), projection / deviation, explained


def _importance(canonical: Array) -> Array:
    """Weight of every coordinate [V * 3]."""
    importance = np.ones(canonical.shape)
    importance[list(OUTER_LIPS + INNER_LIPS)] = LIP_WEIGHT
    return (importance * [1, 1, DEPTH_WEIGHT]).ravel()


def _similarity_directions(face: Array) -> Array:
    """Directions [7, V * 3] in which a face [V, 3] is shifted, rotated and scaled."""
    shifts = [np.broadcast_to(axis, face.shape) for axis in np.eye(3)]
    turns = [np.cross(axis, face) for axis in np.eye(3)]
    return np.stack([*shifts, *turns, face]).reshape(7, -1)


def _projection(basis: Array, nuisances: Array, importance: Array) -> Array:
    """Projection [V * 3, 20] onto the basis, from weighted least squares on basis and nuisances together.

    So what a nuisance can explain (an error of the pose, the camera's distance, a blink) never becomes expression.
    """
    design = np.concatenate([basis, nuisances]) * importance
    return (np.linalg.pinv(design) * importance[:, None])[:, : len(basis)]


def _mouth_error(model: FaceModel, movement: _Movement) -> tuple[float, float]:
    """Median and mean over frames of the lips' error after projection onto the basis, over the mouth's width."""
    lips = list(OUTER_LIPS + INNER_LIPS)
    flat = movement.mesh.reshape(len(movement.mesh), -1)
    restored = (flat @ model.projection) @ model.basis[:, lips].reshape(N_EXPRESSION, -1)
    error = np.linalg.norm(restored.reshape(-1, len(lips), 3) - movement.mesh[:, lips], axis=-1).mean(axis=1)
    left, right = MOUTH_CORNERS
    error /= np.linalg.norm(model.canonical[left] - model.canonical[right])
    order = np.argsort(error)
    median = error[order][np.searchsorted(np.cumsum(movement.weight[order]), 0.5)]
    return float(median), float(movement.weight @ error)
