"""sktime's own checks of the adapters, and data of the UEA archive."""

import importlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sktime.datasets
from sktime.datatypes import convert
from sktime.utils.estimator_checks import check_estimator

from mts_fusion import (
    MaestroClassifier,
    PanelImputer,
    PanelScaler,
    PanelSummarizer,
    PatternRidgeClassifier,
    SAXTokenizer,
)
from mts_fusion.interop import sktime as interop
from mts_fusion.interop.sktime import SktimeClassifier, SktimeImputer, SktimeTransformer, load_uea


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(interop.__all__) - {"load_uea"}))
def test_sktime_finds_nothing(name):
    results = check_estimator(getattr(interop, name), raise_exceptions=False, verbose=False)

    assert {test: result for test, result in results.items() if result != "PASSED"} == {}
    assert len(results) >= 100


@pytest.mark.parametrize("mtype", ["numpy3D", "nested_univ", "pd-multiindex", "df-list"])
def test_every_panel_type_of_sktime_gives_the_same_predictions(mtype):
    small = {"d_model": 8, "n_heads": 2, "n_intra_layers": 1, "n_cross_layers": 1, "n_experts": 2}
    maestro = MaestroClassifier(**small, max_epochs=1, device="cpu", random_state=0)
    X, y = np.random.default_rng(0).normal(size=(12, 2, 9)), np.arange(12) % 2
    expected = SktimeClassifier(maestro).fit(X, y).predict_proba(X)

    clf = SktimeClassifier(maestro).fit(convert(X, "numpy3D", mtype, "Panel"), y)

    np.testing.assert_array_equal(
        clf.predict_proba(convert(X, "numpy3D", mtype, "Panel")), expected
    )


def test_an_adapter_predicts_what_its_estimator_predicts():
    X, y = np.random.default_rng(0).normal(size=(12, 2, 9)), np.repeat(["a", "b"], 6)
    ridge = PatternRidgeClassifier(kinds=("statistics",), random_state=0)

    clf = SktimeClassifier(ridge).fit(X, y)

    np.testing.assert_array_equal(clf.predict_proba(X), ridge.fit(X, y).predict_proba(X))


def test_rows_keep_their_stamps_where_days_are_left_out():
    days = pd.date_range("2020-01-01", periods=9, freq="D")
    whole = pd.DataFrame({"a": np.arange(9.0)}, index=days)
    gaps = whole.drop(days[[2, 3]])
    gaps.iloc[4, 0] = np.nan

    filled = SktimeImputer(PanelImputer()).fit_transform([whole, gaps])[1]
    scaled = SktimeTransformer(PanelScaler()).fit_transform([whole, whole.drop(days[[2, 3]])])

    assert filled.index.equals(gaps.index)
    assert filled["a"].tolist() == [0, 1, 4, 5, 5, 7, 8]
    np.testing.assert_array_equal(scaled[1]["a"], scaled[0]["a"].drop(days[[2, 3]]))


@pytest.mark.parametrize("other", [PanelSummarizer(), SAXTokenizer(segment_length=3)])
def test_a_transformer_that_keeps_no_timepoints_is_refused(other):
    X = np.random.default_rng(0).normal(size=(4, 2, 9))

    with pytest.raises(TypeError, match=r"does not keep channels and timepoints\. Take SktimeF"):
        SktimeTransformer(other).fit_transform(X)


def test_without_sktime_the_import_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("mts_fusion.interop.sktime")]:
        monkeypatch.delitem(sys.modules, name)  # put back after the test
    monkeypatch.setitem(sys.modules, "sktime", None)

    with pytest.raises(ImportError, match=r"requires sktime: pip install 'mts-fusion\[sktime\]'\."):
        importlib.import_module("mts_fusion.interop.sktime")


def test_load_uea_reads_a_folder_and_asks_before_it_downloads(tmp_path, monkeypatch):
    name = "UnitTest"
    shutil.copytree(Path(sktime.datasets.__file__).parent / "data" / name, tmp_path / name)
    data = load_uea(name, data_home=tmp_path)
    train = load_uea(name, data_home=tmp_path, split="train")

    assert len(data.data) == len(data.target) == 42
    assert len(train.data) == 20
    np.testing.assert_array_equal(data.target[:20], train.target)
    asked = []
    monkeypatch.setattr(sktime.datasets, "load_UCR_UEA_dataset", lambda *a, **k: asked.append(a))
    with pytest.raises(FileNotFoundError, match="or pass download=True"):
        load_uea("Heartbeat", data_home=tmp_path)
    assert asked == []
    with pytest.raises(ValueError, match="split is 'train'"):
        load_uea(name, split="valid")
