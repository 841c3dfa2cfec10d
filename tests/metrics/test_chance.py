import numpy as np
import pytest

from mts_fusion.metrics import chance_calibration_error, expected_calibration_error


def draw(n, n_classes, seed):
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.full(n_classes, 0.7), size=n)
    drawn = (rng.random((n, 1)) > proba.cumsum(1)[:, :-1]).sum(1)
    return proba, drawn


@pytest.mark.parametrize("kind", ["top-label", "classwise"])
@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_right_probabilities_lie_among_their_errors_and_wrong_ones_beyond(kind, strategy):
    options = {"kind": kind, "strategy": strategy, "n_bins": 10}
    ranks = []
    for seed in range(20):
        proba, drawn = draw(300, 3, seed)
        errors = chance_calibration_error(proba, n_draws=50, random_state=seed, **options)
        ranks.append((expected_calibration_error(drawn, proba, **options) > errors).mean())
    assert 0.3 < np.mean(ranks) < 0.7
    sharper = proba**3 / (proba**3).sum(axis=1, keepdims=True)
    errors = chance_calibration_error(sharper, n_draws=50, random_state=0, **options)
    assert expected_calibration_error(drawn, sharper, **options) > errors.max()


def test_more_samples_leave_less_to_chance():
    means = [
        chance_calibration_error(draw(n, 2, 0)[0], n_draws=20, random_state=0).mean()
        for n in (100, 1600)
    ]
    assert means[1] < 0.4 * means[0]


def test_one_dimension_is_the_second_of_two_classes():
    proba, _ = draw(60, 2, 0)
    one, two = (chance_calibration_error(p, random_state=1) for p in (proba[:, 1], proba))
    np.testing.assert_allclose(one, two)


@pytest.mark.parametrize(
    ("proba", "options", "message"),
    [
        (np.full((20, 2), 0.5), {"n_draws": 0}, "n_draws is 0"),
        (np.full((20, 2, 1), 0.5), {}, "has shape"),
        (np.full((20, 2), np.nan), {}, "20 of 20 samples have NaN in y_proba. Leave them out"),
        (np.full((5, 2), 0.5), {}, "bins"),
        (np.full((20, 2), 0.9), {}, "sum"),
    ],
)
def test_bad_input_is_refused(proba, options, message):
    with pytest.raises(ValueError, match=message):
        chance_calibration_error(proba, **options)
