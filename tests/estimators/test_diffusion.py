"""The imputer by conditional diffusion."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from mts_fusion.datasets import make_panel_classification, make_trace_benchmark
from mts_fusion.estimators import ConditionalDiffusionImputer
from mts_fusion.metrics import crps_from_samples, mae_at_missing, quantiles_from_samples
from mts_fusion.nn.diffusion import Denoiser
from mts_fusion.panel import Panel
from mts_fusion.training import PanelNet
from mts_fusion.transforms import PanelImputer, SAXTokenizer

SMALL = {
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
        n_samples=30,
        modalities={"acc": (2, 8.0), "temp": (1, 2.0), "beat": (1, 4.0)},
        missing_fraction=0.2,
        missing_modality_fraction=0.2,
        irregular=["beat"],
        random_state=0,
    )
    return X


@pytest.fixture(scope="module")
def fitted(panel):
    return ConditionalDiffusionImputer(**SMALL).fit(panel)


def assert_equal(a, b, **tolerance):
    for name in a.schema.names:
        np.testing.assert_allclose(a.values[name], b.values[name], **tolerance)


def test_gaps_are_filled_and_what_was_observed_stays(fitted, panel):
    filled = fitted.transform(panel)
    for name in panel.schema.names:
        observed, times = panel.observed[name], panel.times[name]
        exists = np.ones_like(observed) if times is None else ~np.isnan(times)[:, None]
        assert np.isfinite(filled.values[name][exists & np.ones_like(observed)]).all()
        assert filled.values[name][observed].tobytes() == panel.values[name][observed].tobytes()
        assert np.array_equal(filled.observed[name], observed)


def test_what_has_no_time_is_not_filled(fitted, panel):
    times = panel.times["beat"].copy()
    values = panel.values["beat"].copy()
    times[:, -1], values[:, :, -1] = np.nan, np.nan
    filled = fitted.transform(panel.replace(values={"beat": values}, times={"beat": times}))
    assert np.isnan(filled.values["beat"][:, :, -1]).all()
    assert np.isfinite(filled.values["beat"][:, :, 0]).all()


def test_a_modality_without_observations_stays_absent_if_asked(fitted, panel):
    partly = clone(fitted).set_params(fill_absent=False).fit(panel)
    every, some = fitted.transform(panel), partly.transform(panel)
    for name in panel.schema.names:
        absent = ~panel.observed[name].any((1, 2))
        assert absent.any()
        assert np.isnan(some.values[name][absent]).all()
        np.testing.assert_array_equal(some.values[name][~absent], every.values[name][~absent])


def test_from_paper_has_the_sizes_of_table_6():
    mimic = ConditionalDiffusionImputer.from_paper("mimic4", random_state=3)
    assert (mimic.n_samples, mimic.n_train_steps, mimic.n_steps, mimic.n_layers) == (20, 50, 50, 4)
    assert (mimic.n_experts, mimic.hidden_fraction, mimic.batch_size) == (5, 0.2, 16)
    assert (mimic.schedule, mimic.sampler, mimic.gating) == ("quad", "ddpm", "inner_product")
    assert (mimic.lr, mimic.random_state, mimic.fill_absent) == (4e-4, 3, False)
    assert ConditionalDiffusionImputer.from_paper("mosi").n_samples == 1
    with pytest.raises(
        ValueError, match=r"dataset is one of the paper, \['mimic4', 'mosi', 'mosei'"
    ):
        ConditionalDiffusionImputer.from_paper("mimic3")


def test_the_fill_does_not_depend_on_order_neighbours_or_batch_size(fitted, panel):
    filled = fitted.transform(panel)
    close = {"atol": 1e-4, "rtol": 1e-4}
    assert_equal(fitted.transform(panel[::-1])[::-1], filled, **close)
    assert_equal(fitted.transform(panel[7]), filled[7], **close)
    again = pickle.loads(pickle.dumps(fitted))
    again.batch_size = 3
    assert_equal(again.transform(panel), filled, **close)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(panel):
    a, b = (clone(ConditionalDiffusionImputer(**SMALL)).fit(panel[:12]) for _ in range(2))
    assert_equal(a.transform(panel), b.transform(panel))
    other = ConditionalDiffusionImputer(**{**SMALL, "random_state": 1}).fit(panel[:12])
    gap = ~panel.observed["acc"]
    assert not np.allclose(
        other.transform(panel).values["acc"][gap], a.transform(panel).values["acc"][gap]
    )


def test_an_imputed_panel_is_imputed_alike(fitted, panel):
    filled = fitted.transform(panel)
    assert_equal(fitted.transform(filled), filled)


def test_the_median_the_mean_and_the_quantiles_are_those_of_the_samples(fitted, panel):
    samples = np.stack([p.values["acc"] for p in fitted.sample(panel)])
    close = {"atol": 1e-5, "rtol": 1e-5}
    median = fitted.transform(panel).values["acc"]
    np.testing.assert_allclose(median, np.median(samples, axis=0), **close)
    low, high = (p.values["acc"] for p in fitted.quantiles(panel, [0.1, 0.9]))
    np.testing.assert_allclose(low, quantiles_from_samples(samples, [0.1])[0], **close)
    gap = ~panel.observed["acc"]
    assert (low[gap] < high[gap]).all()
    assert np.array_equal(low[~gap], high[~gap])
    by_mean = clone(fitted).set_params(statistic="mean").fit(panel)
    np.testing.assert_allclose(by_mean.transform(panel).values["acc"], samples.mean(0), **close)


def test_more_samples_begin_with_those_of_fewer(fitted, panel):
    few, many = fitted.sample(panel, n=2), fitted.sample(panel, n=3)
    assert len(many) == 3
    assert_equal(few[1], many[1], atol=1e-4, rtol=1e-4)


def test_networks_share_the_samples(panel):
    imputer = ConditionalDiffusionImputer(**SMALL, n_estimators=2).fit(panel)
    assert len(imputer.nets_) == 2
    assert len(imputer.sample(panel[:3], n=3)) == 3
    assert len(imputer.sample(panel[:3], n=1)) == 1


def test_warm_start_continues_from_the_last_weights(panel):
    imputer = ConditionalDiffusionImputer(**{**SMALL, "warm_start": True}).fit(panel)
    filled, seed = imputer.transform(panel), imputer.seed_

    imputer.set_params(lr=1e-12).fit(panel)

    for name, values in imputer.transform(panel).values.items():
        np.testing.assert_allclose(values, filled.values[name], atol=1e-4)
    assert imputer.n_iter_ == 2
    assert imputer.seed_ == seed


def test_complete_samples_come_back_as_they_are(fitted, panel):
    complete = Panel(
        fitted.transform(panel).values,
        times={"beat": panel.times["beat"]},
        rates={m.name: m.rate for m in panel.schema},
    )
    assert fitted.transform(complete) is complete
    assert len(fitted.sample(complete, n=2)) == 2


def test_a_sample_without_any_observation_is_filled_from_the_prior(fitted, panel):
    silent = panel.replace(
        values={name: np.full_like(v, np.nan) for name, v in panel.values.items()}
    )
    filled = fitted.transform(silent)
    assert np.isfinite(filled.values["acc"]).all()
    assert np.isfinite(filled.values["temp"]).all()


def test_a_constant_channel_is_filled_with_about_its_constant():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 2, 6))
    values[:, 1] = 5.0
    values[rng.random(values.shape) < 0.2] = np.nan
    imputer = ConditionalDiffusionImputer(**{**SMALL, "max_epochs": 20, "lr": 1e-2})
    filled = imputer.fit_transform({"a": values}).values["a"][:, 1]
    assert np.abs(filled - 5.0).mean() < 0.3


def test_it_learns_a_wholly_absent_sensor_from_another():
    rng = np.random.default_rng(0)
    level = rng.normal(size=(200, 1, 1))
    values = {
        "a": 10 + 3 * np.broadcast_to(level, (200, 2, 6)) + 0.1 * rng.normal(size=(200, 2, 6)),
        "b": np.broadcast_to(level, (200, 1, 4)) + 0.1 * rng.normal(size=(200, 1, 4)),
    }
    imputer = ConditionalDiffusionImputer(
        **{**SMALL, "max_epochs": 15, "lr": 1e-2, "batch_size": 32}
    )
    imputer.fit(Panel(values)[:160])
    test = Panel(values)[160:]
    absent = test.replace(values={"a": np.full_like(test.values["a"], np.nan)})
    filled = imputer.transform(absent).values["a"]
    assert np.corrcoef(filled.mean((1, 2)), level[160:, 0, 0])[0, 1] > 0.9
    low, high = (p.values["a"] for p in imputer.quantiles(absent, [0.0, 1.0]))
    assert (high > low).all()


def test_score_is_minus_the_crps_and_rises_with_training(panel):
    short = ConditionalDiffusionImputer(**SMALL).fit(panel)
    long = ConditionalDiffusionImputer(**{**SMALL, "max_epochs": 15, "lr": 5e-3}).fit(panel)
    assert short.score(panel) == pytest.approx(short.score(panel))
    assert 0 > long.score(panel) > short.score(panel)


def test_it_stands_in_a_pipeline(panel):
    pipeline = make_pipeline(ConditionalDiffusionImputer(**SMALL), SAXTokenizer())
    assert pipeline.fit_transform(panel).schema.names == panel.schema.names


def test_explain_gives_the_gate(fitted, panel):
    assert fitted.explain(panel)["gate"].shape == (30, 3, 3)


def test_scikit_learn_finds_nothing(monkeypatch):
    # Its checks compare outputs as arrays; a panel is none, so they are shown one.
    def as_array(panel, dtype=None, copy=None):
        flat = [values.reshape(len(panel), -1) for values in panel.values.values()]
        return np.concatenate(flat, axis=1).astype(dtype)

    monkeypatch.setattr(Panel, "__array__", as_array, raising=False)

    results = check_estimator(
        ConditionalDiffusionImputer(**{**SMALL, "d_model": 8, "n_heads": 2}),
        on_fail=None,
        on_skip=None,
    )

    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert failed == {}
    assert sum(r["status"] == "passed" for r in results) >= 44


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_steps": 60}, "n_steps=60, but the diffusion is trained with n_train_steps=50"),
        ({"n_train_steps": 4}, "keeps 36% of the signal at its last step, where pure noise"),
        ({"sampler": "euler"}, "The 'sampler' parameter of ConditionalDiffusionImputer must be"),
        ({"n_samples": 0}, "The 'n_samples' parameter of ConditionalDiffusionImputer must be"),
    ],
)
def test_wrong_parameters_are_named_in_fit(panel, change, message):
    with pytest.raises(ValueError, match=message):
        ConditionalDiffusionImputer(**{**SMALL, **change}).fit(panel)


def test_unusable_panels_are_refused_in_fit():
    imputer = ConditionalDiffusionImputer(**SMALL)
    values = np.random.default_rng(0).normal(size=(12, 2, 5))
    silent = values.copy()
    silent[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"Channel 1 of modality 'a' is never observed in the 12"):
        imputer.fit({"a": silent})
    names = [f"c{i}" for i in range(silent.shape[1])]
    with pytest.raises(ValueError, match=r"Channel 'c1' of modality 'a'.*channels \['c1'\]"):
        imputer.fit(Panel({"a": silent}, channels={"a": names}))
    with pytest.raises(ValueError, match="Nothing is observed in any of the 12 training samples"):
        imputer.fit({"a": np.full_like(values, np.nan)})
    times = np.tile(np.arange(5) - 2.0, (12, 1))
    with pytest.raises(ValueError, match=r"'a' has negative times \(lowest -2 s\)"):
        imputer.fit(Panel({"a": values}, times={"a": times}))
    tokens = SAXTokenizer().fit_transform({"a": values})
    with pytest.raises(ValueError, match="'a' holds tokens, but an imputer fills numbers"):
        imputer.fit(tokens)
    with pytest.raises(ValueError, match="Convert your data to numeric values"):
        imputer.fit({"note": np.full((12, 1, 1), "text")})


def test_unusable_requests_are_refused(fitted, panel):
    with pytest.raises(NotFittedError):
        ConditionalDiffusionImputer().transform(panel)
    with pytest.raises(ValueError, match=r"X came with \['gyro'\]"):
        fitted.transform({**panel.to_dict(), "gyro": np.zeros((len(panel), 1, 4))})
    with pytest.raises(ValueError, match="n=0; at least 1 sample can be drawn"):
        fitted.sample(panel, n=0)
    with pytest.raises(ValueError, match=r"q is a list of levels in \[0, 1\], got \[5\]"):
        fitted.quantiles(panel, [5])


def test_the_band_widens_with_the_distance_to_what_is_known():
    rng = np.random.default_rng(0)
    walk = rng.normal(size=(150, 1, 24)).cumsum(2)
    imputer = ConditionalDiffusionImputer(
        **{**SMALL, "max_epochs": 25, "lr": 1e-2, "batch_size": 32, "n_samples": 20}
    ).fit({"a": walk[:120]})

    widths = []
    for n_hidden in (1, 4, 12):
        hidden = walk[120:].copy()
        hidden[:, :, 10 : 10 + n_hidden] = np.nan
        low, high = imputer.quantiles({"a": hidden}, [0.1, 0.9])
        gap = np.isnan(hidden)
        widths.append((high.values["a"] - low.values["a"])[gap].mean())

    assert np.all(np.diff(widths) > 0)


def test_memory_is_bounded_by_batch_size_and_not_by_samples_and_draws(panel, monkeypatch):
    rows = []
    inner = Denoiser.forward

    def counted(self, z, *args):
        rows.append(z.shape[0] * z.shape[1])
        return inner(self, z, *args)

    monkeypatch.setattr(Denoiser, "forward", counted)
    imputer = ConditionalDiffusionImputer(**{**SMALL, "batch_size": 32}).fit(panel)
    rows.clear()
    imputer.sample(panel[np.arange(90) % 30], n=20)

    assert max(rows) <= 32


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_fit_that_breaks_off_leaves_nothing_half_written(panel, monkeypatch, error):
    def broken(self, *args):
        raise error("killed")

    imputer = ConditionalDiffusionImputer(**SMALL)
    monkeypatch.setattr(PanelNet, "train", broken)
    with pytest.raises(error):
        imputer.fit(panel)

    with pytest.raises(NotFittedError):
        imputer.transform(panel)


def test_what_is_asked_of_a_fitted_imputer_is_checked_again(panel):
    imputer = ConditionalDiffusionImputer(**SMALL).fit(panel)
    with pytest.raises(ValueError, match="n_steps"):
        imputer.set_params(n_steps=60).transform(panel)
    with pytest.raises(ValueError, match="sampler must be one of"):
        imputer.set_params(n_steps=2, sampler="euler").transform(panel)
    times = {"beat": panel.times["beat"].copy()}
    times["beat"][0, :2] = [3.0, 1.0]
    with pytest.raises(ValueError, match="beat"):
        imputer.transform(panel.replace(times=times))


@pytest.mark.slow
def test_it_beats_nearest_filling_on_the_benchmark_of_trace():
    parts = make_trace_benchmark(2000, 10, 100, missing_fraction=0.3)
    imputer = ConditionalDiffusionImputer(
        max_epochs=12, patch_length=2, precision="bf16", lr=3e-3, random_state=0
    )
    imputer.fit(parts.train.data)
    test, truth = parts.test.data, parts.test.complete.values["series"]
    filled = imputer.transform(test).values["series"]
    nearest = PanelImputer().fit(parts.train.data).transform(test).values["series"]
    ours = mae_at_missing(truth, filled, parts.test.masked, average=None)
    theirs = mae_at_missing(truth, nearest, parts.test.masked, average=None)
    assert (ours < theirs).mean() > 0.95
    draws = np.stack([p.values["series"] for p in imputer.sample(test)])
    assert crps_from_samples(truth, draws, parts.test.masked) < ours.mean()
