import numpy as np
import pytest

from thcli.checkpoints import MANIFEST, sha256, write_manifest
from thcli.errors import WeightsError
from thcli.evaluation import metric_models as models
from thcli.evaluation.embed import run
from thcli.evaluation.metric_models import KNOWN, PIXELS, Model, Models, Pixels


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's cache, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "thgen" / "models"
    folder.mkdir(parents=True)
    return folder


def test_without_a_file_it_is_said_what_to_do(cache):
    for role in ("identity", "inception", "syncnet"):
        said = Models().find(role)
        assert isinstance(said, str)
        assert f"--{role} FILE.onnx" in said
        assert str(cache / f"{role}.onnx") in said
        assert Models().name(role) == ""


def test_cache_without_a_variable_is_in_the_home(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert models.user_folder() == tmp_path / ".cache" / "thgen" / "models"


def test_given_file_is_found_and_named(cache, network):
    path = network("face.onnx")
    found = Models(identity=path).find("identity")
    assert isinstance(found, Model)
    assert found.name == f"face (sha256 {sha256(path)[:12]})" == Models(identity=path).name("identity")
    assert found.pixels == PIXELS["identity"]
    assert found.batch is None


def test_given_file_comes_before_the_cache(cache, network):
    network("cached.onnx").rename(cache / "identity.onnx")
    assert Models(identity=network("mine.onnx", width=8)).name("identity").startswith("mine ")


@pytest.mark.parametrize("given", [True, False])
def test_a_known_file_needs_no_list_and_brings_its_pixels(given, cache, network, monkeypatch):
    path = network("any.onnx")
    known = models.Known("Known network", Pixels((0.4, 0.5, 0.6), (0.2, 0.2, 0.3)))
    monkeypatch.setattr(models, "KNOWN", {sha256(path): known})
    path = path if given else path.rename(cache / "identity.onnx")
    found = Models(identity=path if given else None).find("identity")
    assert found.name.startswith("Known network (sha256 ")
    assert found.pixels == known.pixels


def test_missing_file(cache, tmp_path):
    with pytest.raises(WeightsError, match=r"none\.onnx: no such file; --identity"):
        Models(identity=tmp_path / "none.onnx").find("identity")


def test_not_onnx(cache, tmp_path):
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(WeightsError, match=r"text\.onnx: not a network of --.*expected input \[B, 3, 299, 299\]"):
        Models(inception=tmp_path / "text.onnx").find("inception")


@pytest.mark.parametrize(
    ("role", "inputs"),
    [
        ("identity", ((3, 112, 112), (3, 112, 112))),
        ("identity", ((3, 224, 224),)),
        ("inception", ((3, 112, 112),)),
        ("syncnet", ((3, 5, 224, 224),)),
    ],
)
def test_a_network_for_something_else(role, inputs, cache, network):
    with pytest.raises(WeightsError, match=f"no network for --{role}; expected input"):
        Models(**{role: network("other.onnx", inputs)}).find(role)


def test_unlisted_in_the_cache(cache, network):
    path = network().rename(cache / "identity.onnx")
    with pytest.raises(WeightsError, match=f"{sha256(path)[:12]}… is not known; list it in .*{MANIFEST}"):
        Models().find("identity")
    (cache / MANIFEST).write_text("0" * 64 + "  other.onnx\n")
    with pytest.raises(WeightsError, match="not listed in"):
        Models().find("identity")


def test_listed_in_the_cache(cache, network):
    network().rename(cache / "identity.onnx")
    write_manifest(cache)
    assert isinstance(Models().find("identity"), Model)


def test_listed_but_changed(cache, network):
    network().rename(cache / "identity.onnx")
    write_manifest(cache)
    network(width=8).replace(cache / "identity.onnx")
    with pytest.raises(WeightsError, match=r"SHA-256 is .*lists .*get the file again"):
        Models().find("identity")


def test_pixels():
    picture = np.random.default_rng(0).random((3, 4, 5), np.float32)
    np.testing.assert_array_equal(PIXELS["inception"].prepare(picture), picture)
    prepared = PIXELS["identity"].prepare(picture)
    np.testing.assert_allclose(prepared, (picture * 255 - 127.5) / 127.5, atol=1e-6)
    assert prepared.dtype == np.float32
    (mobilefacenet,) = [known for known in KNOWN.values() if known.name.startswith("MobileFaceNet")]
    np.testing.assert_allclose(mobilefacenet.pixels.prepare(picture)[2], (picture[2] - 0.406) / 0.225, rtol=1e-6)


@pytest.mark.parametrize("batch", ["B", 1, 4])
def test_batches_change_nothing_and_equal_pictures_run_once(batch, cache, network, monkeypatch):
    pictures = np.random.default_rng(0).random((21, 3, 112, 112), np.float32)
    pictures[[3, 20]] = pictures[0]
    model = Models(identity=network(width=12, batch=batch)).find("identity")
    calls = []
    original = models.Pixels.prepare
    monkeypatch.setattr(models.Pixels, "prepare", lambda self, picture: calls.append(1) or original(self, picture))
    features = run(model, iter(pictures))
    expected = (pictures * 2 - 1).reshape(21, -1, 12).mean(1)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert len(calls) == 19
