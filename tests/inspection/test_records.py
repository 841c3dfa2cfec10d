"""What is read from the record of a network."""

import re

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline

from mts_fusion.inspection import attention_budgets, attention_maps, expert_routing
from mts_fusion.panel import Panel


class Explains(BaseEstimator):
    """Fitted estimator with a record."""

    def __init__(self, record=None):
        self.record = record

    def fit(self, X, y=None):
        return self

    def explain(self, X):
        return {key: value[: len(X)] for key, value in self.record.items()}

    def __sklearn_is_fitted__(self):
        return True


class DropsSecond(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X.drop([X.schema.names[1]])

    def __sklearn_is_fitted__(self):
        return True


@pytest.fixture
def panel():
    values = {"acc": np.ones((3, 2, 6)), "hr": np.ones((3, 1, 4))}
    values["hr"][1] = np.nan
    return Panel(values)


def test_budgets_tell_where_the_modality_was_silent(panel):
    table = attention_budgets(Explains({"budget": np.array([[3, 1], [2, 0], [4, 2]])}), panel)
    assert table["budget"].tolist() == [3, 1, 2, 0, 4, 2]
    assert table["modality"].tolist() == ["acc", "hr"] * 3
    assert table.loc[~table["available"], "budget"].tolist() == [0]


def test_tokens_are_counted_by_modality_and_expert(panel):
    expert = np.array([[0, 1, 1, 1, 2], [0, 0, 0, -1, -1], [2, 2, 2, 2, 2]])[..., None]
    record = {
        "expert": expert,
        "gate": np.zeros((3, 5, 3)),
        "modality": np.array([[0, 0, 0, 1, 1]] * 3),
        "available": expert[..., 0] >= 0,
    }
    share = expert_routing(Explains(record), panel)["share"].to_numpy().reshape(3, 2, 3)
    np.testing.assert_allclose(share[0], [[1 / 3, 2 / 3, 0], [0, 0.5, 0.5]])
    np.testing.assert_allclose(share[1, 0], [1, 0, 0])
    assert np.isnan(share[1, 1]).all()
    np.testing.assert_allclose(share[2], [[0, 0, 1], [0, 0, 1]])


def test_several_experts_a_token_share_it(panel):
    record = {
        "expert": np.array([[[0, 1], [0, 2], [1, 2]]] * 3),
        "gate": np.zeros((3, 3, 3)),
        "modality": np.array([[0, 0, 1]] * 3),
    }
    share = expert_routing(Explains(record), panel)["share"].to_numpy().reshape(3, 2, 3)
    np.testing.assert_allclose(share[0], [[0.5, 0.25, 0.25], [0, 0.5, 0.5]])


def test_gates_of_modalities_are_averaged_over_layers(panel):
    gate = np.array([[[[1, 3]] * 2, [[3, 1]] * 2]] * 3, dtype=float)  # (n, layers, M, E)
    share = expert_routing(Explains({"gate": gate}), panel)["share"].to_numpy().reshape(3, 2, 2)
    np.testing.assert_allclose(share[0], 0.5)
    assert np.isnan(share[1, 1]).all()


def test_attention_of_an_absent_modality_is_nan(panel):
    attention = np.full((3, 2, 2), 0.5)
    maps = attention_maps(Explains({"attention": attention}), panel)
    assert maps.rows == maps.columns == ("acc", "hr")
    assert np.isnan(maps.attention[1, 1]).all()
    np.testing.assert_array_equal(maps.attention[[0, 2]], 0.5)
    assert not np.isnan(attention).any()  # the record stays


def test_layers_of_attention_are_averaged(panel):
    attention = np.stack([np.zeros((3, 2, 2)), np.ones((3, 2, 2))], axis=1)
    maps = attention_maps(Explains({"attention": attention}), panel)
    np.testing.assert_array_equal(maps.attention[0], 0.5)


def test_attention_between_tokens_knows_their_modality(panel):
    record = {
        "token_attention": np.full((3, 3, 3), 1 / 3),
        "modality": np.array([[0, 0, 1]] * 3),
        "available": np.array([[True, True, True], [True, True, False], [True, True, True]]),
    }
    maps = attention_maps(Explains(record), panel, level="token")
    assert maps.rows == ("acc", "acc", "hr")
    assert np.isnan(maps.attention[1, 2]).all()


def test_attention_over_the_time_of_a_modality_is_averaged_over_heads(panel):
    attention = np.stack([np.zeros((3, 2, 6)), np.ones((3, 2, 6))], axis=1)
    maps = attention_maps(
        Explains({"time_attention_acc": attention}), panel, level="token", modality="acc"
    )
    assert maps.attention.shape == (3, 2, 6)
    assert (maps.attention == 0.5).all()
    assert maps.columns == ("acc",) * 6


def test_a_pipeline_is_explained_by_its_last_step(panel):
    record = {"budget": np.array([[3.0], [2.0], [1.0]])}
    table = attention_budgets(make_pipeline(DropsSecond(), Explains(record)), panel)
    assert table["modality"].tolist() == ["acc"] * 3


def test_a_search_is_explained_by_its_best_estimator(panel):
    class Search:
        best_estimator_ = Explains({"budget": np.zeros((3, 2))})

    assert len(attention_budgets(Search(), panel)) == 6


def test_an_estimator_that_records_nothing_is_refused(classifier, data):
    message = (
        "LogisticRegression has no explain(X), so that nothing was recorded. "
        "Use an estimator of mts_fusion, or modality_importance, which takes any."
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        attention_budgets(classifier, data[0])


@pytest.mark.parametrize(
    ("call", "key"),
    [
        (attention_budgets, "budget"),
        (expert_routing, "gate"),
        (attention_maps, "attention"),
        (lambda *args: attention_maps(*args, level="token"), "token_attention"),
        (lambda *args: attention_maps(*args, level="token", modality="hr"), "time_attention_hr"),
    ],
)
def test_a_record_without_the_key_is_refused(panel, call, key):
    message = f"The record of Explains has no '{key}'; it has ['weight']"
    with pytest.raises(ValueError, match=re.escape(message)):
        call(Explains({"weight": np.zeros((3, 2))}), panel)


def test_an_unknown_level_is_refused(panel):
    with pytest.raises(ValueError, match="level is 'modality' or 'token', got 'head'"):
        attention_maps(Explains({}), panel, level="head")
