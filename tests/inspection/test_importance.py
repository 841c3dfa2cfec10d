"""modality_importance: how much of the score is due to each modality."""

import re
from itertools import permutations

import joblib
import numpy as np
import pytest

from mts_fusion.datasets import make_panel_classification
from mts_fusion.inspection import modality_importance
from mts_fusion.panel import Panel


class WorthOf:
    """Fitted estimator whose score is a function of the set of modalities it gets."""

    def __init__(self, value):
        self.value = value

    def fit(self, X, y):
        return self

    def score(self, X, y):
        names = np.array(X.schema.names)
        return self.value(frozenset(names[X.available[0]]))


def constant_panel(n_modalities, n=2):
    return Panel({f"m{m:02d}": np.ones((n, 1, 3)) for m in range(n_modalities)})


def importance(estimator, panel, y=None, **options):
    y = np.zeros(len(panel)) if y is None else y
    table = modality_importance(estimator, panel, y, verbose=0, **options)
    return table.set_index("modality")


def game(modalities):
    """Two redundant sensors, one that needs another, one of no use."""
    return (
        0.3 * bool({"m00", "m01"} & modalities)
        + 0.5 * ({"m02", "m03"} <= modalities)
        + 0.1 * ("m02" in modalities)
    )


def test_shapley_values_equal_those_over_all_orders():
    panel = constant_panel(5)
    table = importance(WorthOf(game), panel, method="shapley")
    names = panel.schema.names
    wanted = dict.fromkeys(names, 0.0)
    orders = list(permutations(names))
    for order in orders:
        for k, name in enumerate(order):
            rise = game(frozenset(order[: k + 1])) - game(frozenset(order[:k]))
            wanted[name] += rise / len(orders)
    for name in names:
        assert table["importance"][name] == pytest.approx(wanted[name])
    assert table["importance"].sum() == pytest.approx(game(frozenset(names)))
    assert (table["standard_error"] == 0).all()


def test_removal_misses_what_another_sensor_tells():
    table = importance(WorthOf(game), constant_panel(5), method="removal")
    np.testing.assert_allclose(table["importance"], [0, 0, 0.6, 0.5, 0], atol=1e-12)


def test_sampled_shapley_values_have_error_bars_that_cover_the_truth():
    table = importance(
        WorthOf(game), constant_panel(10), method="shapley", n_repeats=40, random_state=0
    )
    truth = np.array([0.15, 0.15, 0.35, 0.25] + [0.0] * 6)
    assert (np.abs(table["importance"] - truth) <= 4 * table["standard_error"] + 1e-9).all()
    assert (table["standard_error"][:4] < 0.04).all()
    assert (table["n_draws"] == 40).all()
    assert table["importance"].sum() == pytest.approx(game(frozenset(table.index)))


def test_the_standard_error_is_that_of_a_mean_of_draws():
    three = lambda kept: float({"m00", "m01", "m02"} <= kept)  # noqa: E731
    table = importance(
        WorthOf(three), constant_panel(9), method="shapley", n_repeats=11, random_state=0
    )
    # An order and its reverse are one draw: .5 where m00 is the first or last of the three, or 0.
    share = 2 * table["importance"]["m00"]
    assert 0 < share < 1
    wanted = 0.5 * np.sqrt(share * (1 - share) / 10)
    assert table["standard_error"]["m00"] == pytest.approx(wanted)


def test_a_single_draw_has_no_error():
    table = importance(WorthOf(game), constant_panel(9), method="shapley", n_repeats=1)
    assert table["standard_error"].isna().all()


@pytest.mark.parametrize("method", ["removal", "permutation", "shapley"])
def test_the_informative_modality_comes_first(classifier, data, method):
    table = importance(
        classifier, *data, method=method, n_repeats=3, scoring="neg_log_loss", random_state=0
    )
    assert table["importance"].idxmin() == "m2"
    assert (table["importance"][["m0", "m1"]] > 0).all()
    assert set(table["method"]) == {method}


def test_permutation_keeps_the_samples_of_a_modality_together():
    rng = np.random.default_rng(0)
    time = np.sort(rng.uniform(0, 5, size=(20, 6)), axis=1)
    panel = Panel(
        {"a": time[:, None], "b": rng.normal(size=(20, 1, 4))},
        times={"a": time},
    )

    class TimesFit(WorthOf):
        def score(self, X, y):
            same = np.allclose(X.values["a"][:, 0], X.times["a"], atol=1e-5)
            return float(same and np.array_equal(X.observed["a"], panel.observed["a"]))

    table = importance(TimesFit(None), panel, method="permutation", n_repeats=2)
    assert (table["importance"] == 0).all()


def test_importance_is_the_same_in_parallel(classifier, data):
    options = {"method": "permutation", "n_repeats": 2, "random_state": 0}
    one = importance(classifier, *data, **options)
    with joblib.parallel_config("threading", n_jobs=2):
        assert one.equals(importance(classifier, *data, **options))


def test_a_single_modality_is_refused_with_the_way_out(classifier):
    X, y = make_panel_classification(20, modalities=1, random_state=0)
    message = (
        "X has the single modality 'm0', but importance compares at least two. "
        "Split its channels with ModalityGrouper, or see missingness_curve(pattern='point')."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        modality_importance(classifier, X, y, verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"method": "lime"}, "method='lime' is unknown"), ({"n_repeats": 0}, "at least 1, got 0")],
)
def test_bad_options_are_refused(classifier, data, options, message):
    with pytest.raises(ValueError, match=message):
        modality_importance(classifier, *data, verbose=0, **options)
