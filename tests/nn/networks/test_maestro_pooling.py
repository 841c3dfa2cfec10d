"""Tokens of the series are added to fixed features through a gate, and can be left out."""

from __future__ import annotations

import torch

from mts_fusion.nn.layers import normalise
from mts_fusion.nn.networks._maestro_pooling import TokenPooling


def make_tokens(n: int = 400) -> tuple[torch.Tensor, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 9, 8, generator=generator)
    types = [torch.rand(n, k, generator=generator) < 0.7 for k in (4, 3, 2)]
    for part in types:
        part[:, 0] = True
    types[1][: n // 2], types[2][: n // 2] = False, False  # no features
    return x, types


def test_types_are_added_up_and_the_series_pass_a_gate():
    x, types = make_tokens()
    pool = TokenPooling(8, has_features=True, series_dropout=0.5).eval()
    pool.gate.data.uniform_()
    parts = x.split([4, 3, 2], 1)
    series, *features = (
        torch.stack(
            [
                row[seen].mean(0) if seen.any() else row[0] * 0
                for row, seen in zip(*both, strict=True)
            ]
        )
        for both in zip(parts, types, strict=True)
    )
    torch.testing.assert_close(pool(x, types), pool.gate * normalise(series) + sum(features))
    alone = TokenPooling(8, has_features=False, series_dropout=0.5)
    assert alone.gate is None
    torch.testing.assert_close(alone(x[:, :4], types[:1]), series)


def test_samples_go_without_their_series_at_the_rate_in_training_unless_they_have_nothing_else():
    x, types = make_tokens()
    pool = TokenPooling(8, has_features=True, series_dropout=0.3)
    whole = pool.eval()(x, types)
    pool.generator = torch.Generator().manual_seed(0)
    is_whole = (pool.train()(x, types) == whole).all(1)
    assert is_whole[:200].all()
    assert abs(is_whole[200:].float().mean() - 0.7) < 0.1
