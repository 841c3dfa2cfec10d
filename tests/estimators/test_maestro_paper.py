"""MaestroClassifier.from_paper is the network, the symbols and the training of the paper."""

import pytest
from sklearn.base import clone

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import MaestroClassifier, MaestroRegressor
from mts_fusion.inspection import attention_budgets

DATASETS = ["wesad", "dalia", "dsads", "mimic3"]


@pytest.fixture(scope="module")
def data():
    return make_panel_classification(
        n_samples=40,
        modalities={"acc": (2, 8.0), "hr": (1, 8.0)},
        missing_modality_fraction=0.2,
        random_state=0,
    )


@pytest.fixture(scope="module")
def fitted(data):
    return (
        MaestroClassifier.from_paper("wesad", random_state=0)
        .set_params(clf__max_epochs=1)
        .fit(*data)
    )


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_settings_are_those_of_the_paper(dataset):
    model = clone(MaestroClassifier.from_paper(dataset, random_state=3))

    sax, clf = model["sax"], model["clf"]
    assert (sax.alphabet_size, sax.scope) == (20, "instance")
    assert sax.segment_length == (1 if dataset == "dsads" else 2)
    assert (clf.n_experts, clf.n_active_experts, clf.d_model, clf.n_heads) == (4, 1, 64, 8)
    assert (clf.n_intra_layers, clf.n_cross_layers, clf.d_hidden) == (2, 2, 256)
    assert (clf.modality_dropout, clf.modality_dropout_spread) == (0.4, False)
    assert (clf.n_warmup_epochs, clf.n_curriculum_epochs, clf.max_epochs) == (10, 150, 150)
    assert (clf.attention_budget, clf.max_budget, clf.cross_budget) == ("learnt", 5.0, 5.0)
    assert (clf.optimizer, clf.n_estimators, clf.calibration) == ("adam", 1, None)
    assert clf.dropout == (0.3 if dataset == "dsads" else 0.1)
    assert clf.patience is not None
    assert clf.random_state == 3


def test_the_network_is_that_of_the_paper_and_has_no_fixed_features(fitted, data):
    (net,) = fitted["clf"].nets_
    module = net.module_
    assert module.features is None
    assert module.linear_head is None
    assert module.budget.gate is not None
    assert module.missing is not None
    assert [layer.distilling is not None for layer in module.intra] == [True, True]
    assert [layer.budget for layer in module.cross] == [5.0, 5.0]
    assert [layer.experts.experts.weight_in.shape for layer in module.cross] == [(4, 64, 256)] * 2
    assert fitted["clf"].features_ is None
    # 16 timepoints are 8 symbols, which two layers distil to 2 tokens a modality.
    assert fitted["clf"].explain(fitted["sax"].transform(data[0]))["available"].shape == (40, 4)


def test_its_budgets_are_real_numbers_also_for_what_is_absent(fitted, data):
    budgets = attention_budgets(fitted, data[0])
    assert ((budgets["budget"] > 0) & (budgets["budget"] < 5)).all()
    assert not budgets["available"].all()


def test_without_symbols_the_timepoints_are_the_tokens(data):
    model = MaestroClassifier.from_paper("wesad", symbols=False, random_state=0)
    model.set_params(clf__max_epochs=1).fit(*data)
    assert model.predict_proba(data[0]).shape == (40, 3)
    assert all(modality.vocabulary is None for modality in model["clf"].schema_)
    assert model["clf"].explain(data[0])["available"].shape == (40, 8)


def test_a_data_set_that_is_not_of_the_paper_is_an_error():
    with pytest.raises(ValueError, match=r"\['wesad', 'dalia', 'dsads', 'mimic3'\], got 'pamap2'"):
        MaestroClassifier.from_paper("pamap2")
    assert not hasattr(MaestroRegressor, "from_paper")
