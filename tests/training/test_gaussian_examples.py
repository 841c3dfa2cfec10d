"""What a network learns from that corrects a Gaussian process."""

import numpy as np
import pytest

from mts_fusion.nn.diffusion import HideObserved
from mts_fusion.nn.gaussian_process import leave_one_out
from mts_fusion.panel import Panel
from mts_fusion.training import (
    GaussianExamples,
    GaussianProcessModel,
    _gaussian_process,
    gaussian_planes,
)


@pytest.fixture(scope="module")
def panel():
    rng = np.random.default_rng(0)
    values = {
        "a": rng.normal(size=(30, 2, 6)).cumsum(2) / 2,
        "b": rng.normal(size=(30, 1, 4)),
    }
    values["a"][:, :, 2] = np.nan
    times = np.sort(rng.uniform(0, 6, (30, 4)), axis=1)
    times[:, 3], values["b"][:, :, 3] = np.nan, np.nan
    return Panel(values, times={"b": times})


@pytest.fixture(scope="module")
def model(panel):
    sizes = {"n_scales": 2, "rank": 2, "interval": 1.0, "max_iter": 20, "batch_size": 10}
    return GaussianProcessModel(**sizes, max_train_entries=50, max_entries=100, seed=0).fit(panel)


def hidden_of(panel):
    masks = {name: np.zeros_like(observed) for name, observed in panel.observed.items()}
    masks["a"][:, :, 4] = True
    return masks


def planes(model, panel, hidden, n=2):
    shown = panel.replace(
        values={k: np.where(hidden[k], np.nan, x) for k, x in panel.values.items()},
        observed={k: o & ~hidden[k] for k, o in panel.observed.items()},
    )
    parts = list(gaussian_planes(model, panel, shown, hidden, n, seed=3))
    return [np.concatenate(part) for part in zip(*parts, strict=True)], shown


def test_values_follow_from_errors_mean_and_width(model, panel):
    a, b = planes(model, panel, hidden_of(panel))[0]
    for first, name, x in ((0, "a", a), (2, "b", b)):
        known = panel.observed[name].swapaxes(1, 2)
        channel = np.broadcast_to(first + np.arange(x.shape[3]), known.shape)[known]
        normal, mean, width = x[:, 0][known], x[:, 3][known], np.exp(x[:, 4][known])
        error = model.shapes.quantiles(normal[None].astype(float), channel, width)[0]
        truth = panel.values[name].swapaxes(1, 2)[known]
        inside = np.abs(normal) < 5
        np.testing.assert_allclose((mean + width * error)[inside], truth[inside], atol=1e-4)
        assert inside.mean() > 0.95


def test_draws_are_those_of_the_process_where_entries_are_hidden(model, panel):
    hidden = hidden_of(panel)
    (a, _), shown = planes(model, panel, hidden)
    drawn = np.concatenate(list(model.draws(shown, hidden, 2, 3)), axis=1)
    z = drawn[:, :, :12].reshape(2, 30, 6, 2)[:, :, 4]
    np.testing.assert_allclose(
        a[:, 3, 4] + np.exp(a[:, 4, 4]) * a[:, 5:, 4].swapaxes(0, 1), z, atol=1e-4
    )
    assert (a[:, 1, 4] == 0).all()
    assert (a[:, 2, 4] == 1).all()


def test_what_was_never_measured_is_noise_and_what_has_no_time_is_nothing(model, panel):
    a, b = planes(model, panel, hidden_of(panel))[0]
    never = a[:, :, 2]
    assert (never[:, :3] == 0).all()
    assert never[:, 5:].std() == pytest.approx(1.0, abs=0.2)
    assert (b[:, :, 3] == 0).all()


def test_a_hidden_value_changes_its_own_error_alone(model, panel):
    hidden = hidden_of(panel)
    values = panel.values["a"].copy()
    values[:, :, 4] += 1.0
    one, _ = planes(model, panel, hidden)[0]
    other, _ = planes(model, panel.replace(values={"a": values}), hidden)[0]
    assert (one[:, 0, 4] != other[:, 0, 4]).any()
    other[:, 0, 4] = one[:, 0, 4]
    np.testing.assert_array_equal(one, other)


def test_copies_differ_in_what_is_hidden(model, panel):
    examples = GaussianExamples(model, HideObserved("random"), seed=0)
    a, b = examples.fit_transform(panel, np.arange(30))
    assert a.shape == (30, 8, 9, 6, 2)
    assert b.shape == (30, 8, 9, 4, 1)
    assert (a[:, 0, 2] != a[:, 1, 2]).any()
    np.testing.assert_array_equal(a[:, :1], examples.transform(panel)[0])
    assert ((a[:, :, 1] + a[:, :, 2]) == panel.observed["a"].swapaxes(1, 2)[:, None]).all()


def test_entries_are_left_out_alone_and_none_of_those_missing_is_computed(
    model, panel, monkeypatch
):
    # Samples with all, a few and no entries in one batch.
    values = {name: x.copy() for name, x in panel.values.items()}
    values["a"][1:, :, 1:], values["b"][1:] = np.nan, np.nan
    values["a"][2] = np.nan
    few = panel.replace(values=values)
    sizes = []
    exact = leave_one_out

    def watched(kernel, known):
        sizes.append(known.n)
        return exact(kernel, known)

    monkeypatch.setattr(_gaussian_process, "leave_one_out", watched)
    mean, width = np.concatenate(list(model.left_out(few[:3])), axis=1)
    alone = [np.concatenate(list(model.left_out(few[i : i + 1])), axis=1) for i in range(3)]

    n_observed = [int(sum(o[i].sum() for o in few.observed.values())) for i in range(3)]
    assert n_observed == [13, 2, 0]
    assert sizes == [13, 13, 2, 1]
    np.testing.assert_allclose(np.stack([mean, width]), np.concatenate(alone, axis=1), atol=1e-12)
    # Each is what is predicted where it is hidden.
    hidden = {name: np.zeros_like(observed[:3]) for name, observed in few.observed.items()}
    hidden["a"][:, 1, 0] = True
    values["a"][:, 1, 0] = np.nan
    predicted = np.concatenate(list(model.moments(few.replace(values=values)[:3], hidden)), axis=1)
    np.testing.assert_allclose([mean[:2, 1], width[:2, 1]], predicted[:, :2, 1], atol=1e-10)
