"""Multi-time attention: what it computes, what it must not see, what it must not allocate."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mts_fusion.nn.embedding import MTANDTimeEmbedding, MultiTimeAttention


def _case(n_channels=3, length=9, n_reference=5, d_time=16, n_heads=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    embed = MTANDTimeEmbedding(d_time, n_reference=n_reference)
    attention = MultiTimeAttention(n_channels, d_time, 7, n_heads=n_heads)
    times = torch.rand(2, length, generator=generator).sort(1)[0]
    values = torch.randn(2, length, n_channels, generator=generator)
    observed = torch.rand(2, length, n_channels, generator=generator) > 0.4
    return embed, attention, embed(torch.linspace(0, 1, n_reference)), times, values, observed


def _naive(attention, query, key, values, used, observed):
    """One reference time, head, sample and channel at a time, each with its own softmax."""
    n_samples, _, n_channels = values.shape
    n_heads, d = attention.n_heads, query.shape[1] // attention.n_heads
    q, k = attention.query(query), attention.key(key)
    rows = []
    for b in range(n_samples):
        for t in range(len(query)):
            features = []
            for h in range(n_heads):
                means, shares = [], []
                for c in range(n_channels):
                    at = used[b, :, c].nonzero().flatten()
                    if len(at) == 0:
                        means.append(torch.zeros(()))
                        shares.append(torch.zeros(()))
                        continue
                    part = slice(h * d, (h + 1) * d)
                    weight = ((k[b, at, part] @ q[t, part]) / math.sqrt(d)).softmax(0)
                    means.append((weight * values[b, at, c]).sum())
                    shares.append((weight * observed[b, at, c]).sum())
                features += means + shares
            rows.append(attention.out(torch.stack(features)))
    return torch.stack(rows).reshape(n_samples, len(query), -1)


@pytest.mark.parametrize("imputed", [False, True])
def test_it_equals_a_naive_softmax_for_each_channel(imputed):
    embed, attention, query, times, values, observed = _case()
    observed[1, :, 2] = False
    used = observed | (torch.rand(observed.shape) > 0.7) if imputed else observed

    out, _ = attention(query, embed(times), values, used, observed)

    expected = _naive(attention, query, embed(times), values, used, observed)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


def test_values_behind_unobserved_entries_do_not_matter():
    embed, attention, query, times, values, observed = _case()

    out, _ = attention(query, embed(times), values, observed, observed)
    other, _ = attention(
        query, embed(times), values.masked_fill(~observed, 1e6), observed, observed
    )

    assert torch.equal(out, other)


def test_a_silent_channel_counts_as_zero_and_a_silent_sample_is_finite():
    embed, attention, query, times, values, observed = _case()
    silent = torch.zeros_like(observed)

    out, weights = attention(query, embed(times), values, silent, silent)

    assert torch.equal(weights, torch.zeros_like(weights))
    torch.testing.assert_close(out, attention.out.bias.expand_as(out))


def test_a_channel_seen_only_far_from_the_reference_keeps_its_value():
    embed, attention, query, times, values, observed = _case(n_channels=2)
    with torch.no_grad():  # a kernel so sharp that ordinary exponentials of it vanish
        attention.query.weight *= 30
        attention.key.weight *= 30
        attention.out.weight.zero_()
        attention.out.weight[:, 0] = 1  # channel 0 of head 0
        attention.out.bias.zero_()
    used = torch.zeros_like(observed)
    used[:, 0, 0] = True
    used[:, :, 1] = True

    out, _ = attention(query, embed(times), values, used, used)

    torch.testing.assert_close(out[:, :, 0], values[:, :1, 0].expand(-1, len(query)))


def test_a_constant_series_stays_constant():
    embed, attention, query, times, values, observed = _case()
    observed[:, 0] = True

    out, _ = attention(query, embed(times), torch.full_like(values, 2.5), observed, observed)

    torch.testing.assert_close(out, out[:, :1].expand_as(out), rtol=1e-4, atol=1e-5)


def test_longer_padding_changes_nothing():
    embed, attention, query, times, values, observed = _case()
    pad = torch.nn.functional.pad

    out, _ = attention(query, embed(times), values, observed, observed)
    longer, _ = attention(
        query,
        embed(pad(times, (0, 5))),
        pad(values, (0, 0, 0, 5), value=9.0),
        pad(observed, (0, 0, 0, 5)),
        pad(observed, (0, 0, 0, 5)),
    )

    torch.testing.assert_close(out, longer)


class _LargestTensor(TorchDispatchMode):
    """Records the size of the largest tensor that any operation gives."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, torch.Tensor):
                self.largest = max(self.largest, x.numel())
        return out


@pytest.mark.parametrize("training", [False, True])
def test_memory_does_not_grow_with_times_by_times_by_channels(training):
    length, n_reference, n_channels, n_heads = 60, 50, 40, 2
    embed, attention, query, times, values, observed = _case(
        n_channels, length, n_reference, n_heads=n_heads
    )

    with torch.set_grad_enabled(training), _LargestTensor() as memory:
        out, _ = attention(query, embed(times), values, observed, observed)
        if training:
            out.sum().backward()

    n_samples = len(values)
    bound = n_samples * n_heads * n_reference * max(length, 3 * n_channels)
    assert memory.largest <= bound < n_samples * n_reference * length * n_channels


def test_a_gradient_reaches_every_parameter():
    embed, attention, query, times, values, observed = _case()
    out, _ = attention(query, embed(times), values, observed, observed)

    (out**2).sum().backward()

    for name, parameter in [*attention.named_parameters(), *embed.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_kernel_is_local_from_the_start():
    torch.manual_seed(0)
    embed = MTANDTimeEmbedding(64, n_reference=24)
    attention = MultiTimeAttention(1, 64, 8, n_heads=8)
    grid = embed(torch.linspace(0, 1, 24))

    weights = attention.weights(grid, grid[None], torch.ones(1, 24, dtype=torch.bool))[0, -1]

    assert (weights.argmax(1) == torch.arange(24)).float().mean() > 0.8


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="d_time is a multiple of n_heads, got d_time=10 and n_he"):
        MultiTimeAttention(3, 10, 8, n_heads=4)
    with pytest.raises(ValueError, match="d_time is at least 2, got 1"):
        MTANDTimeEmbedding(1)
