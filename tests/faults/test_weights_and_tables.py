"""Commands refuse weights, configurations and curves that are wrong, damaged, of another network, or harmful."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thcli.checkpoints import MANIFEST, sha256, shipped_weights
from thcli.onnx_files import open_network, refers_elsewhere

NETWORKS = ("expression.safetensors", "head_motion.safetensors", "generator.safetensors")
TABLES = ("face_model.safetensors", "mouth_interior.safetensors")
GRAPHS = ("detection.onnx", "unprojection.onnx", "matting.onnx")


@pytest.fixture
def weights(folder):
    """weights(name, content) writes a file into the folder ``weights``."""

    def put(name: str, content: bytes) -> Path:
        path = folder / "weights" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    return put


@pytest.fixture
def refused(thgen, weights):
    """refused(name, content, words) checks that ``generate`` refuses a file of weights in these words."""

    def check(name: str, content: bytes, words: str) -> None:
        path = weights(name, content)
        renderer = "network" if name.startswith("generator") else "warp"
        given = ("--ref", "photo.png", "--audio", "speech.wav", "-o", "out.mp4", "--device", "cpu")
        said = thgen("generate", *given, "--renderer", renderer, "--weights", "weights")
        assert (said.code, said.out, said.new) == (5, "", ()), said.err
        assert said.err.startswith(f"thgen: error: weights/{name}: {words}") and said.err.count("\n") == 1
        path.unlink()

    return check


def shipped(name: str) -> bytes:
    return (shipped_weights() / name).read_bytes()


@pytest.mark.parametrize("name", NETWORKS)
def test_generate_refuses_checkpoints_that_are_damaged_or_of_another_stage(refused, name):
    refused(name, b"PK\x03\x04 a pickle in an archive", "not a thgen checkpoint; expected safetensors with a 'thgen'")
    refused(name, shipped(name)[:-100], "damaged checkpoint (")
    other = NETWORKS[NETWORKS.index(name) - 1]
    stages = [path.partition(".")[0] for path in (other, name)]
    refused(name, shipped(other), "a checkpoint of '{}', expected one of '{}'".format(*stages))


@pytest.mark.parametrize("name", TABLES)
def test_generate_refuses_tables_that_are_damaged_or_other_ones(refused, name):
    refused(name, b"\x80\x04 a pickle", "damaged, or no safetensors file (")
    refused(name, shipped(name)[:-100], "damaged, or no safetensors file (")
    refused(name, shipped(TABLES[TABLES.index(name) - 1]), "its '")


@pytest.mark.parametrize("name", GRAPHS[:2])
def test_generate_refuses_tracker_networks_that_are_damaged_or_other_ones(refused, name):
    refused(name, b"\x80\x04 a pickle", "not a network of this tracker (no ONNX model, or a damaged one); get")
    refused(name, shipped(name)[: len(shipped(name)) // 2], "not a network of this tracker (no ONNX model, or a dam")
    refused(name, shipped(GRAPHS[1 - GRAPHS.index(name)]), "not a network of this tracker (it makes ")


@pytest.mark.parametrize("name", [*NETWORKS[:2], *TABLES, *GRAPHS[:2]])
def test_generate_refuses_files_that_their_folder_does_not_list(refused, folder, weights, name):
    weights(MANIFEST, f"{'0' * 64}  {name}\n".encode())
    content = shipped(name)
    found = sha256(shipped_weights() / name)
    refused(name, content, f"SHA-256 is {found[:12]}…, SHA256SUMS lists 000000000000…; get the file again")
    weights(MANIFEST, b"")
    refused(name, content, "not listed in SHA256SUMS; add it with 'thgen weights add'")


def test_shipped_weights_are_listed_with_their_hashes():
    listed = dict(line.split()[::-1] for line in (shipped_weights() / MANIFEST).read_text().splitlines())
    there = [path for path in shipped_weights().iterdir() if path.suffix in (".safetensors", ".onnx")]
    assert {path.name: sha256(path) for path in there} == listed


def with_tensor(at: str, outside: Path) -> bytes:
    """Return a network y = x + w whose w is in another file: as an initializer, an attribute, or inside a branch."""
    from onnx import TensorProto, helper

    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[64], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=outside.name)
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64]) for name in "xy"]
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    add = helper.make_node("Add", ["x", "w"], ["y"])
    inside = {
        "initializer": ([add], [tensor]),
        "attribute": ([constant, add], []),
    }
    nodes, initializers = inside.get(at, ([], []))
    if at == "branch":
        branch = helper.make_graph([constant], "branch", [], [helper.make_tensor_value_info("w", 1, [64])])
        always = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
        choice = helper.make_node("If", ["yes"], ["w"], then_branch=branch, else_branch=branch)
        nodes = [always, choice, add]
    graph = helper.make_graph(nodes, "graph", sides[:1], sides[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


@pytest.mark.parametrize("at", ["initializer", "attribute", "branch"])
def test_generate_refuses_a_network_with_tensors_in_other_files(refused, folder, at):
    outside = folder / "canary.bin"
    np.arange(64, dtype=np.float32).tofile(outside)
    content = with_tensor(at, outside)
    words = "keeps tensors in other files, which thgen does not read; export it as one file"
    refused("detection.onnx", content, words)
    assert refers_elsewhere(content)


def test_shipped_networks_refer_to_no_other_files():
    for name in GRAPHS:
        assert not refers_elsewhere(shipped(name))
        assert open_network(shipped_weights() / name, "thgen").get_inputs()


def test_refers_elsewhere_reads_numbers_in_overlong_encoding(folder):
    content = with_tensor("initializer", folder / "canary.bin")
    at = content.index(b"\x6a")  # This is field 13 of a tensor, external_data.
    length = content[at + 1]
    hidden = bytes([0x6A, length | 0x80, 0]) + content[at + 2 : at + 2 + length]
    in_a_tensor_of_a_graph = bytes([0x3A, len(hidden) + 2, 0x2A, len(hidden)]) + hidden
    assert refers_elsewhere(in_a_tensor_of_a_graph)


def test_train_refuses_a_configuration_with_an_unknown_key(thgen, folder, tmp_path):
    (folder / "c.yaml").write_text("expression:\n  train:\n    step: 5\n")
    said = thgen("train", "expression", "--data", "here", "--out", "run", "--config", "c.yaml")
    said.refused(2, "c.yaml: unknown key 'expression.train.step'; did you mean 'expression.train.steps'?")


def test_train_refuses_a_configuration_that_would_run_code(thgen, folder):
    (folder / "c.yaml").write_text("expression: !!python/object/apply:os.system ['touch trap']\n")
    said = thgen("train", "expression", "--data", "here", "--out", "run", "--config", "c.yaml")
    assert (said.code, said.out, said.new) == (2, "", ())
    assert said.err.startswith("thgen: error: c.yaml: not YAML") and said.err.count("\n") == 1


def test_generate_refuses_curves_with_missing_rows(generate, thgen, folder):
    assert generate("photo.png", "speech.wav", "--save-curves", "c.csv").code == 0
    lines = (folder / "c.csv").read_text().splitlines(keepends=True)
    (folder / "c.csv").write_text("".join(lines[:2] + lines[3:]))
    message = "c.csv: row 3 is frame 2, expected 1; give all frames in order"
    for option in ("--motion", "--expression"):
        for dry in ([], ["--dry-run"]):
            generate("photo.png", "speech.wav", option, "c.csv", "-o", "b.mp4", *dry).refused(3, message)
    (folder / "c.csv").write_text(lines[0])
    message = "c.csv: no rows below the header, expected one a frame at 25 frames a second"
    generate("photo.png", "speech.wav", "--motion", "c.csv", "-o", "b.mp4").refused(3, message)
