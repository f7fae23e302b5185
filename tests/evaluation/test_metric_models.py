"""``MetricModels``: external networks are found, verified, named and run."""

import numpy as np
import pytest

from thcli.checkpoints import MANIFEST, sha256, user_folder, write_manifest
from thcli.errors import WeightsError
from thcli.evaluation import metric_models
from thcli.evaluation.embed import run
from thcli.evaluation.metric_models import KNOWN, PIXELS, Known, MetricModels, Model, Pixels


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's cache, which is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "thgen" / "models"
    folder.mkdir(parents=True)
    return folder


def test_find_says_what_to_do_without_a_file(cache):
    for role in ("identity", "inception", "syncnet"):
        said = MetricModels().find(role)
        assert isinstance(said, str)
        assert f"--{role} FILE.onnx" in said
        assert str(cache / f"{role}.onnx") in said
        assert MetricModels().name(role) == ""


def test_user_folder_is_in_the_home_without_a_variable(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_folder() == tmp_path / ".cache" / "thgen" / "models"


def test_find_gives_the_network_of_a_given_file_with_its_name(cache, network):
    path = network("face.onnx")
    found = MetricModels(identity=path).find("identity")
    assert isinstance(found, Model)
    assert found.name == f"face (sha256 {sha256(path)[:12]})" == MetricModels(identity=path).name("identity")
    assert found.pixels == PIXELS["identity"]
    assert found.batch is None


def test_find_prefers_a_given_file_to_the_cache(cache, network):
    network("cached.onnx").rename(cache / "identity.onnx")
    assert MetricModels(identity=network("mine.onnx", width=8)).name("identity").startswith("mine ")


@pytest.mark.parametrize("given", [True, False])
def test_find_accepts_a_known_file_without_a_manifest_and_knows_its_pixels(given, cache, network, monkeypatch):
    path = network("any.onnx")
    known = Known("Known network", Pixels((0.4, 0.5, 0.6), (0.2, 0.2, 0.3)))
    monkeypatch.setattr(metric_models, "KNOWN", {sha256(path): known})
    path = path if given else path.rename(cache / "identity.onnx")
    found = MetricModels(identity=path if given else None).find("identity")
    assert found.name.startswith("Known network (sha256 ")
    assert found.pixels == known.pixels


def test_find_refuses_a_missing_file(cache, tmp_path):
    with pytest.raises(WeightsError, match=r"none\.onnx: no such file; --identity"):
        MetricModels(identity=tmp_path / "none.onnx").find("identity")


def test_find_refuses_a_file_that_is_not_onnx(cache, tmp_path):
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(WeightsError, match=r"text\.onnx: not a network of --.*expected input \[B, 3, 299, 299\]"):
        MetricModels(inception=tmp_path / "text.onnx").find("inception")


@pytest.mark.parametrize(
    ("role", "inputs"),
    [
        ("identity", ((3, 112, 112), (3, 112, 112))),
        ("identity", ((3, 224, 224),)),
        ("inception", ((3, 112, 112),)),
        ("syncnet", ((3, 5, 224, 224),)),
    ],
)
def test_find_refuses_a_network_with_other_inputs(role, inputs, cache, network):
    with pytest.raises(WeightsError, match=f"no network for --{role}; expected input"):
        MetricModels(**{role: network("other.onnx", inputs)}).find(role)


def test_find_refuses_a_file_in_the_cache_that_is_not_listed(cache, network):
    path = network().rename(cache / "identity.onnx")
    with pytest.raises(WeightsError, match=f"{sha256(path)[:12]}… is not known; list it in .*{MANIFEST}"):
        MetricModels().find("identity")
    (cache / MANIFEST).write_text("0" * 64 + "  other.onnx\n")
    with pytest.raises(WeightsError, match="not listed in"):
        MetricModels().find("identity")


def test_find_accepts_a_file_in_the_cache_that_is_listed(cache, network):
    network().rename(cache / "identity.onnx")
    write_manifest(cache)
    assert isinstance(MetricModels().find("identity"), Model)


def test_find_refuses_a_listed_file_that_has_changed(cache, network):
    network().rename(cache / "identity.onnx")
    write_manifest(cache)
    network(width=8).replace(cache / "identity.onnx")
    with pytest.raises(WeightsError, match=r"SHA-256 is .*lists .*get the file again"):
        MetricModels().find("identity")


def test_pixels_prepare_images_as_each_network_wants_them():
    picture = np.random.default_rng(0).random((3, 4, 5), np.float32)
    np.testing.assert_array_equal(PIXELS["inception"].prepare(picture), picture)
    prepared = PIXELS["identity"].prepare(picture)
    np.testing.assert_allclose(prepared, (picture * 255 - 127.5) / 127.5, atol=1e-6)
    assert prepared.dtype == np.float32
    (mobilefacenet,) = [known for known in KNOWN.values() if known.name.startswith("MobileFaceNet")]
    np.testing.assert_allclose(mobilefacenet.pixels.prepare(picture)[2], (picture[2] - 0.406) / 0.225, rtol=1e-6)


@pytest.mark.parametrize("batch", ["B", 1, 4])
def test_run_gives_the_same_in_batches_and_prepares_equal_images_once(batch, cache, network, monkeypatch):
    pictures = np.random.default_rng(0).random((21, 3, 112, 112), np.float32)
    pictures[[3, 20]] = pictures[0]
    model = MetricModels(identity=network(width=12, batch=batch)).find("identity")
    calls = []
    original = Pixels.prepare
    monkeypatch.setattr(Pixels, "prepare", lambda self, picture: calls.append(1) or original(self, picture))
    features = run(model, iter(pictures))
    expected = (pictures * 2 - 1).reshape(21, -1, 12).mean(1)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert len(calls) == 19
