"""The shipped face model, and the fit on made-up people whose expressions are known."""

from pathlib import Path

import numpy as np
import pytest

import thgen_models
from thcli.face_model import (
    INNER_LIPS,
    LANDMARKS_68,
    LEFT_EYE,
    OUTER_EYE_CORNERS,
    RIGHT_EYE,
    RIGID_27,
    FaceModel,
    eye_opening,
    mouth_opening,
)
from thcli.rotations import apply_pose
from thcli.training.face_model import MeshTrack, eye_region, fit_face_model, mirror_vertices, mirrored


@pytest.fixture(scope="module")
def model():
    return FaceModel.load(Path(thgen_models.__file__).parent / "weights" / "face_model.safetensors")


@pytest.fixture(scope="module")
def coefficients():
    return np.random.default_rng(0).normal(size=(30, 20)).astype(np.float32)


def test_shipped_face_model_has_the_shapes_and_types_of_its_record(model):
    assert model.canonical.shape == (478, 3) and model.canonical.dtype == np.float32
    assert model.faces.shape[1] == 3 and model.faces.dtype == np.int32
    assert model.basis.shape == (20, 478, 3)
    assert model.projection.shape == (478 * 3, 20)
    assert model.blink.shape == (478, 3)


def test_canonical_face_has_its_unit_origin_and_symmetry(model):
    left, right = model.canonical[list(OUTER_EYE_CORNERS)]
    assert np.linalg.norm(left - right) == pytest.approx(1, abs=1e-5)
    rigid = [LANDMARKS_68[i] for i in RIGID_27]
    np.testing.assert_allclose(model.canonical[rigid].mean(axis=0), 0, atol=1e-5)
    mirror = mirror_vertices(model.canonical)
    np.testing.assert_allclose(mirrored(model.canonical, mirror), model.canonical, atol=1e-5)
    np.testing.assert_allclose(mirrored(model.blink, mirror), model.blink, atol=1e-5)
    assert mirror[OUTER_EYE_CORNERS[0]] == OUTER_EYE_CORNERS[1]


def test_canonical_face_has_the_axes_of_images(model):
    nose, forehead, chin, ear = model.canonical[[1, 10, 152, 234]]
    assert forehead[1] < nose[1] < chin[1]
    assert nose[2] > ear[2]
    assert model.canonical[OUTER_EYE_CORNERS[0], 0] < 0  # the person's right eye is on the left of the image


def test_expression_returns_the_coefficients_of_a_displacement(model, coefficients):
    found = model.expression(model.canonical + model.displacement(coefficients))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, coefficients, atol=1e-3)


def test_expression_ignores_blinks(model, coefficients):
    blink = np.linspace(0, 1, 30, dtype=np.float32)
    found = model.expression(model.canonical + model.displacement(coefficients, blink))
    np.testing.assert_allclose(found, coefficients, atol=1e-3)


def test_expression_ignores_errors_of_pose_and_scale(model):
    still = model.expression(model.canonical)
    moved = [
        model.canonical * np.float32(1.05),
        apply_pose(model.canonical, np.array([0.01, 0, 0, 0, 0, 0], np.float32)),
        apply_pose(model.canonical, np.array([0, 0.01, 0, 0, 0, 0], np.float32)),
        model.canonical + np.array([0.1, -0.1, 0.2], np.float32),
    ]
    np.testing.assert_allclose(model.expression(np.stack(moved)), np.tile(still, (4, 1)), atol=0.05)


def test_blink_closes_the_eyes_and_leaves_the_rest(model):
    closed = model.canonical + model.blink
    assert eye_opening(model.canonical) > 0.2
    assert eye_opening(closed) < 0.1
    assert mouth_opening(closed) == pytest.approx(mouth_opening(model.canonical), abs=0.005)
    assert np.abs(model.blink[eye_region(model.canonical) == 0]).max() == 0
    lids = [(159, 145), (160, 144), (158, 153), (386, 374), (385, 380), (387, 373)]
    assert all(closed[upper, 1] < closed[lower, 1] for upper, lower in lids)


def test_basis_leaves_the_lids_alone(model):
    assert np.abs(model.basis[:, list(RIGHT_EYE + LEFT_EYE)]).max() < 1e-6


def edges_of(faces):
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return np.unique(pairs, axis=0, return_counts=True)


def test_triangles_use_every_vertex_and_form_one_sheet(model):
    assert np.array_equal(np.unique(model.faces), np.arange(478))
    pairs, count = edges_of(model.faces)
    assert count.max() == 2
    assert 478 - len(pairs) + len(model.faces) == 1  # Euler: a disc without holes, mouth and eyes covered


def test_triangles_are_oriented_alike(model):
    directed = np.concatenate([model.faces[:, [0, 1]], model.faces[:, [1, 2]], model.faces[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed)
    opened = model.canonical + model.displacement(np.eye(20, dtype=np.float32)[0] * 2)
    a, b, c = np.moveaxis(opened[model.faces][..., :2], 1, 0)
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    assert (area < 0).mean() > 0.97  # nostrils and irises beyond the lids may face away


def test_lips_and_lids_are_edges_of_the_mesh(model):
    present = {tuple(pair) for pair in edges_of(model.faces)[0]}
    for ring in (INNER_LIPS, RIGHT_EYE, LEFT_EYE):
        assert all(tuple(sorted(pair)) in present for pair in zip(ring, ring[1:] + ring[:1], strict=True))


def test_load_returns_the_face_model_that_was_saved(model, tmp_path):
    model.save(tmp_path / "m.safetensors")
    loaded = FaceModel.load(tmp_path / "m.safetensors")
    assert all(np.array_equal(value, getattr(loaded, name)) for name, value in vars(model).items())


@pytest.fixture(scope="module")
def made_up_people(model):
    """Eight people of their own shape and size who speak, blink and turn their heads."""
    generator = np.random.default_rng(0)
    tracks = []
    for person in range(8):
        shape = model.canonical * generator.normal(1, 0.03, 3) + generator.normal(0, 0.005, (478, 3))
        expression = generator.normal(size=(80, 20))
        blink = (generator.random(80) < 0.15) * generator.uniform(0.8, 1, 80)
        moved = shape + model.displacement(expression.astype(np.float32), blink.astype(np.float32))
        pose = generator.normal(0, [0.05, 0.1, 0.05, 0.1, 0.1, 0.05], (80, 6))
        pixels = apply_pose(moved, pose) * generator.uniform(50, 90) + [128, 128, 0]
        tracks.append(MeshTrack(f"person {person}", pixels.astype(np.float32)))
    return tracks


def test_fit_face_model_finds_the_face_that_made_the_tracks(model, made_up_people):
    fitted, report = fit_face_model(made_up_people, step=1)
    np.testing.assert_allclose(fitted.canonical, model.canonical, atol=0.04)
    assert eye_opening(fitted.canonical + fitted.blink) < 0.12
    assert report.variance > 0.9
    assert report.mouth_median < 0.02
    assert (report.clips, report.frames) == (8, 640)
    assert np.abs(model.canonical[fitted.faces] - model.canonical[fitted.faces].mean(axis=1, keepdims=True)).max() < 0.5


def test_fit_face_model_is_deterministic(made_up_people):
    first, second = (fit_face_model(made_up_people[:3], step=4)[0] for _ in range(2))
    assert all(np.array_equal(value, getattr(second, name)) for name, value in vars(first).items())
