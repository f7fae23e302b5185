"""Configurations: shipped ones, files and overrides, and what is said of mistakes in them."""

from pathlib import Path

import pytest
import yaml

from thcli.config import SHIPPED, load_config, make_dims, to_yaml
from thcli.configs.sections import Config
from thcli.errors import UsageError
from thgen_models.expression import ExpressionDims


def test_load_config_without_a_name_is_lite_and_the_defaults() -> None:
    assert load_config("lite") == load_config() == Config()


@pytest.mark.parametrize("name", SHIPPED)
def test_load_config_reads_what_to_yaml_writes(tmp_path: Path, name: str) -> None:
    config = load_config(name)
    (tmp_path / "c.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "c.yaml") == config


@pytest.mark.parametrize("name", SHIPPED)
def test_make_dims_takes_the_networks_of_shipped_configurations(name: str) -> None:
    make_dims(ExpressionDims, load_config(name).expression.network, name)


def test_load_config_applies_overrides_last_and_takes_numbers_as_text() -> None:
    config = load_config("tiny", ["expression.train.lr=1e-4", "expression.train.steps=7", "expression.network.width=8"])
    assert config.expression.train.lr == 1e-4 and config.expression.train.steps == 7
    assert config.expression.network["width"] == 8
    assert config.expression.network["dilations"] == [1]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("expresion.train.lr=1", "unknown key 'expresion'; did you mean 'expression'"),
        ("expression.train.step=1", "unknown key 'expression.train.step'; did you mean 'expression.train.steps'"),
        ("expression.train.steps=many", "'expression.train.steps' is 'many', expected int"),
        ("expression.train.steps=true", "expected int"),
        ("expression.train=3", "'expression.train' is a section"),
        ("expression.train.steps", "expected KEY=VALUE"),
        ("expression.train.steps=[", "not YAML"),
    ],
)
def test_load_config_names_mistakes_in_overrides(override: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        load_config(None, [override])
    assert message in str(error.value) and override in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "expression: [", "motion: {trian: {}}", "3"])
def test_load_config_names_files_with_mistakes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"bad.yaml"):
        load_config(path)


def test_load_config_refuses_a_missing_file() -> None:
    with pytest.raises(UsageError, match="give a YAML file or one of lite, tiny, paper"):
        load_config("nowhere.yaml")


def test_make_dims_reads_sizes_and_names_unknown_ones() -> None:
    dims = make_dims(ExpressionDims, yaml.safe_load("{width: 8, dilations: [1, 2]}"), "x")
    assert dims.width == 8 and dims.dilations == (1, 2)
    with pytest.raises(UsageError, match="did you mean 'width'"):
        make_dims(ExpressionDims, {"widht": 8}, "x")
