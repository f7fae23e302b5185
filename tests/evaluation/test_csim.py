"""CSIM: where faces are cut out, what is compared, and how often the identity network runs."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from skimage.transform import SimilarityTransform

from thcli.evaluation import embed
from thcli.evaluation.embed import (
    ARCFACE,
    aligned_faces,
    alignment,
    five_points,
    identities,
    inception_features,
)
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.metrics.csim import measure
from thcli.evaluation.metrics.identity_fd import features

RANDOM = np.random.default_rng(0)


@pytest.fixture
def models(network):
    return MetricModels(identity=network())


def umeyama(source, target):
    """Scale, rotation and shift of the least-squares similarity, by singular values (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = (s * sign).sum() / (a**2).sum()
    return scale, rotation, target.mean(0) - scale * rotation @ source.mean(0)


def test_alignment_lays_five_points_of_a_similar_face_on_arcface_s():
    for _ in range(20):
        move = SimilarityTransform(
            scale=RANDOM.uniform(0.3, 3), rotation=RANDOM.uniform(-3, 3), translation=RANDOM.uniform(-90, 90, 2)
        )
        points = move(ARCFACE + 0.5)
        np.testing.assert_allclose(alignment(points).to_crop(points), ARCFACE + 0.5, atol=1e-6)


def test_alignment_is_the_least_squares_similarity(recording):
    for points in five_points(recording(8).track):
        scale, rotation, shift = umeyama(points.astype(float), ARCFACE + 0.5)
        expected = scale * points @ rotation.T + shift
        np.testing.assert_allclose(alignment(points).to_crop(points.astype(float)), expected, atol=1e-4)


def test_five_points_are_eyes_nose_and_corners_of_the_mouth(recording, face_model):
    right, left, nose, right_corner, left_corner = five_points(recording(1, pose=np.zeros((1, 6))).track)[0]
    assert right[0] < nose[0] < left[0]
    assert right_corner[0] < nose[0] < left_corner[0]
    assert max(right[1], left[1]) < nose[1] < min(right_corner[1], left_corner[1])
    aligned = alignment(np.stack([right, left, nose, right_corner, left_corner]))
    found = aligned.to_crop(np.stack([right, left, nose, right_corner, left_corner]).astype(float))
    assert np.abs(found - ARCFACE - 0.5).max() < 8, "a face is like ArcFace's, whoever it is"


def test_aligned_faces_look_the_same_wherever_the_face_is(recording):
    pose = np.zeros((2, 6), np.float32)
    pose[1, 3:5] = -12 / 59, 8 / 59
    one = recording(2, pose=pose, expression=np.zeros((2, 20), np.float32))
    first, second = aligned_faces(one, one.track)
    assert first.shape == (3, 112, 112)
    assert np.abs(first - second).mean() < 0.01
    assert np.abs(one.frames[0] / 255 - one.frames[1] / 255).mean() > 0.05


def test_csim_of_equal_videos_is_one(pair, recording, models):
    figure = measure(pair(recording(6)), models)
    assert figure.value == pytest.approx(1, abs=1e-6)
    assert figure.count == 6
    assert figure.model == models.find("identity").name


def test_csim_is_the_mean_cosine_of_frames_at_the_same_time(pair, recording, models, network):
    true = recording(6)
    made = replace(true, frames=true.frames[::-1].copy() ^ 255)
    pictures = [np.stack(list(aligned_faces(one, one.track))) * 2 - 1 for one in (made, true)]
    first, second = (picture.reshape(6, -1, 16).mean(1) for picture in pictures)
    cosine = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    assert measure(pair(made, true), models).value == pytest.approx(cosine.mean(), abs=1e-4)


def test_csim_leaves_out_frames_without_a_face(pair, recording, models):
    true = recording(6)
    spoilt = true.frames.copy()
    spoilt[2] ^= 255
    confidence = np.array([1, 1, 0, 1, 1, 1], np.float32)
    made = replace(true, frames=spoilt, track=replace(true.track, confidence=confidence))
    figure = measure(pair(made, true), models)
    assert (figure.value, figure.count) == (pytest.approx(1, abs=1e-6), 5)
    nowhere = replace(true, track=replace(true.track, confidence=np.zeros(6, np.float32)))
    assert measure(pair(nowhere, true), models).value is None


def test_csim_and_identity_distance_embed_a_recording_once(pair, recording, models, monkeypatch):
    calls = []
    original = embed.run
    monkeypatch.setattr(embed, "run", lambda model, pictures: calls.append(1) or original(model, pictures))
    made, true = recording(3), recording(3)
    measure(pair(made, true), models)
    features(pair(made, true), models)
    measure(pair(true, true), models)
    assert len(calls) == 2


def test_inception_features_are_released_with_their_recording(recording, network):
    model = MetricModels(inception=network("inception.onnx", ((3, 299, 299),), 8)).find("inception")
    one = recording(2)
    kept = weakref.ref(inception_features(one, model))
    gc.collect()
    assert kept() is inception_features(one, model), "the second call finds what the first has computed"
    del one
    gc.collect()
    assert kept() is None


def test_identities_have_unit_length(recording, models):
    one = recording(3)
    found = identities(one, one.track, models.find("identity"))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_csim_says_what_is_missing_without_a_network_or_a_face(pair, recording, models, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    figure = measure(pair(recording(2)), MetricModels())
    assert figure.value is None
    assert "--identity FILE.onnx" in figure.why
    figure = measure(pair(recording(2, track=None, name="bars.mp4"), recording(2)), models)
    assert (figure.value, figure.why) == (None, "no face found in bars.mp4")
