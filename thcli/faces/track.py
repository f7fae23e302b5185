"""Tracking of one face through a clip, with any tracker backend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thcli.errors import NoFaceError
from thcli.face_model import LANDMARKS_68, OUTER_EYE_CORNERS, FaceModel
from thcli.faces.pose import fit_poses
from thcli.faces.protocol import Detection, Tracker
from thcli.faces.upright import check_upright
from thcli.records import CROP_SIZE, FPS, Clip, CropBox, FaceChoice, FaceTrack, Float, Image

Array = NDArray[np.floating]

MIN_CONFIDENCE = 0.5
"""Least confidence of a mesh that counts as a face."""
MAX_GAP = FPS // 2
"""Most frames without the face that are bridged by interpolation."""
MAX_SEARCH = 4 * FPS
"""Most frames without the face during which it is searched for; after them tracking fails at once."""
MAX_STEP = 0.5
"""Largest movement of a face between two frames, over its size; a face further away is another one."""
SAME_SIZE = 1.6
"""Largest factor by which a face grows or shrinks while it is lost; a face beyond it is another one."""
MOST_OUTSIDE = 1 / 3
"""Largest share of a face beyond the image border; with more, most of the rendered face would be invented."""
SMOOTHING_REACH = 2
"""Frames before and after a frame over which its mesh is smoothed."""
SMOOTHED = 40 * FPS
"""Most frames that are smoothed at a time, which takes several times their memory."""
NOISE = 0.008
"""Standard deviation of vertex movement taken for tracker noise, over the distance of the outer eye corners."""


def track_clip(clip: Clip, tracker: Tracker, model: FaceModel, face: FaceChoice = "largest") -> FaceTrack:
    """Track one face through the frames of a clip, as ``track_frames`` does."""
    return track_frames(clip.frames, tracker, model, clip.path, face, clip.start)


def track_frames(
    frames: Iterable[Image],
    tracker: Tracker,
    model: FaceModel,
    path: Path,
    face: FaceChoice = "largest",
    start: float = 0.0,
    until_lost: bool = False,
) -> FaceTrack:
    """Track one face through frames of one size, taken one at a time: mesh, landmarks, pose and confidence of each.

    path, start: file that the frames come from, and time of the first of them in it, seconds, for messages
    until_lost: whether the track ends where the face is lost, rather than in an error

    The face is chosen in the first frame with faces and then followed from mesh to mesh. Where the tracker loses it or
    jumps, it is searched for near its last place. Up to ``MAX_GAP`` frames are interpolated, with confidence 0.

    Raises NoFaceError where there is no face or not the chosen one, where it does not stand upright or is lost for
    longer, or where the image border cuts off too much of it.
    """
    mesh, confidence, size = _Follower(path, start, tracker, face, until_lost).follow(frames)
    mesh = smooth_meshes(interpolate_missed(mesh, confidence), confidence)
    outside = float(np.median(outside_share(mesh, size)))
    if outside > MOST_OUTSIDE:
        raise NoFaceError(
            f"{path}: the picture's border cuts off {outside:.0%} of the face; choose a picture or a part that "
            "shows all of it, or another face with --face"
        )
    landmarks = mesh[:, LANDMARKS_68]
    pose, scale = fit_poses(landmarks, size, model)
    return FaceTrack(face_boxes(mesh), mesh, landmarks, pose, scale, confidence, size, tracker.name)


def track_in_crop(track: FaceTrack, box: CropBox, model: FaceModel) -> FaceTrack:
    """Map a track to px of a crop of ``CROP_SIZE``; poses are fitted again, as their origin is the image centre."""
    size = (CROP_SIZE, CROP_SIZE)
    mesh, landmarks = box.to_crop(track.mesh), box.to_crop(track.landmarks)
    pose, scale = fit_poses(landmarks, size, model)
    return replace(track, box=face_boxes(mesh), mesh=mesh, landmarks=landmarks, pose=pose, scale=scale, size=size)


def face_boxes(mesh: Float) -> Float:
    """Return the boxes (..., 4) x0, y0, x1, y1 around meshes (..., V, 3)."""
    return np.concatenate([mesh[..., :2].min(axis=-2), mesh[..., :2].max(axis=-2)], axis=-1)


def outside_share(mesh: Float, size: tuple[int, int]) -> Float:
    """Return the share (...) of the vertices of meshes (..., V, 3) px beyond the border of frames of a size, px."""
    return np.asarray(((mesh[..., :2] < 0) | (mesh[..., :2] > size)).any(axis=-1).mean(axis=-1), np.float32)


def smooth_meshes(mesh: Float, confidence: Float) -> Float:
    """Smooth meshes [T, V, 3] over time against the tracker's jitter, keeping blinks and lip movement sharp.

    This is a bilateral filter: each vertex is averaged with its positions in ``SMOOTHING_REACH`` frames before and
    after, with weights that fall with distance, so vertices that move more than ``NOISE`` keep their place. Both sides
    weigh the same, so steady movement does not change, and frames beside a movement or gap are not pulled to one side.
    """
    unit = float(np.median(np.linalg.norm(np.diff(mesh[:, OUTER_EYE_CORNERS, :2], axis=1), axis=-1)))
    smooth = np.empty(mesh.shape, np.float32)
    for first in range(0, len(mesh), SMOOTHED):
        before = min(first, SMOOTHING_REACH)
        part = slice(first - before, first + SMOOTHED + SMOOTHING_REACH)
        whole = _smoothed(mesh[part], confidence[part], unit)
        smooth[first : first + SMOOTHED] = whole[before : before + SMOOTHED]
    return smooth


def _smoothed(mesh: Float, confidence: Float, unit: float) -> Float:
    """Smooth the meshes of a stretch of frames, whose eyes are ``unit`` px apart."""
    trust = np.maximum(confidence, 0.01)
    weights = np.repeat(trust[:, None], mesh.shape[1], axis=1)
    total = mesh * weights[..., None]
    for shift in range(1, min(SMOOTHING_REACH, (len(mesh) - 1) // 2) + 1):
        middle, before, after = slice(shift, -shift), slice(None, -2 * shift), slice(2 * shift, None)
        distance = np.maximum(
            np.linalg.norm((mesh[before] - mesh[middle])[..., :2], axis=-1),
            np.linalg.norm((mesh[after] - mesh[middle])[..., :2], axis=-1),
        )
        weight = np.exp(-0.5 * (distance / unit / NOISE) ** 2 - 0.5 * (shift / SMOOTHING_REACH) ** 2)
        weight *= np.minimum(trust[before], trust[after])[:, None]
        total[middle] += weight[..., None] * (mesh[before] + mesh[after])
        weights[middle] += 2 * weight
    return (total / weights[..., None]).astype(np.float32)


@dataclass
class _Follower:
    """Search for one face through frames.

    path, start: file of the frames, and time of the first of them in it, seconds, for messages
    tracker, face: tracker backend, and the user's choice of a face
    until_lost: whether the search ends where the face is lost for more than ``MAX_GAP`` frames, or an error is raised
    faceless: the first frame, while no face was found
    """

    path: Path
    start: float
    tracker: Tracker
    face: FaceChoice
    until_lost: bool = False
    faceless: Image | None = None

    def follow(self, frames: Iterable[Image]) -> tuple[Float, Float, tuple[int, int]]:
        """Return meshes [T, V, 3], NaN in missed frames, confidence [T], 0 there, and (width, height) of the frames."""
        meshes: list[Float | None] = []
        confidence: list[float] = []
        last: Float | None = None
        missed, size = 0, (0, 0)
        for t, frame in enumerate(frames):
            size = (frame.shape[1], frame.shape[0])
            found = self._next(frame, last, missed)
            if t == 0:
                self.faceless = frame
            if last is None and found is not None:
                self.faceless = None
                check_upright(frame, found[0], self.tracker, self.path)
            if found is None:
                missed += 1
                if self.until_lost and missed > MAX_GAP:
                    break
                if missed > MAX_SEARCH:
                    raise self._lost(t + 1 - missed, None)
            else:
                if missed > MAX_GAP:
                    raise self._lost(t - missed, t)
                last, missed = found[0], 0
            meshes.append(None if found is None else found[0])
            confidence.append(0.0 if found is None else found[1])
        if last is None or (missed > MAX_GAP and not self.until_lost):
            raise self._lost(len(meshes) - missed, None, single=len(meshes) == 1)
        count = int(np.flatnonzero(confidence)[-1]) + 1 if self.until_lost else len(meshes)
        empty = np.full_like(last, np.nan)
        whole = np.stack([empty if mesh is None else mesh for mesh in meshes[:count]])
        return whole, np.array(confidence[:count], np.float32), size

    def _next(self, frame: Image, last: Float | None, missed: int) -> tuple[Float, float] | None:
        """Return mesh and confidence in the next frame, after ``missed`` without one; None where there is no face."""
        if last is None:
            chosen = self._choose(frame)
            return None if chosen is None else self._settled(frame, chosen)
        if not missed:
            mesh, confidence = self.tracker.mesh(frame, last)
            if confidence >= MIN_CONFIDENCE and same_face(face_boxes(mesh), face_boxes(last), 1):
                return mesh, confidence
        near = [d for d in self.tracker.detect(frame) if same_face(d.box, face_boxes(last), missed + 1)]
        if not near:
            return None
        nearest = min(near, key=lambda d: float(np.linalg.norm(_centre(d.box) - _centre(face_boxes(last)))))
        return self._settled(frame, nearest.box)

    def _settled(self, frame: Image, box: Float) -> tuple[Float, float] | None:
        """Return the mesh in a box and its confidence, predicted anew from the first mesh, as in later frames."""
        mesh, confidence = self.tracker.mesh(frame, box)
        if confidence >= MIN_CONFIDENCE:
            mesh, confidence = self.tracker.mesh(frame, mesh)
        return (mesh, confidence) if confidence >= MIN_CONFIDENCE else None

    def _choose(self, frame: Image) -> Float | None:
        """Return the box of the face that the user chose; None where the frame has no face."""
        return choose_face(self.tracker.detect(frame), self.face, self.path)

    def _lost(self, first: int, end: int | None, single: bool = False) -> NoFaceError:
        """Error for a gap of the frames first..end - 1, of all from ``first`` where ``end`` is None, or of a photo."""
        path, start = self.path, self.start
        if self.faceless is not None:
            check_upright(self.faceless, None, self.tracker, path)
        if isinstance(self.face, tuple) and first == 0:
            place = ",".join(f"{edge:g}" for edge in self.face)
            return NoFaceError(f"{path}: no face at --face {place} (X,Y,W,H in pixels); choose a box around a face")
        if single:
            return NoFaceError(f"{path}: no face found; choose a picture with a face at least 64 pixels high")
        seconds = start + first / FPS
        where = f"from frame {first} ({seconds:.1f} s) on"
        if end is not None:
            where = f"in frames {first}–{end - 1} ({seconds:.1f}–{start + end / FPS:.1f} s)"
        return NoFaceError(
            f"{path}: no face {where}, and at most {MAX_GAP} frames can be bridged; "
            "choose another part with --start, or another face with --face"
        )


def choose_face(found: list[Detection], face: FaceChoice, path: Path) -> Float | None:
    """Return the box of the face that the user chose among those of a frame; None where it has no face.

    Raises NoFaceError where there is no face of the chosen index.
    """
    faces = sorted(found, key=lambda d: float(d.box[0] + d.box[2]))
    if isinstance(face, tuple):
        x, y, width, height = face
        wanted = np.array([x, y, x + width, y + height], np.float32)
        touched = [d.box for d in faces if _overlap(d.box, wanted) > 0]
        return max(touched, key=lambda box: _overlap(box, wanted), default=wanted)
    if not faces:
        return None
    if isinstance(face, int):
        return _at_index(faces, face, path)
    return max(faces, key=lambda d: _area(d.box)).box


def _at_index(faces: list[Detection], index: int, path: Path) -> Float:
    """Return the box of a face by its index from left to right. Raises NoFaceError where there is none."""
    if not 0 <= index < len(faces):
        found = "1 face" if len(faces) == 1 else f"{len(faces)} faces"
        raise NoFaceError(
            f"{path}: {found} in view, counted from left to right from 0, and no face {index}; "
            f"choose --face 0{'' if len(faces) == 1 else f' to {len(faces) - 1}'}, or --face largest"
        )
    return faces[index].box


def interpolate_missed(mesh: Float, confidence: Float) -> Float:
    """Interpolate missed frames (confidence 0) linearly between their neighbours; at the ends, repeat the nearest."""
    seen, missed = np.flatnonzero(confidence > 0), np.flatnonzero(confidence == 0)
    after = np.searchsorted(seen, missed).clip(0, len(seen) - 1)
    left, right = seen[np.maximum(after - 1, 0)], seen[after]
    share = np.where(right > left, (missed - left) / np.maximum(right - left, 1), 0).clip(0, 1)[:, None, None]
    whole = mesh.copy()
    whole[missed] = mesh[left] + (mesh[right] - mesh[left]) * share
    return whole


def same_face(box: Array, last: Array, frames: int) -> bool:
    """Whether a box can be of the face whose box was ``last`` a number of frames ago."""
    size, last_size = np.sqrt(_area(box)), np.sqrt(_area(last))
    near = float(np.linalg.norm(_centre(box) - _centre(last))) <= MAX_STEP * last_size * min(frames, 3)
    return bool(near and 1 / SAME_SIZE <= size / max(last_size, 1e-6) <= SAME_SIZE)


def _centre(box: Array) -> Array:
    return (box[:2] + box[2:]) / 2


def _area(box: Array) -> float:
    return float(np.prod(np.maximum(box[2:] - box[:2], 0)))


def _overlap(box: Array, other: Array) -> float:
    """Intersection over union of two boxes."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    shared = _area(np.concatenate([low, high]))
    return shared / max(_area(box) + _area(other) - shared, 1e-6)
