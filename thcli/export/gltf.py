"""Writing of an animated face as GLB, the binary form of glTF 2.0, with morph targets."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pygltflib as gltf
from numpy.typing import NDArray
from PIL import Image as Pictures

from thcli.export.animated_face import AXES, EYES_CLOSED, AnimatedFace, component_names, face_parts, in_metres
from thcli.records import FPS, Float, Image
from thcli.rotations import placement
from thcli.version import __version__

UNLIT = "KHR_materials_unlit"
"""Extension for surfaces whose picture holds its light already, as a photograph does."""
WORD = 4
"""Bytes of which every part of the binary chunk is a multiple."""
_COMPONENTS = {np.dtype(np.float32): gltf.FLOAT, np.dtype(np.uint16): gltf.UNSIGNED_SHORT}
_TYPES = {1: gltf.SCALAR, 2: gltf.VEC2, 3: gltf.VEC3, 4: gltf.VEC4}


def to_glb(face: AnimatedFace) -> bytes:
    """Return the GLB of a face: one mesh of three materials on a node "head", and one animation of the node.

    The mesh is the neutral one; its morph targets are the N expression components, for one standard deviation each, and
    the blink. Keys come every 0.04 s.
    """
    file = _File()
    names = (*component_names(face.model), EYES_CLOSED)
    moved = np.concatenate([face.model.basis, face.model.blink[None]])
    weights = np.concatenate([face.expression, face.blink[:, None]], axis=1)
    file.add_mesh(face, names, moved)
    file.add_animation(face.pose, weights)
    return file.to_bytes(face.source_type)


class _File:
    """A glTF file that grows: the arrays go into its one buffer."""

    def __init__(self) -> None:
        self.document = gltf.GLTF2(scene=0, scenes=[gltf.Scene(nodes=[0])], nodes=[gltf.Node(name="head", mesh=0)])
        self.binary = bytearray()

    def add_mesh(self, face: AnimatedFace, names: Sequence[str], moved: Float) -> None:
        """Add the mesh with its texture; ``moved`` [M, V, 3] are displacements, canonical face units."""
        where = gltf.Attributes(
            POSITION=self.array(in_metres(face.neutral), gltf.ARRAY_BUFFER, bounds=True),
            TEXCOORD_0=self.array(face.texture.uv, gltf.ARRAY_BUFFER),
        )
        targets = [
            gltf.Attributes(POSITION=self.array(in_metres(one), gltf.ARRAY_BUFFER, bounds=True)) for one in moved
        ]
        parts = face_parts(face.model)
        primitives = [
            gltf.Primitive(
                attributes=where,
                targets=targets,
                material=number,
                indices=self.array(faces.astype(np.uint16).reshape(-1), gltf.ELEMENT_ARRAY_BUFFER),
            )
            for number, faces in enumerate(parts.values())
        ]
        still = [0.0] * len(names)
        extras = {"targetNames": list(names)}
        self.document.meshes = [gltf.Mesh(name="face", primitives=primitives, weights=still, extras=extras)]
        self.add_materials(list(parts), face.texture.image)

    def add_materials(self, names: Sequence[str], image: Image) -> None:
        """Add materials that all show the image."""
        document, buffer = self.document, io.BytesIO()
        Pictures.fromarray(image).save(buffer, "PNG")
        edge = gltf.CLAMP_TO_EDGE
        document.samplers = [
            gltf.Sampler(magFilter=gltf.LINEAR, minFilter=gltf.LINEAR_MIPMAP_LINEAR, wrapS=edge, wrapT=edge)
        ]
        document.images = [gltf.Image(name="frame", mimeType="image/png", bufferView=self.view(buffer.getvalue()))]
        document.textures = [gltf.Texture(sampler=0, source=0)]
        surface = gltf.PbrMetallicRoughness(
            baseColorTexture=gltf.TextureInfo(index=0), metallicFactor=0.0, roughnessFactor=1.0
        )
        document.materials = [
            gltf.Material(name=name, pbrMetallicRoughness=surface, doubleSided=True, extensions={UNLIT: {}})
            for name in names
        ]
        document.extensionsUsed = [UNLIT]

    def add_animation(self, pose: Float, weights: Float) -> None:
        """Add the animation of head poses [T, 6] and weights [T, M] of the morph targets."""
        translation, rotation = placed(pose)
        times = self.array((np.arange(len(pose)) / FPS).astype(np.float32), bounds=True)
        moves = {"translation": translation, "rotation": rotation, "weights": weights.astype(np.float32).reshape(-1)}
        samplers = [gltf.AnimationSampler(input=times, output=self.array(values)) for values in moves.values()]
        channels = [
            gltf.AnimationChannel(sampler=number, target=gltf.AnimationChannelTarget(node=0, path=path))
            for number, path in enumerate(moves)
        ]
        self.document.animations = [gltf.Animation(name="speech", samplers=samplers, channels=channels)]

    def array(self, values: NDArray[np.generic], target: int | None = None, bounds: bool = False) -> int:
        """Add an array [n] or [n, 2 to 4], and return the number of its accessor.

        bounds: whether the file is to say the smallest and largest values
        """
        rows = values.reshape(len(values), -1)
        accessor = gltf.Accessor(
            bufferView=self.view(values.tobytes(), target),
            componentType=_COMPONENTS[values.dtype],
            count=len(rows),
            type=_TYPES[rows.shape[1]],
        )
        if bounds:
            accessor.min, accessor.max = rows.min(axis=0).tolist(), rows.max(axis=0).tolist()
        self.document.accessors.append(accessor)
        return len(self.document.accessors) - 1

    def view(self, content: bytes, target: int | None = None) -> int:
        """Add bytes to the buffer, and return the number of their view."""
        view = gltf.BufferView(buffer=0, byteOffset=len(self.binary), byteLength=len(content), target=target)
        self.document.bufferViews.append(view)
        self.binary += content + b"\0" * (-len(content) % WORD)
        return len(self.document.bufferViews) - 1

    def to_bytes(self, source_type: str) -> bytes:
        """Return the whole file. It says what made it and, where a model did, that it is synthetic."""
        extras = {"digitalSourceType": source_type} if source_type else {}
        self.document.asset = gltf.Asset(generator=f"thgen {__version__}", extras=extras)
        self.document.buffers = [gltf.Buffer(byteLength=len(self.binary))]
        self.document.set_binary_blob(bytes(self.binary))
        return b"".join(self.document.save_to_bytes())


def placed(pose: Float) -> tuple[Float, Float]:
    """Return translations [T, 3], metres, and rotations [T, 4], quaternions x y z w, of the head in glTF's axes."""
    from scipy.spatial.transform import Rotation

    place = placement(np.asarray(pose, np.float64))
    # A mirrored rotation turns the other way about the mirrored axis, so of the vector only the mirrored part stays.
    quaternion = Rotation.from_rotvec(-place[:, :3] * AXES).as_quat()
    turned = np.sign((quaternion[1:] * quaternion[:-1]).sum(axis=1))
    quaternion[1:] *= np.cumprod(np.where(turned < 0, -1.0, 1.0))[:, None]  # the short way from key to key
    return in_metres(place[:, 3:]), quaternion.astype(np.float32)
