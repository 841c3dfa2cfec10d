"""The imputer whose networks start from draws of a Gaussian process."""

import copy
import pickle

import numpy as np
import pytest

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import (
    ConditionalDiffusionImputer,
    GaussianProcessImputer,
    _gaussian_base,
)
from mts_fusion.estimators._gaps import find_gaps
from mts_fusion.estimators._gaussian_base import draw_from_base
from mts_fusion.metrics import crps_from_samples, energy_score

PROCESS = {"max_iter": 5, "n_scales": 2, "rank": 2, "random_state": 0}
SMALL = {
    "prior": "gaussian_process",
    "base": GaussianProcessImputer(**PROCESS),
    "d_model": 16,
    "n_heads": 4,
    "n_layers": 1,
    "n_encoder_layers": 1,
    "n_samples": 4,
    "n_steps": 2,
    "max_epochs": 1,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def panel():
    X, _ = make_panel_classification(
        n_samples=20,
        modalities={"acc": (2, 8.0), "temp": (1, 2.0), "beat": (1, 4.0)},
        missing_fraction=0.2,
        missing_modality_fraction=0.2,
        irregular=["beat"],
        random_state=0,
    )
    return X


@pytest.fixture(scope="module")
def fitted(panel):
    return ConditionalDiffusionImputer(**{**SMALL, "lr": 0.02, "max_epochs": 3}).fit(panel)


def assert_equal(a, b, **tolerance):
    for name in a.schema.names:
        np.testing.assert_allclose(a.values[name], b.values[name], **tolerance)


def test_without_training_the_draws_are_those_of_the_process(panel):
    still = {"lr": 1e-30, "n_estimators": 2}
    imputer = ConditionalDiffusionImputer(**{**SMALL, **still}).fit(panel)
    alone = GaussianProcessImputer(**PROCESS).fit(panel)
    for drawn, expected in zip(imputer.sample(panel, n=3), alone.sample(panel, n=3), strict=True):
        assert_equal(drawn, expected, atol=1e-4, rtol=1e-4)


def test_training_moves_the_draws_and_keeps_what_was_observed(fitted, panel):
    filled, alone = fitted.sample(panel, n=1)[0], fitted.base_.sample(panel, n=1)[0]
    for name in panel.schema.names:
        observed = panel.observed[name]
        assert filled.values[name][observed].tobytes() == panel.values[name][observed].tobytes()
        assert np.isfinite(filled.values[name][observed]).all()
        assert np.array_equal(np.isnan(filled.values[name]), np.isnan(alone.values[name]))
        assert np.nanmax(np.abs(filled.values[name] - alone.values[name])) > 0.01


def test_the_fill_depends_neither_on_order_nor_on_neighbours(fitted, panel):
    close = {"atol": 1e-4, "rtol": 1e-4}
    filled = fitted.sample(panel, n=2)[1]
    assert_equal(fitted.sample(panel[::-1], n=2)[1][::-1], filled, **close)
    assert_equal(fitted.sample(panel[7], n=3)[1], filled[7], **close)


def test_the_same_seed_gives_the_same_bits(fitted, panel):
    again = ConditionalDiffusionImputer(**{**SMALL, "lr": 0.02, "max_epochs": 3}).fit(panel)
    assert_equal(again.transform(panel), fitted.transform(panel))
    assert_equal(pickle.loads(pickle.dumps(fitted)).transform(panel), fitted.transform(panel))
    assert np.isfinite(fitted.score(panel))


def test_a_weight_of_one_half_moves_draws_half_of_the_way(fitted, panel):
    gaps = find_gaps(panel, fill_absent=True)
    scaled = fitted.preprocessor_.transform(panel)
    still, half, moved = (
        next(
            draw_from_base(
                fitted.base_, fitted.nets_, scaled, gaps, 3, weight=w, n_steps=2, sampler="flow2m"
            )
        )
        for w in (0.0, 0.5, 1.0)
    )
    np.testing.assert_array_equal(still[:2], moved[:2])
    np.testing.assert_allclose(half[2:], (still[2:] + moved[2:]) / 2, atol=1e-6)
    assert np.abs(moved[2:] - still[2:]).max() > 0.01
    unmoved = copy.copy(fitted)
    unmoved.correction_weight_ = 0.0
    for a, b in zip(unmoved.sample(panel, n=2), fitted.base_.sample(panel, n=2), strict=True):
        assert_equal(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("lr", "low", "high"), [(0.3, 0.0, 0.3), (0.01, 0.7, 1.0)])
def test_the_weight_is_what_is_best_on_samples_held_out(lr, low, high, monkeypatch):
    scoringrules = pytest.importorskip("scoringrules")
    scored = []

    def watched(truth, draws, hidden, *, fair):
        scored.append((truth, draws, hidden))
        return energy_score(truth, draws, hidden, fair=fair)

    monkeypatch.setattr(_gaussian_base, "energy_score", watched)
    rng = np.random.default_rng(0)
    spread = np.where(rng.random((200, 1, 1)) < 0.5, 0.3, 3.0)
    walks = spread * rng.normal(size=(200, 2, 12)).cumsum(2)
    settings = {**SMALL, "lr": lr, "max_epochs": 20, "validation_fraction": 0.4}
    imputer = ConditionalDiffusionImputer(**settings).fit({"a": walks})

    assert len(scored) == 11
    wanted = []
    for truth, draws, hidden in scored:
        assert truth.shape == hidden.shape == (200 - imputer.n_training_, 24)
        wanted.append(
            np.mean(
                [
                    scoringrules.es_ensemble(
                        truth[i][m], draws[:, i][:, m], m_axis=0, estimator="fair", backend="numpy"
                    )
                    for i, m in enumerate(hidden)
                    if m.any()
                ]
            )
        )
    assert imputer.correction_weight_ == pytest.approx(1 - np.argmin(wanted) / 10)
    assert low <= imputer.correction_weight_ <= high
    moved, still = scored[0][1], scored[-1][1]
    np.testing.assert_allclose(scored[5][1], (moved + still) / 2, atol=1e-6)


def test_networks_without_finite_draws_are_left_out(panel, monkeypatch):
    def diverged(samplers, dataset, planes):
        return np.full((len(dataset), 4, sum(x[0, 0, 0].size for x in planes)), np.nan)

    monkeypatch.setattr(_gaussian_base, "_move", diverged)
    imputer = ConditionalDiffusionImputer(**SMALL, validation_fraction=0.5).fit(panel)
    assert imputer.correction_weight_ == 0.0
    for a, b in zip(imputer.sample(panel, n=2), imputer.base_.sample(panel, n=2), strict=True):
        assert_equal(a, b, atol=1e-4, rtol=1e-4)


def test_with_no_samples_held_out_the_weight_is_1(fitted):
    assert fitted.correction_weight_ == 1.0


def test_the_process_that_was_given_is_not_fitted(fitted):
    assert not hasattr(SMALL["base"], "model_")
    assert fitted.base_.max_iter == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampler": "ddpm"}, r"does not go with sampler='ddpm'. Use 'flow2m'"),
        ({"parameterization": "noise"}, r"does not go with parameterization='noise'"),
        ({"n_encoder_layers": 0}, r"does not go with n_encoder_layers=0. Use at least 1"),
        ({"conditioning": "none"}, r"does not go with conditioning='none'"),
        ({"gating": "inner_product"}, r"does not go with gating='inner_product'"),
        ({"base": "process"}, r"The 'base' parameter of ConditionalDiffusionImputer"),
    ],
)
def test_parameters_that_do_not_go_together_are_named_in_fit(panel, change, message):
    with pytest.raises(ValueError, match=message):
        ConditionalDiffusionImputer(**{**SMALL, **change}).fit(panel)


@pytest.mark.slow
def test_networks_learn_what_a_process_cannot_describe():
    """The spread of a sample: the process has one for all, what is observed shows it."""

    def walks(n, seed):
        rng = np.random.default_rng(seed)
        spread = np.where(rng.random((n, 1, 1)) < 0.5, 0.3, 3.0)
        return spread * rng.normal(size=(n, 1, 24)).cumsum(2)

    truth = walks(100, seed=1)
    hidden = truth.copy()
    hidden[:, :, 8:14] = np.nan
    imputer = ConditionalDiffusionImputer(
        prior="gaussian_process",
        base=GaussianProcessImputer(max_iter=100, random_state=0),
        d_model=32,
        random_state=0,
    ).fit({"a": walks(400, seed=0)})
    missing = np.isnan(hidden)
    scores = []
    for one in (imputer, imputer.base_):
        draws = np.stack([p.values["a"] for p in one.sample(hidden, n=50)])
        crps = crps_from_samples(truth[missing], draws[:, missing])
        scores.append([crps, energy_score(truth, draws, missing)])
    assert scores[0][0] < 0.97 * scores[1][0]  # measured .958
    assert scores[0][1] < 0.98 * scores[1][1]  # measured .968
