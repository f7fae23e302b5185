"""``compare``: the list of metrics, and the figures of a pair and of several pairs."""

import math
from pathlib import Path

import numpy as np
import pytest

from thcli.errors import UsageError
from thcli.evaluation import compare, metrics
from thcli.evaluation.compare import all_metrics, choose_metrics, measure, measure_to_pool, pool
from thcli.evaluation.metric import Figure, Metric, Pooled, not_computed
from thcli.evaluation.metric_models import MetricModels


def metric(name, value, pooled=None):
    return Metric(name, name, "", "", "", "higher", lambda pair, models: Figure(value, 1), pooled)


def distance(made, true):
    return Figure(float(abs(made.mean() - true.mean())), len(made))


def test_modules_lists_every_file_of_metrics():
    files = {path.stem for path in Path(metrics.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(compare.MODULES)
    assert len(compare.MODULES) == len(set(compare.MODULES))


def test_all_metrics_say_what_they_are_under_names_of_their_own():
    names = [one.name for one in all_metrics()]
    assert len(names) == len(set(names))
    assert len({one.title for one in all_metrics()}) == len(names)
    for one in all_metrics():
        assert one.name.isidentifier() and one.name == one.name.lower()
        assert one.definition and one.source and one.inputs, one.name
        assert one.better in ("higher", "lower", "real")


def test_choose_metrics_keeps_the_order_of_the_table():
    names = [one.name for one in all_metrics()]
    assert [one.name for one in choose_metrics(None)] == names
    assert [one.name for one in choose_metrics([names[3], names[0], names[3]])] == [names[0], names[3]]


def test_choose_metrics_names_the_known_ones_for_an_unknown_one():
    with pytest.raises(UsageError, match=r"^--metrics sim: no such metric, expected some of lmd_sum,lmd,"):
        choose_metrics(["lmd", "sim"])
    with pytest.raises(UsageError, match=r"^--metrics: no metric is named, expected some of lmd_sum,"):
        choose_metrics([])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_measure_gives_no_figure_for_nan_and_infinity(pair, value):
    found = measure(pair(), [metric("good", 0.5), metric("odd", value)], MetricModels())
    assert found["good"] == Figure(0.5, 1)
    assert found["odd"].value is None
    assert found["odd"].why.startswith("came to ")


def test_measure_to_pool_computes_features_once(pair):
    calls = []

    def features(of, models):
        calls.append(of)
        return np.full((3, 2), 1.0), np.full((3, 2), 4.0)

    pooled = metric("pooled", 0.0, Pooled(features, distance))
    measured = measure_to_pool(pair(), [pooled], MetricModels())
    assert measured.figures["pooled"] == Figure(3.0, 3)
    assert len(calls) == 1
    assert set(measured.features) == {"pooled"}


def test_measure_to_pool_says_why_there_are_no_features(pair):
    pooled = metric("pooled", 0.0, Pooled(lambda of, models: not_computed("no network"), distance))
    measured = measure_to_pool(pair(), [pooled], MetricModels())
    assert measured.figures["pooled"] == not_computed("no network")
    assert measured.features == {}


def test_pool_compares_all_frames_of_all_pairs_of_a_method():
    pooled = metric("pooled", 0.0, Pooled(lambda of, models: None, distance))
    one = {"pooled": (np.zeros((1, 2)), np.full((1, 2), 2.0))}
    other = {"pooled": (np.full((3, 2), 4.0), np.full((3, 2), 2.0))}
    found = pool({"predicted": [one, other, {}], "real": [other], "none": [{}]}, [pooled, metric("plain", 1.0)])
    assert found["predicted"]["pooled"] == Figure(1.0, 4), "a mean over the pairs would be 2"
    assert found["real"]["pooled"] == Figure(2.0, 3)
    assert "none" not in found
    assert set(found["predicted"]) == {"pooled"}
