"""Table 3 by networks: each row is drawn by its own, and networks that cannot be compared are refused."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from thcli.checkpoints import Header, save_checkpoint, sha256
from thcli.data.store import Store
from thcli.errors import WeightsError
from thcli.evaluation.suite.case import load_case
from thcli.evaluation.suite.clips import choose_clips
from thcli.evaluation.suite.methods import choose_methods
from thcli.evaluation.suite.options import ABLATIONS, SuiteOptions
from thcli.evaluation.suite.trained import LACKS, trained_ablations
from thcli.pipeline.models import load_generator
from thcli.render.frames import TargetRenderer
from thcli.render.generator import TorchGenerator
from thgen_models.generator import Generator, GeneratorDims

TINY = GeneratorDims(
    widths=(8, 12, 16), level=1, activation=4, grid=2, hidden=8, flow_width=4, flow_downs=1, flow_residuals=1,
    floor=False,
)  # fmt: skip
CONFIG = {"size": 64, "train": {"steps": 5, "lr": 1e-3}, "network": {"floor": False}}
TITLES = ["Full Model", "w/o 3D-Aware", "w/o Hybrid-Attention", "w/o Non-Linear Comp.", "w/o warping", "Baseline"]


def write(folder: Path, name: str, dims: GeneratorDims, **header) -> None:
    torch.manual_seed(len(name))
    fields = {"stage": "generator", "dims": asdict(dims), "step": 5, "config": CONFIG, **header}
    save_checkpoint(folder / f"{name}.safetensors", Header(**fields), Generator(dims).state_dict())


def dims_of(name: str) -> GeneratorDims:
    return replace(TINY, **dict.fromkeys(LACKS[name], False))


@pytest.fixture(scope="module")
def six(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("six")
    for name in LACKS:
        write(folder, name, dims_of(name))
    return folder


@pytest.fixture
def one_odd(six, tmp_path):
    """one_odd(name, dims, **header): the folder of six networks, one of which has other sizes or another header."""

    def make(name: str, dims: GeneratorDims | None = None, **header) -> Path:
        for path in six.iterdir():
            (tmp_path / path.name).symlink_to(path)
        (tmp_path / f"{name}.safetensors").unlink()
        write(tmp_path, name, dims or dims_of(name), **header)
        return tmp_path

    return make


def test_lacks_names_a_network_for_every_row():
    assert set(LACKS) == {"full", "baseline", *(f"no-{name}" for name in ABLATIONS if name != "baseline")}
    assert [len(lacks) for lacks in LACKS.values()] == [0, 1, 1, 1, 1, 4]


def test_choose_methods_draws_every_row_by_its_own_network(store, six):
    options = SuiteOptions("landmarks", clips=("nodding",), seconds=1.0, device="cpu", ablate=("all",),
                           ablation_weights=six, renderer="warp")  # fmt: skip
    case = load_case(Store(store), *choose_clips(Store(store), options).clips[0], options)
    case = replace(case, real=case.real.select(slice(3)), track=case.track.select(slice(3)))
    rows = choose_methods(options)[-6:]
    assert [row.name for row in rows] == TITLES
    made = [row.render(case, 2) for row in rows]
    assert len({frames.tobytes() for frames in made}) == 6
    for name, row, frames in zip(LACKS, rows, made, strict=True):
        path = six / f"{name}.safetensors"
        assert row.weights == {path.name: sha256(path)}
        theta, person = TorchGenerator(load_generator(path), "cpu", size=64), case.person(2)
        assert theta.size == 64 and theta.reduction == 2
        expected = np.stack(list(TargetRenderer(case.models, person, case.target(person), theta=theta).frames()))
        assert frames.tobytes() == expected.tobytes()


def test_trained_ablations_say_what_they_lack_and_how_long_they_were_trained(six):
    rows = trained_ablations(six, ("warping", "baseline"), "cpu")
    assert [row.title for row in rows] == ["Full Model", "w/o warping", "Baseline"]
    assert all("which paints all of the picture; trained 5 steps at 64², drawn at 64²" in row.meaning for row in rows)
    assert "with all four modules" in rows[0].meaning and "without warping," in rows[1].meaning
    assert "without 3d-aware, hybrid-attention, non-linear, warping," in rows[2].meaning


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("no-warping", {"step": 4}, "no-warping.safetensors: steps 4, full.safetensors has 5; train them alike"),
        ("baseline", {"config": {**CONFIG, "size": 128}}, "baseline.safetensors: size 128, full.safetensors has 64"),
        ("no-3d-aware", {"config": {**CONFIG, "train": {"steps": 5, "lr": 2e-3}}}, "train.lr 0.002, .* has 0.001"),
        ("no-non-linear", {"data": {"takes": 3}}, "data.takes 3, full.safetensors has None"),
        ("no-warping", {"stage": "motion"}, "no-warping.safetensors: a checkpoint of 'motion', expected one of"),
        ("no-warping", {"dims": TINY}, "no-warping.safetensors: a network with warping, its name says without"),
        ("full", {"dims": replace(TINY, three_d=False)}, "full.safetensors: a network without 3d-aware, its name says"),
        ("full", {"dims": replace(TINY, floor=True)}, "no-3d-aware.safetensors: network.floor False, .* has True"),
    ],
)
def test_trained_ablations_refuse_networks_that_cannot_be_compared(one_odd, name, changes, words):
    changes = dict(changes)
    folder = one_odd(name, changes.pop("dims", None), **changes)
    with pytest.raises(WeightsError, match=words) as raised:
        trained_ablations(folder, ABLATIONS, "cpu")
    assert "\n" not in str(raised.value) and "benchmarks/ablation.py" in str(raised.value)


def test_trained_ablations_name_a_missing_network_where_its_row_is_wanted(six, tmp_path):
    for name in ("full", "no-warping"):
        (tmp_path / f"{name}.safetensors").symlink_to(six / f"{name}.safetensors")
    assert len(trained_ablations(tmp_path, ("warping",), "cpu")) == 2
    with pytest.raises(WeightsError, match=r"baseline.safetensors: no such checkpoint, .*benchmarks/ablation.py"):
        trained_ablations(tmp_path, ("warping", "baseline"), "cpu")
