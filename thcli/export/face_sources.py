"""Animated faces of the three things that move one: a generated video, a dubbed one, and a video as it was tracked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from thcli.checkpoints import write_atomic
from thcli.clips.decode import read_clip
from thcli.clips.probe import MediaInfo
from thcli.clips.provenance import COMPOSITE, SOURCE_TYPE
from thcli.errors import MediaError
from thcli.export.animated_face import AnimatedFace, Texture, cut_texture
from thcli.export.gltf import to_glb
from thcli.face_model import FaceModel, eye_opening
from thcli.motion.blink import eye_closure
from thcli.pipeline.dub import Dubbing, dubbed_curves
from thcli.pipeline.mouths import gather_mouths
from thcli.pipeline.person import OPEN, neutral_mesh
from thcli.pipeline.target import DrivenTarget
from thcli.records import CROP_SIZE, FPS, FaceTrack, Float
from thcli.render.geometric import to_uint8
from thcli.render.mesh import most_frontal
from thcli.render.references import UNSURE


def generated_face(info: MediaInfo, target: DrivenTarget) -> AnimatedFace:
    """Return the face of a generated video, exactly as it is drawn, from its reference clip or photo."""
    person, model = target.person, target.model
    track, whole = person.track, slice(0, len(target.curves))
    best = frontal_frame(track.pose, track.confidence, eye_opening(person.unposed_meshes))
    texture = _texture(info, person.start, best, person.box.to_frame(track.mesh[best]), person.frame_size)
    expression, blink = target.coefficients(whole)
    shown = person.unposed_meshes[best]
    return AnimatedFace(model, person.neutral_mesh, shown, texture, target.pose, expression, blink, SOURCE_TYPE)


def dubbed_face(dubbing: Dubbing) -> AnimatedFace:
    """Return the face of a dubbed video in the part that is dubbed, as its curves move it.

    What the filmed face does beyond the face model is left out.
    """
    face, footage, model = dubbing.targets.face, dubbing.targets.footage, dubbing.targets.model
    best = frontal_frame(face.pose[face.sampled], footage.confidence[face.sampled], eye_opening(face.unposed))
    window = gather_mouths(dubbing.info, footage, face, np.array([best]))
    texture = cut_texture(to_uint8(window.images)[0], window.meshes[0] / np.float32(CROP_SIZE))
    curves = dubbed_curves(dubbing)
    expression = curves.expression - face.median_expression
    shown = face.unposed[best]
    return AnimatedFace(model, face.neutral_mesh, shown, texture, curves.pose, expression, curves.blink, COMPOSITE)


def tracked_face(info: MediaInfo, track: FaceTrack, model: FaceModel) -> AnimatedFace:
    """Return the face of a video, moved as the face model tells what was tracked; ``track`` is in px of the frame."""
    unposed = track.unposed()
    expression = model.expression(unposed)
    change = expression - np.median(expression, axis=0).astype(np.float32)
    neutral = neutral_mesh(unposed, change, model)
    best = frontal_frame(track.pose, track.confidence, eye_opening(unposed))
    texture = _texture(info, 0.0, best, track.mesh[best], track.size)
    rest = (unposed - neutral - model.displacement(change)).reshape(len(unposed), -1)
    lids = model.blink.reshape(-1)
    blink = (rest @ lids / (lids @ lids)).astype(np.float32)  # least squares
    return AnimatedFace(model, neutral, unposed[best], texture, track.pose, change, blink)


def write_glb(path: Path, face: AnimatedFace) -> None:
    """Write the GLB of a face atomically. Raises MediaError where the file cannot be written."""
    try:
        write_atomic(path, to_glb(face))
    except OSError as error:
        raise MediaError(f"{path}: cannot write the mesh ({error.strerror}); choose another place") from error


def frontal_frame(pose: Float, confidence: Float, opening: Float) -> int:
    """Return the most frontal frame (§4.1) of those that were tracked surely and show the eyes open, if there are any.

    pose: [T, 6]
    confidence: [T], 0 where a frame was interpolated
    opening: [T], ``face_model.eye_opening``
    """
    sure = np.flatnonzero((confidence >= UNSURE) & (eye_closure(opening) < OPEN))
    return int(sure[most_frontal(pose[sure])]) if len(sure) else most_frontal(pose)


def _texture(info: MediaInfo, start: float, frame: int, mesh: Float, size: tuple[int, int]) -> Texture:
    """Return the texture of a mesh [V, 3], px of frames of (width, height), out of a frame in its file's own size.

    frame: its number from the second ``start`` on, at 25 frames a second
    """
    image = read_clip(info, start + frame / FPS, 1 / FPS).frames[0]
    return cut_texture(image, (mesh[:, :2] / size).astype(np.float32))
