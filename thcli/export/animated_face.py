"""A person's textured face mesh with its animation, as 3D programs take it: in metres, y up.

With y turned, the axes of thgen become those of glTF: x right, y up, z toward the camera. The origin is the middle of
the picture that the face was tracked in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thcli.cropping import reduce_frame
from thcli.face_model import INNER_LIPS, LEFT_EYE, LEFT_IRIS, LIPS, RIGHT_EYE, RIGHT_IRIS, FaceModel
from thcli.records import Float, Image

METRES = 0.09
"""Metres of a canonical face unit: the distance of the outer eye corners is 88 to 91 mm in adults (Farkas 1994).

How large a person is cannot be told from a video."""
MARGIN = 0.1
"""Border of the texture around the mesh, over the larger side of the mesh in the picture."""
LARGEST_TEXTURE = 2048
"""Largest side of a texture, px."""
TRULY = 0.8
"""Least share of a component's movement that the movement has after which the component is named."""
EYES_CLOSED = "eyesClosed"
"""Name of the morph target of the blink."""
AXES = np.array([1, -1, 1], np.float32)
"""Factors that turn thgen's axes into those of glTF, and back."""


@dataclass(frozen=True)
class Texture:
    """Part of a frame that shows the face.

    image: [H, W, 3] uint8, RGB
    uv: [V, 2] float32, place of every vertex, shares of width and height from the top left corner
    """

    image: Image
    uv: Float


@dataclass(frozen=True)
class AnimatedFace:
    """A face and how it moves, at 25 frames a second; in canonical face units and the axes of thgen.

    neutral: [V, 3] float32, mesh without expression, frontal
    shown: [V, 3] float32, mesh as the texture's frame shows it, frontal
    pose: [T, 6] float32, head poses
    expression: [T, N] float32, coefficients of the face model, difference from the neutral mesh's
    blink: [T] float32, factor of the face model's blink
    source_type: IPTC's digital source type of the animation; empty where it was measured in a video
    """

    model: FaceModel
    neutral: Float
    shown: Float
    texture: Texture
    pose: Float
    expression: Float
    blink: Float
    source_type: str = ""


def cut_texture(frame: Image, mesh: Float) -> Texture:
    """Cut the texture of a mesh out of the frame [H, W, 3] in which it was tracked.

    mesh: [V, 2 or 3], shares of the frame's width and height; the third column is not used
    """
    size = np.array(frame.shape[1::-1])
    place = mesh[:, :2] * size
    low, high = place.min(axis=0), place.max(axis=0)
    margin = MARGIN * (high - low).max()
    left, top = np.floor(low - margin).clip(0, size - 1).astype(int)
    right, bottom = np.maximum(np.ceil(high + margin).clip(0, size).astype(int), (left + 1, top + 1))
    image = np.ascontiguousarray(frame[top:bottom, left:right])
    uv = (place - (left, top)) / (right - left, bottom - top)
    if max(image.shape) > LARGEST_TEXTURE:
        image = reduce_frame(image, LARGEST_TEXTURE)
    return Texture(image, uv.astype(np.float32))


def in_metres(points: Float) -> Float:
    """Map points (..., 3) in canonical face units to metres with y up."""
    return np.asarray(points * (AXES * np.float32(METRES)), np.float32)


def face_parts(model: FaceModel) -> dict[str, NDArray[np.int32]]:
    """Return the triangles [F, 3] of skin, eyes and mouth, which are cut apart along the lids and the inner lips."""
    of_eyes = np.isin(model.faces, (*RIGHT_EYE, *RIGHT_IRIS, *LEFT_EYE, *LEFT_IRIS)).all(1)
    of_mouth = np.isin(model.faces, INNER_LIPS).all(1)
    return {
        "skin": model.faces[~of_eyes & ~of_mouth],
        "eyes": model.faces[of_eyes],
        "mouth": model.faces[of_mouth],
    }


def component_names(model: FaceModel) -> tuple[str, ...]:
    """Return a name for each of the N expression components, such as animation programs use.

    ``mouthOpen`` and ``mouthLeft`` (to the person's own left) are components that do just that when their weight rises;
    all others are ``expression00`` and so on.
    """
    names = [f"expression{i:02}" for i in range(len(model.basis))]
    lips = model.basis[:, list(LIPS)]
    size = np.linalg.norm(lips, axis=2)
    opens = model.lip_gap / size.max(axis=1)
    left = lips[:, :, 0].mean(axis=1) / size.mean(axis=1)
    for name, share in (("mouthOpen", opens), ("mouthLeft", left)):
        if share.max() >= TRULY:
            names[int(share.argmax())] = name
    return tuple(names)
