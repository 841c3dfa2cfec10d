"""Sensors are silenced per sample, in training only, and never all of them."""

from __future__ import annotations

import pytest
import torch

from mts_fusion.nn.layers import ModalityDropout, available_modalities, curriculum_rate


def make_observed(n: int = 2000) -> list[torch.Tensor]:
    observed = [torch.ones(n, 3, 2, dtype=torch.bool), torch.ones(n, 5, 1, dtype=torch.bool)]
    return [*observed, torch.zeros(n, 4, 1, dtype=torch.bool)]


def test_the_rate_is_kept_and_differs_from_sample_to_sample():
    dropout = ModalityDropout(0.3)
    dropout.generator = torch.Generator().manual_seed(0)
    available = available_modalities(dropout(make_observed()))
    # Both hidden (.09) never happens: one of the two is given back.
    assert abs((~available[:, :2]).float().mean() - (0.3 - 0.045)) < 0.03


def test_something_always_stays_of_what_a_sample_has():
    available = available_modalities(ModalityDropout(1.0)(make_observed()))
    assert (available.sum(1) == 1).all()
    assert not available[:, 2].any()
    assert available[:, 0].any()
    assert available[:, 1].any()


def test_a_sample_without_any_sensor_stays_without():
    observed = [torch.zeros(4, 3, 1, dtype=torch.bool)] * 2
    assert not available_modalities(ModalityDropout(0.5)(observed)).any()


def test_nothing_is_hidden_in_evaluation_or_at_rate_zero():
    observed = make_observed(50)
    for dropout in (ModalityDropout(0.9).eval(), ModalityDropout(0.0)):
        assert all(map(torch.equal, dropout(observed), observed))


def test_a_schedule_sets_the_rate():
    dropout = ModalityDropout(0.0)
    dropout.p.fill_(curriculum_rate(20, max_rate=0.4, n_warmup_epochs=10, n_epochs=20))
    assert float(dropout.p) == pytest.approx(0.4)


def test_the_curriculum_rises_in_a_straight_line_to_its_end():
    rates = [curriculum_rate(t, max_rate=0.4, n_warmup_epochs=10, n_epochs=110) for t in range(200)]
    assert rates[:11] == [0.0] * 11
    assert rates[60] == pytest.approx(0.2)
    assert rates == sorted(rates)
    assert max(rates) == rates[110] == 0.4
    assert curriculum_rate(11, n_warmup_epochs=10, n_epochs=10) == 0.4


@pytest.mark.parametrize("epoch", [0, 9, 10, 11, 37, 150, 151, 400])
def test_the_curriculum_is_the_published_formula(epoch):
    p_max, warm, last = 0.4, 10, 150
    published = min(p_max, (epoch - warm) / (last - warm) * p_max) if epoch > warm else 0.0
    rate = curriculum_rate(epoch, max_rate=p_max, n_warmup_epochs=warm, n_epochs=last)
    assert rate == pytest.approx(published)


def _hidden_fractions(dropout: ModalityDropout) -> torch.Tensor:
    """Fraction of forty modalities that each of 2,000 samples loses."""
    dropout.generator = torch.Generator().manual_seed(0)
    observed = [torch.ones(2000, 1, 1, dtype=torch.bool)] * 40
    return 1 - available_modalities(dropout(observed)).float().mean(1)


@pytest.mark.parametrize("p", [0.3, 0.7])
def test_with_spread_each_sample_has_a_rate_of_its_own_and_p_is_their_mean(p):
    hidden = _hidden_fractions(ModalityDropout(p, spread=True))
    assert abs(hidden.mean() - p) < 0.01
    # Uniform rates over .6: variance .6^2 / 12 = .03, beside the binomial one of .005.
    assert abs(hidden.var() - 0.035) < 0.004
    farthest = hidden if p < 0.5 else 1 - hidden
    assert (farthest < 0.1).float().mean() > 0.1
    assert farthest.max() < 0.85


@pytest.mark.parametrize("p", [0.3, 0.7])
def test_without_spread_all_samples_have_the_rate(p):
    hidden = _hidden_fractions(ModalityDropout(p))
    assert abs(hidden.mean() - p) < 0.01
    assert abs(hidden.var() - p * (1 - p) / 40) < 0.001


def test_without_spread_all_samples_have_the_rate_p():
    hidden = _hidden_fractions(ModalityDropout(0.4))
    assert abs(hidden.mean() - 0.4) < 0.01
    assert abs(hidden.var() - 0.4 * 0.6 / 40) < 0.001
