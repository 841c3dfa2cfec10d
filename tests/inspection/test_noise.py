"""Scores of a fitted estimator on spoiled input."""

import re

import joblib
import numpy as np
import pytest

from mts_fusion.inspection import noise_robustness
from mts_fusion.panel import Panel, Vocabulary


class Remembers:
    """Fitted estimator that keeps the panels it is scored on."""

    def __init__(self):
        self.panels = []

    def fit(self, X, y):
        return self

    def score(self, X, y):
        self.panels.append(X)
        return 0.0


@pytest.fixture
def panel():
    rng = np.random.default_rng(0)
    values = 10 + 3 * rng.normal(size=(200, 2, 40))
    values[:, 1] *= 100
    values[0, :, 30:] = np.nan  # a shorter sample
    values[1, 0, ::2] = np.nan
    return Panel({"acc": values, "hr": rng.normal(size=(200, 1, 8))})


def spoil(panel, noise, **options):
    model = Remembers()
    noise_robustness(
        model, panel, np.zeros(len(panel)), noises=[noise], n_repeats=1, verbose=0, **options
    )
    assert model.panels[0] is panel
    return model.panels[1]


def test_additive_noise_has_the_size_asked_for_in_every_channel(panel):
    change = spoil(panel, "additive", sigma=0.5, random_state=0).values["acc"] - panel.values["acc"]
    spread = np.nanstd(panel.values["acc"], axis=(0, 2))
    np.testing.assert_allclose(np.nanstd(change, axis=(0, 2)) / spread, 0.5, rtol=0.05)


@pytest.mark.parametrize("noise", ["additive", "random", "spikes"])
def test_noise_leaves_gaps_without_a_value(panel, noise):
    noisy = spoil(panel, noise, random_state=0)
    np.testing.assert_array_equal(np.isnan(noisy.values["acc"]), np.isnan(panel.values["acc"]))


def test_random_noise_keeps_level_and_spread_and_nothing_else(panel):
    noisy = spoil(panel, "random", random_state=0).values["acc"]
    clean = panel.values["acc"]
    np.testing.assert_allclose(np.nanmean(noisy, (0, 2)), np.nanmean(clean, (0, 2)), rtol=0.05)
    np.testing.assert_allclose(np.nanstd(noisy, (0, 2)), np.nanstd(clean, (0, 2)), rtol=0.05)
    observed = ~np.isnan(clean[:, 0])
    assert abs(np.corrcoef(noisy[:, 0][observed], clean[:, 0][observed])[0, 1]) < 0.05


def test_spikes_strike_the_share_asked_for(panel):
    noisy = spoil(panel, "spikes", sigma=0, spike_fraction=0.1, spike_size=4, random_state=0)
    change = (noisy.values["acc"] - panel.values["acc"])[2:, 0]
    size = 4 * np.nanstd(panel.values["acc"][:, 0])
    struck = np.abs(change) > 1e-3
    assert struck.mean() == pytest.approx(0.1, abs=0.02)
    np.testing.assert_allclose(np.abs(change[struck]), size, rtol=1e-3)


@pytest.mark.parametrize("noise", ["random", "additive", "spikes"])
def test_what_is_missing_stays_missing(panel, noise):
    noisy = spoil(panel, noise)
    for name in panel.schema.names:
        np.testing.assert_array_equal(noisy.observed[name], panel.observed[name])
        assert noisy.values[name].dtype == np.float32


def test_a_quarter_of_each_sample_is_hidden(panel):
    first, last = spoil(panel, "first_quarter"), spoil(panel, "last_quarter")
    assert not first.observed["acc"][5, :, :10].any()
    assert first.observed["acc"][5, :, 10:].all()
    assert not last.observed["hr"][5, :, 6:].any()
    assert last.observed["hr"][5, :, :6].all()
    # the sample with 30 timepoints loses a quarter of those
    assert last.observed["acc"][0].any(axis=0).sum() == pytest.approx(0.75 * 30, abs=1)


def test_one_modality_at_a_time_leaves_the_others(panel):
    model = Remembers()
    table = noise_robustness(
        model,
        panel,
        np.zeros(len(panel)),
        noises=["additive", "last_quarter"],
        per_modality=True,
        n_repeats=2,
        verbose=0,
    )
    assert table["modality"].tolist() == ["all", "acc", "acc", "hr", "hr", "acc", "hr"]
    np.testing.assert_array_equal(model.panels[1].values["hr"], panel.values["hr"])
    np.testing.assert_array_equal(model.panels[6].values["acc"], panel.values["acc"])
    assert (model.panels[1].values["acc"] != model.panels[2].values["acc"]).any()


def test_noise_costs_score_and_the_seed_decides(classifier, data):
    options = {"sigma": 2.0, "n_repeats": 2, "random_state": 0, "verbose": 0}
    table = noise_robustness(classifier, *data, scoring="neg_log_loss", **options)
    mean = table.groupby("noise")["score"].mean()
    assert mean["none"] > mean["random"]
    assert mean["none"] > mean["spikes"]
    with joblib.parallel_config("threading", n_jobs=2):
        again = noise_robustness(classifier, *data, scoring="neg_log_loss", **options)
    assert table.equals(again)


def test_tokens_cannot_be_noisy_but_can_be_cut():
    panel = Panel({"acc": np.ones((3, 1, 8), int)}, vocabularies={"acc": Vocabulary(3)})
    with pytest.raises(ValueError, match="Modality 'acc' holds tokens, to which 'random' noise"):
        spoil(panel, "random")
    assert spoil(panel, "last_quarter").values["acc"][0, 0].tolist() == [1] * 6 + [0] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noises": ["pink"]}, "noises has the unknown ['pink']. Choose from ['random', "),
        ({"sigma": -1}, "sigma is a number of at least 0"),
        ({"spike_fraction": 2}, "spike_fraction is a number of at least 0 (a fraction up to 1)"),
        ({"n_repeats": 0}, "n_repeats is at least 1"),
    ],
)
def test_bad_options_are_refused(classifier, data, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        noise_robustness(classifier, *data, verbose=0, **options)
