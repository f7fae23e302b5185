"""A face written as a 3D file is the one that thgen draws: read back, its vertices and its texture are the same."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pygltflib
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from thcli.checkpoints import shipped_weights
from thcli.clips.probe import probe
from thcli.clips.provenance import SOURCE_TYPE
from thcli.export.animated_face import METRES, AnimatedFace, component_names, cut_texture, face_parts
from thcli.export.face_sources import frontal_frame, generated_face, tracked_face
from thcli.export.gltf import to_glb
from thcli.export.obj import write_obj
from thcli.face_model import LIP_GAP, FaceModel
from thcli.pipeline.options import ReferenceOptions
from thcli.pipeline.person import person_from_track
from thcli.pipeline.target import DrivenTarget
from thcli.records import WHOLE_CROP, Clip, FaceTrack, MotionCurves
from thcli.rotations import to_canonical_units

FRAMES = 40
Talking = Callable[[int, int], FaceTrack]


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load(shipped_weights() / "face_model.safetensors")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo in which every pixel has a colour of its own, as far as colours go."""
    path = tmp_path_factory.mktemp("photo") / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def target(model: FaceModel, photo: Path, talking: Talking) -> DrivenTarget:
    """A person of a photo who speaks, turns by up to a full circle, and blinks."""
    clip = Clip(np.asarray(Image.open(photo))[None], photo)
    person = person_from_track(model, clip, talking(3, 1), WHOLE_CROP, None, ReferenceOptions())
    random = np.random.default_rng(1)
    pose = random.normal(size=(FRAMES, 6)).astype(np.float32)
    pose[:, 1] = np.linspace(0, 2 * np.pi, FRAMES)
    expression = random.normal(size=(FRAMES, 20)).astype(np.float32)
    return DrivenTarget(person, model, MotionCurves(pose, expression, random.random(FRAMES).astype(np.float32)))


@pytest.fixture(scope="module")
def face(target: DrivenTarget, photo: Path) -> AnimatedFace:
    return generated_face(probe(photo), target)


class Read:
    """A GLB as another program reads it, by the specification alone."""

    def __init__(self, content: bytes) -> None:
        assert struct.unpack("<4sII", content[:12]) == (b"glTF", 2, len(content))
        self.file = pygltflib.GLTF2.load_from_bytes(content)
        self.mesh, self.animation = self.file.meshes[0], self.file.animations[0]

    def array(self, number: int) -> np.ndarray:
        accessor = self.file.accessors[number]
        columns = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[accessor.type]
        kind = {pygltflib.FLOAT: "<f4", pygltflib.UNSIGNED_SHORT: "<u2"}[accessor.componentType]
        values = np.frombuffer(self.bytes(accessor.bufferView), kind).reshape(accessor.count, columns)
        if accessor.min:
            assert np.allclose(accessor.min, values.min(0)) and np.allclose(accessor.max, values.max(0))
        return values

    def bytes(self, number: int) -> bytes:
        view = self.file.bufferViews[number]
        return self.file.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]

    def curve(self, path: str) -> tuple[np.ndarray, np.ndarray]:
        (channel,) = [channel for channel in self.animation.channels if channel.target.path == path]
        sampler = self.animation.samplers[channel.sampler]
        times = self.array(sampler.input)[:, 0]
        return times, self.array(sampler.output).reshape(len(times), -1)

    def vertices(self, frame: int) -> np.ndarray:
        """The vertices at a key, metres."""
        (primitive, *_) = self.mesh.primitives
        at = [self.array(number) for number in (primitive.attributes.POSITION, *(t["POSITION"] for t in targets(self)))]
        weights = self.curve("weights")[1][frame]
        moved = at[0] + np.einsum("m,mvc->vc", weights.astype(np.float64), np.stack(at[1:]))
        turned = Rotation.from_quat(self.curve("rotation")[1][frame]).apply(moved)
        return turned + self.curve("translation")[1][frame]


def targets(read: Read) -> list[dict[str, int]]:
    """The morph targets, which are those of every primitive."""
    all_of_them = [primitive.targets for primitive in read.mesh.primitives]
    assert all(one == all_of_them[0] for one in all_of_them)
    return all_of_them[0]


def drawn(target: DrivenTarget) -> np.ndarray:
    """The vertices that thgen draws with, in metres around the middle of the picture, y up: [T, V, 3]."""
    track = target.person.track
    pixels = target.meshes(slice(0, FRAMES)).astype(np.float64)
    return to_canonical_units(pixels, track.scale, track.size) * np.array([1, -1, 1]) * METRES


def test_glb_has_the_vertices_that_thgen_draws_with(face: AnimatedFace, target: DrivenTarget) -> None:
    read, wanted = Read(to_glb(face)), drawn(target)
    for frame in range(0, FRAMES, FRAMES // 10):
        apart = np.linalg.norm(read.vertices(frame) - wanted[frame], axis=1)
        assert apart.max() < 1e-4  # 0.1 mm


def test_glb_has_a_key_for_every_frame_and_turns_the_short_way(face: AnimatedFace) -> None:
    read = Read(to_glb(face))
    for path in ("translation", "rotation", "weights"):
        times, values = read.curve(path)
        assert np.allclose(times, np.arange(FRAMES) / 25) and len(values) == FRAMES
    quaternions = read.curve("rotation")[1]
    assert (np.sum(quaternions[1:] * quaternions[:-1], axis=1) > 0).all()


def test_glb_names_its_targets_and_says_that_it_is_synthetic(face: AnimatedFace, model: FaceModel) -> None:
    read = Read(to_glb(face))
    names = read.mesh.extras["targetNames"]
    assert names == [*component_names(model), "eyesClosed"] and len(targets(read)) == len(set(names)) == 21
    assert read.file.asset.extras == {"digitalSourceType": SOURCE_TYPE}


def test_glb_shows_at_every_vertex_the_pixel_of_the_frame(
    face: AnimatedFace, target: DrivenTarget, photo: Path
) -> None:
    read, frame = Read(to_glb(face)), np.asarray(Image.open(photo))
    image = np.asarray(Image.open(io.BytesIO(read.bytes(read.file.images[0].bufferView))))
    uv = read.array(read.mesh.primitives[0].attributes.TEXCOORD_0)
    there = np.floor(uv * image.shape[1::-1] + 1e-3).astype(int)
    pixel = np.floor(target.person.track.mesh[0, :, :2] + 1e-3).astype(int)
    assert (image[there[:, 1], there[:, 0]] == frame[pixel[:, 1], pixel[:, 0]]).all()


def test_glb_shows_its_front_and_cuts_eyes_and_mouth(face: AnimatedFace, model: FaceModel) -> None:
    read = Read(to_glb(face))
    vertices = read.array(read.mesh.primitives[0].attributes.POSITION)
    triangles = [read.array(primitive.indices).reshape(-1, 3) for primitive in read.mesh.primitives]
    assert [read.file.materials[p.material].name for p in read.mesh.primitives] == ["skin", "eyes", "mouth"]
    whole = np.sort(np.concatenate(triangles), axis=1)
    assert len(np.unique(whole, axis=0)) == len(model.faces)
    a, b, c = np.moveaxis(vertices[np.concatenate(triangles)], 1, 0)
    assert np.mean(np.cross(b - a, c - a)[:, 2] > 0) > 0.95  # counter-clockwise as seen from +z, the front
    assert vertices[10, 1] > vertices[152, 1] and vertices[4, 2] > vertices[234, 2]  # forehead, chin; nose, ear


def test_component_names_are_what_the_components_do(model: FaceModel) -> None:
    names = component_names(model)
    assert set(names) - {f"expression{i:02}" for i in range(20)} == {"mouthOpen", "mouthLeft"}
    upper, lower = model.basis[names.index("mouthOpen")][list(LIP_GAP), 1]
    assert lower - upper > 0.9 * np.abs(model.basis[names.index("mouthOpen")]).max()
    assert names.index("mouthOpen") == 0 and names[1] == "expression01"


def test_tracked_face_is_near_the_track(model: FaceModel, talking: Talking, photo: Path) -> None:
    track = talking(5, FRAMES)
    read = Read(to_glb(tracked_face(probe(photo), track, model)))
    wanted = to_canonical_units(track.mesh, track.scale, track.size) * np.array([1, -1, 1]) * METRES
    apart = [np.linalg.norm(read.vertices(t) - wanted[t], axis=1) for t in range(0, FRAMES, 4)]
    assert np.max(apart) < 1e-4  # the face model says all of how this face moves
    assert not read.file.asset.extras


def test_frontal_frame_is_the_least_turned_that_is_sure_and_has_open_eyes() -> None:
    pose = np.zeros((9, 6), np.float32)
    pose[:, 1] = (0.5, 0.4, 0.3, 0.2, 0.1, 0.2, 0.3, 0.4, 0.5)
    sure, opening = np.ones(9, np.float32), np.full(9, 0.3, np.float32)
    assert frontal_frame(pose, sure, opening) == 4
    sure[4], opening[3] = 0.0, 0.02
    assert frontal_frame(pose, sure, opening) == 5
    assert frontal_frame(pose, np.zeros(9, np.float32), opening) == 4


def test_cut_texture_keeps_to_the_frame_and_to_its_largest_side(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = np.zeros((40, 60, 3), np.uint8)
    texture = cut_texture(frame, np.array([[-0.1, 0.2], [0.5, 1.2]], np.float32))
    assert texture.image.shape[0] <= 40 and texture.image.shape[1] <= 60
    monkeypatch.setattr("thcli.export.animated_face.LARGEST_TEXTURE", 16)
    small = cut_texture(frame, np.array([[0.1, 0.1], [0.9, 0.9]], np.float32))
    assert max(small.image.shape) == 16 and np.allclose(small.uv, cut_texture_uv(frame))


def cut_texture_uv(frame: np.ndarray) -> np.ndarray:
    """Where the two corners lie in the part that is cut out for them, whose border is a tenth of its larger side."""
    (height, width), border = frame.shape[:2], 0.1 * 0.8 * frame.shape[1]
    left, top = np.floor(0.1 * width - border), np.floor(max(0.1 * height - border, 0))
    right, bottom = np.ceil(0.9 * width + border), np.ceil(min(0.9 * height + border, height))
    corners = np.array([[0.1, 0.1], [0.9, 0.9]]) * (width, height)
    return (corners - (left, top)) / (right - left, bottom - top)


def test_write_obj_is_the_face_of_its_frame(face: AnimatedFace, tmp_path: Path, model: FaceModel) -> None:
    write_obj(tmp_path / "a.mesh.obj", face)
    lines = [line.split() for line in (tmp_path / "a.mesh.obj").read_text().splitlines()]
    vertices = np.array([line[1:] for line in lines if line[0] == "v"], float)
    assert np.abs(vertices - face.shown * np.array([1, -1, 1]) * METRES).max() < 1e-6
    uv = np.array([line[1:] for line in lines if line[0] == "vt"], float)
    assert np.abs(uv - [0, 1] - face.texture.uv * [1, -1]).max() < 1e-5
    triangles = np.array([[corner.split("/") for corner in line[1:]] for line in lines if line[0] == "f"], int)
    assert (triangles[..., 0] == triangles[..., 1]).all()
    assert (triangles[..., 0] - 1 == np.concatenate(list(face_parts(model).values()))).all()
    assert "map_Kd a.mesh.png" in (tmp_path / "a.mesh.mtl").read_text()
    assert (np.asarray(Image.open(tmp_path / "a.mesh.png")) == face.texture.image).all()
