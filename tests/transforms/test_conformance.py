"""What every transformer keeps to: scikit-learn's own checks, and those of a panel."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from mts_fusion.estimators import RocketFeatures
from mts_fusion.panel import Panel
from mts_fusion.transforms import (
    MissingnessMasker,
    ModalityGrouper,
    PanelScaler,
    PanelSummarizer,
    SAXTokenizer,
)

ON_PANELS = [
    PanelScaler(),
    PanelScaler(method="robust", clip_quantiles=(0.1, 0.9)),
    SAXTokenizer(),
    SAXTokenizer(scope="instance", breakpoints="quantile"),
    PanelSummarizer(),
    RocketFeatures(kinds=("multirocket",), n_groups=2, random_state=0),
    MissingnessMasker(random_state=0),
    MissingnessMasker(pattern="block", random_state=0),
    MissingnessMasker(pattern="span", random_state=0),
    MissingnessMasker(pattern="point", random_state=0),
]
ON_ARRAYS = [*ON_PANELS, ModalityGrouper({"acc": [0]})]


def bits(result):
    """Everything in a result, as one comparable string of bytes."""
    if isinstance(result, np.ndarray):
        return result.tobytes()
    return b"".join(result.values[name].tobytes() for name in result.schema.names)


@pytest.mark.parametrize("transformer", ON_ARRAYS, ids=repr)
def test_scikit_learn_finds_nothing(transformer, monkeypatch):
    # Its checks compare outputs as arrays; a panel is none, so they are shown one.
    def as_array(panel, dtype=None, copy=None):
        flat = [values.reshape(len(panel), -1) for values in panel.values.values()]
        return np.concatenate(flat, axis=1).astype(dtype)

    monkeypatch.setattr(Panel, "__array__", as_array, raising=False)

    results = check_estimator(transformer, on_fail=None, on_skip=None)

    assert [r["check_name"] for r in results if r["status"] == "failed"] == []
    assert sum(r["status"] == "passed" for r in results) >= 44


@pytest.mark.parametrize("transformer", ON_PANELS, ids=repr)
def test_input_stays_as_it_was(transformer, panel):
    before = pickle.dumps((panel.values, panel.observed))

    transformer.fit_transform(panel)

    assert pickle.dumps((panel.values, panel.observed)) == before


@pytest.mark.parametrize("transformer", ON_PANELS, ids=repr)
def test_clone_and_pickle_give_the_same(transformer, panel):
    fitted = clone(transformer).fit(panel)

    copies = [pickle.loads(pickle.dumps(fitted)), clone(transformer).fit(panel)]

    assert {bits(copy.transform(panel)) for copy in copies} == {bits(fitted.transform(panel))}


@pytest.mark.parametrize("transformer", ON_PANELS, ids=repr)
def test_samples_are_transformed_one_by_one(transformer, panel):
    fitted = clone(transformer).fit(panel)
    order = np.random.default_rng(1).permutation(len(panel))

    together = fitted.transform(panel)
    alone = [fitted.transform(panel[int(i)]) for i in order]

    assert [bits(result) for result in alone] == [bits(together[i : i + 1]) for i in order]


@pytest.mark.parametrize("transformer", ON_PANELS, ids=repr)
def test_values_behind_a_silent_sensor_do_not_matter(transformer, panel):
    observed = panel.observed
    garbage = {
        name: np.where(observed[name], panel.values[name], 1e6) for name in panel.schema.names
    }
    dirty = panel.replace(values=garbage, observed=observed)

    clean_result = clone(transformer).fit(panel).transform(panel)
    result = clone(transformer).fit(dirty).transform(dirty)

    if isinstance(result, np.ndarray):
        np.testing.assert_array_equal(result, clean_result)
        return
    for name in result.schema.names:
        np.testing.assert_array_equal(result.observed[name], clean_result.observed[name])
        o = result.observed[name]
        np.testing.assert_array_equal(result.values[name][o], clean_result.values[name][o])


@pytest.mark.parametrize("transformer", ON_PANELS, ids=repr)
def test_transform_before_fit_is_refused(transformer, panel):
    with pytest.raises(NotFittedError):
        clone(transformer).transform(panel)


@pytest.mark.parametrize("transformer", ON_PANELS, ids=repr)
def test_other_channels_than_in_fit_name_the_modality(transformer, panel):
    fitted = clone(transformer).fit(panel)
    other = panel.replace(values={"gyro": np.zeros((12, 3, 10))})

    message = "Modality 'gyro' has 3 channels, but 2 were seen in fit."
    with pytest.raises(ValueError, match=message):
        fitted.transform(other)


@pytest.mark.parametrize("transformer", ON_PANELS, ids=repr)
def test_longer_windows_than_in_fit_are_welcome(transformer, panel):
    fitted = clone(transformer).fit(panel)
    longer = panel.replace(values={"temp": np.tile(panel.values["temp"], 2)})

    assert len(fitted.transform(longer)) == len(panel)
