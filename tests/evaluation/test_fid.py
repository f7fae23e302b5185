"""FID, its formula, and the same distance between identity embeddings."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import sqrtm

from thcli.errors import WeightsError
from thcli.evaluation.compare import measure_to_pool
from thcli.evaluation.embed import enlarged
from thcli.evaluation.frechet import distance
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.metrics import fid, identity_fd

RANDOM = np.random.default_rng(0)
INCEPTION = ((3, 299, 299),)


def by_square_root(made, true):
    """The distance as eq. 6 of Heusel et al. 2017 has it."""
    c1, c2 = np.cov(made, rowvar=False), np.cov(true, rowvar=False)
    return ((made.mean(0) - true.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real)


def test_distance_equals_the_formula_of_heusel_et_al():
    made = RANDOM.standard_normal((400, 12)) @ RANDOM.standard_normal((12, 12))
    true = RANDOM.standard_normal((300, 12)) @ RANDOM.standard_normal((12, 12)) + 0.5
    figure = distance(made, true)
    assert figure.value == pytest.approx(by_square_root(made, true), rel=1e-8)
    assert figure.count == 400


def test_distance_of_diagonal_gaussians_is_that_of_means_and_standard_deviations():
    mean, one, other = np.array([1.0, -2.0, 0.5]), np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 3.5])
    noise = RANDOM.standard_normal((2, 60_000, 3))
    found = distance(noise[0] * one, noise[1] * other + mean).value
    assert found == pytest.approx((mean**2).sum() + ((one - other) ** 2).sum(), rel=0.02)


def test_distance_of_samples_with_exact_moments_is_exact():
    signs = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T * np.sqrt(7 / 8)  # Its covariance is 1.
    made, true = signs * [1, 2, 3], signs * [4, 1, 3] + [0, 0, 5]
    assert distance(made, true).value == pytest.approx(9 + 1 + 25)


@pytest.mark.parametrize(("frames", "dimensions"), [(300, 10), (20, 64), (2, 8)])
def test_distance_of_equal_sets_is_zero_whatever_their_rank(frames, dimensions):
    features = RANDOM.standard_normal((frames, dimensions)).astype(np.float32)
    assert distance(features, features[::-1]).value == pytest.approx(0, abs=1e-6)
    assert distance(features, features + np.float32(2)).value == pytest.approx(4 * dimensions, rel=1e-4)


def test_distance_of_low_rank_equals_the_formula():
    # With fewer frames than dimensions, a square root of the product is ill-conditioned.
    small = RANDOM.standard_normal((2, 9, 6))
    basis = np.linalg.qr(RANDOM.standard_normal((40, 6)))[0].T
    made, true = small @ basis
    assert distance(made, true).value == pytest.approx(by_square_root(*small), rel=1e-6)


def test_distance_of_held_frames_is_that_of_a_point():
    features = RANDOM.standard_normal((50, 5))
    held = np.repeat(features[:1], 50, axis=0)
    expected = ((features[0] - features.mean(0)) ** 2).sum() + np.cov(features, rowvar=False).trace()
    assert distance(held, features).value == pytest.approx(expected)


def test_distance_of_one_frame_is_not_computed():
    figure = distance(np.zeros((1, 4)), np.zeros((9, 4)))
    assert figure.value is None
    assert "at least two" in figure.why


def test_fid_compares_the_features_of_the_network(pair, recording, network):
    models = MetricModels(inception=network("inception.onnx", INCEPTION, 2048))
    true = recording(6)
    made = replace(true, frames=true.frames // 2)
    (metric,) = fid.METRICS
    first, second = metric.pooled.features(pair(made, true), models)
    assert first.shape == second.shape == (6, 2048)
    figure = metric.measure(pair(made, true), models)
    assert figure.value == pytest.approx(distance(first, second).value) != 0
    assert figure.count == 6
    assert figure.model == models.find("inception").name
    assert metric.measure(pair(true, true), models).value == pytest.approx(0, abs=1e-4)
    assert measure_to_pool(pair(made, true), [metric], models).figures["fid"] == figure


def test_enlarged_shows_inception_the_whole_image_in_0_to_1(recording):
    one = recording(1)
    one = replace(one, frames=np.full_like(one.frames, (255, 51, 0)))
    (picture,) = enlarged(one)
    assert picture.shape == (3, 299, 299)
    np.testing.assert_allclose(picture.mean((1, 2)), [1, 0.2, 0], atol=1e-6)


def test_fid_refuses_features_of_another_layer(pair, recording, network):
    with pytest.raises(WeightsError, match="gives 1000 features a frame; FID compares the 2048"):
        fid.measure(pair(recording(2)), MetricModels(inception=network("logits.onnx", INCEPTION, 1000)))


def test_identity_fd_compares_identities_and_is_not_called_fid(pair, recording, network):
    models = MetricModels(identity=network())
    true = recording(8)
    made = replace(true, frames=true.frames[:, :, ::-1].copy())
    (metric,) = identity_fd.METRICS
    figure = metric.measure(pair(made, true), models)
    assert figure.value > 0
    assert (figure.count, figure.model) == (8, models.find("identity").name)
    assert "FID" not in metric.title
    assert metric.measure(pair(true, true), models).value == pytest.approx(0, abs=1e-6)
    assert measure_to_pool(pair(made, true), [metric], models).figures["identity_fd"] == figure


def test_fid_and_identity_fd_say_which_network_is_missing(pair, recording, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for module, role in ((fid, "inception"), (identity_fd, "identity")):
        (metric,) = module.METRICS
        for figure in (
            metric.measure(pair(recording(2)), MetricModels()),
            metric.pooled.features(pair(recording(2)), MetricModels()),
        ):
            assert figure.value is None
            assert f"--{role} FILE.onnx" in figure.why


def test_identity_fd_is_not_computed_without_a_face(pair, recording, network):
    faceless = recording(3, track=None)
    assert identity_fd.measure(pair(faceless, recording(3)), MetricModels(identity=network())).why.startswith(
        "no face found"
    )
