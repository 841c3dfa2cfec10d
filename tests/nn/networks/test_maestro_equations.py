"""The network gives what its published equations give, written once more in numpy.

One sample, one modality and one query after another; nothing is shared with the package but the
weights.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mts_fusion.nn.attention import BudgetGate, budgeted_attend
from mts_fusion.nn.experts import SparseMoE
from mts_fusion.nn.networks import Maestro
from mts_fusion.panel._schema import Modality, Schema

SCHEMA = Schema((Modality("acc", 2, 16, rate=4.0), Modality("temp", 1, 5, rate=1.0)))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normalise(x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


def sampled_keys(n, factor):
    """Which of n observed keys are sampled in prediction: the middles of equal parts."""
    n_keys = min(n, max(1, math.ceil(factor * math.log(n))))
    return [min(n - 1, int((s + 0.5) * n / n_keys)) for s in range(n_keys)]


def prob_sparse(q, k, v, u, factor, n_possible=10**6):
    """Attention of one head over observed tokens ``(n, d)`` with budget ``u``.

    Of so few possible tokens that ranking them saves nothing, all attend by ``u log n / n``.

    ``P(q, K') = max_k q.k / sqrt(d) - mean_k q.k / sqrt(d)``; the ``u log n`` queries of the
    largest P attend, the others take the mean of the values.
    """
    n, d = q.shape
    c = max(factor, 5.0)
    n_keys, n_ranks = (min(n_possible, math.ceil(f * math.log(n_possible))) for f in (c, factor))
    if n_possible * (n_keys + 2 * n_ranks + 2) + n_keys >= n_possible * (2 * n_possible + 1):
        part = min(1.0, u * math.log(n) / n)
        attended = np.stack([softmax(one @ k.T / np.sqrt(d)) @ v for one in q])
        return (1 - part) * v.mean(0) + part * attended
    keys = k[sampled_keys(n, c)]
    scores = [
        max(q[i] @ keys.T / np.sqrt(d)) - np.mean(q[i] @ keys.T / np.sqrt(d)) for i in range(n)
    ]
    out = np.tile(v.mean(0), (n, 1))
    for rank, i in enumerate(np.argsort(scores)[::-1]):
        part = min(1.0, max(0.0, u * math.log(n) - rank))
        out[i] = (1 - part) * out[i] + part * (softmax(q[i] @ k.T / np.sqrt(d)) @ v)
    return out


@pytest.mark.parametrize("budget", [0.0, 0.4, 1.0, 2.3])
def test_attention_within_a_budget_is_prob_sparse(budget):
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 4, 2, 24, 8)) + 1.0
    observed = rng.random((4, 24)) < 0.8
    n_queries = torch.tensor(budget * np.log(observed.sum(1)))
    out = budgeted_attend(*map(torch.tensor, (q, k, v, observed)), n_queries, factor=2.5).numpy()
    for i, h in np.ndindex(4, 2):
        there = observed[i]
        expected = prob_sparse(q[i, h, there], k[i, h, there], v[i, h, there], budget, 2.5)
        np.testing.assert_allclose(out[i, h, there], expected, rtol=1e-6, atol=1e-9)


def gate(net, available):
    """``u = sigmoid(G(m + eps (1 - m))) beta``, 0 where absent."""
    first, _, second = ([x.detach().numpy() for x in layer.parameters()] for layer in net.gate)
    m = available.astype(float)
    hidden = np.tanh(first[0] @ (m + 0.01 * (1 - m)) + first[1])
    u = sigmoid(second[0] @ hidden + second[1]) * net.max_budget
    return u if net.spends_if_absent else u * m


@pytest.mark.parametrize("spends_if_absent", [False, True])
def test_the_budget_is_the_published_gate(spends_if_absent):
    torch.manual_seed(0)
    net = BudgetGate(3, max_budget=4.0, spends_if_absent=spends_if_absent).double()
    for available in ([True, True, True], [True, False, True], [False, False, True]):
        u = net(torch.tensor([available]))[0].detach().numpy()
        np.testing.assert_allclose(u, gate(net, np.array(available)), rtol=1e-6)


def mixture(moe, x):
    """``y = sum_{e in top-k} g_e f_e(x)`` for one token; the shares sum to 1 if k > 1."""
    w_in, b_in, w_out = (
        getattr(moe.experts, name).detach().numpy()
        for name in ("weight_in", "bias_in", "weight_out")
    )
    g = softmax(moe.router.weight.detach().numpy() @ x)
    chosen = np.argsort(g)[::-1][: moe.k]
    share = g[chosen] / (g[chosen].sum() if moe.k > 1 else 1.0)
    return sum(
        s * (np.maximum(x @ w_in[e] + b_in[e, 0], 0) @ w_out[e])
        for e, s in zip(chosen, share, strict=True)
    )


@pytest.mark.parametrize("k", [1, 2])
def test_the_experts_are_the_published_mixture(k):
    torch.manual_seed(0)
    moe = SparseMoE(6, 4, k, d_hidden=5).double()
    x = np.random.default_rng(0).normal(size=(2, 7, 6))
    y = moe(torch.tensor(x), torch.ones(2, 7, dtype=torch.bool))[0].detach().numpy()
    for i, t in np.ndindex(2, 7):
        np.testing.assert_allclose(
            y[i, t], mixture(moe, x[i, t]), rtol=1e-5, atol=1e-7
        )  # float32 gates


class Reference:
    """The whole network for one sample, from the weights of a :class:`Maestro` of numbers."""

    def __init__(self, net, patch_lengths):
        self.net = net
        self.patch_lengths = patch_lengths
        self.weights = {name: p.detach().numpy() for name, p in net.named_parameters()}

    def encode_time(self, seconds):
        phase = seconds * self.net.patches.time.frequency.numpy()
        both = np.concatenate([np.sin(phase), np.cos(phase)])
        return self.weights["patches.time.project.weight"] @ both

    def tokens(self, m, values, observed):
        """Tokens of a modality, which hold an observation, and their times."""
        place = self.net.patches.order.index(m)  # here each modality is a group of its own
        weight = self.weights[f"patches.embed.{place}.project.weight"][0]
        bias = self.weights[f"patches.embed.{place}.project.bias"][0, 0]
        length, modality = self.patch_lengths[m], SCHEMA.modalities[m]
        tokens, available, seconds = [], [], []
        for first in range(0, modality.n_timepoints, length):
            patch = np.zeros((length, 2 * modality.n_channels))
            seen = observed[first : first + length]
            patch[: len(seen), : modality.n_channels] = np.where(
                seen, values[first : first + length], 0
            )
            patch[: len(seen), modality.n_channels :] = seen
            tokens.append(patch.ravel() @ weight + bias)
            available.append(seen.any())
            seconds.append((first + (length - 1) / 2) / modality.rate)
        if self.net.missing is not None:
            vector = self.weights["missing.vector"][m]
            tokens = [x if a else vector for x, a in zip(tokens, available, strict=True)]
            available = [True] * len(tokens)
        return tokens, available, seconds

    def attend(self, prefix, row, x, available, u, factor, n_possible):
        """Attention of all heads between the tokens that are available, projected back."""
        there = np.flatnonzero(available)
        out = np.zeros_like(x)
        if not len(there):
            return out
        qkv = np.stack([self._linear(f"{prefix}.qkv", row, normalise(x[t])) for t in there])
        heads = []
        for q, k, v in zip(*(np.split(p, 2, 1) for p in np.split(qkv, 3, 1)), strict=True):
            if u is None:
                heads.append(np.stack([softmax(one @ k.T / np.sqrt(q.shape[1])) @ v for one in q]))
            else:
                heads.append(prob_sparse(q, k, v, u, factor, n_possible))
        joined = np.concatenate(heads, 1)
        out[there] = np.stack([self._linear(f"{prefix}.out", row, one) for one in joined])
        return out

    def _linear(self, name, row, x):
        """``x W + b``, of modality ``row``, or of a layer that all share."""
        weight = self.weights[f"{name}.weight"]
        if row is None:
            return weight @ x
        bias = self.weights.get(f"{name}.bias")
        return x @ weight[row] + (0 if bias is None else bias[row, 0])

    def intra(self, i, row, x, available, seconds, u, factor):
        """Attention, feed-forward layer and ``z = conv(s) + maxpool(s)`` over pairs."""
        x = x + self.attend(f"intra.{i}", row, x, available, u, factor, len(x))
        x = np.stack(
            [
                one
                + self._linear(
                    f"intra.{i}.outer",
                    row,
                    np.maximum(self._linear(f"intra.{i}.inner", row, normalise(one)), 0),
                )
                for one in x
            ]
        )
        pairs, left = [], []
        for t in range(0, len(x), 2):
            pair = [
                x[s] if s < len(x) and available[s] else np.zeros(x.shape[1]) for s in (t, t + 1)
            ]
            exist = [s for s in (t, t + 1) if s < len(x) and available[s]]
            conv = np.concatenate([normalise(one) for one in pair])
            peak = np.max([x[s] for s in exist], axis=0) if exist else 0
            pairs.append(self._linear(f"intra.{i}.distilling.conv", row, conv) + peak)
            left.append(bool(exist))
        second = [*seconds[1::2], seconds[-1]]  # of a pair whose first token holds nothing
        firsts = zip(seconds[::2], second, available[::2], strict=False)
        return np.stack(pairs), left, [one if seen else two for one, two, seen in firsts]

    def __call__(self, values, observed):
        present = np.array([seen.any() for seen in observed])
        u = gate(self.net.budget, present)
        xs, availables = [], []
        for m in range(len(SCHEMA)):
            row = self.net.patches.order.index(m)
            x, available, seconds = self.tokens(m, values[m], observed[m])
            x = np.stack(x) + np.stack([self.encode_time(s) for s in seconds])
            for i in range(len(self.net.intra)):
                x, available, seconds = self.intra(
                    i, row, x, available, seconds, u[m], self.net.budget.max_budget
                )
            x = x + np.stack([self.encode_time(s) for s in seconds]) + self.weights["modality"][m]
            xs.append(x)
            availables += available
        x, available = np.concatenate(xs), np.array(availables)
        for i, layer in enumerate(self.net.cross):
            u = layer.budget
            x = x + self.attend(f"cross.{i}", None, x, available, u, u, len(x))
            x = np.stack([one + mixture(layer.experts, normalise(one)) for one in x])
        pooled = normalise(x[available].mean(0))
        head = [
            self.weights[f"head.{name}"] for name in ("0.weight", "0.bias", "2.weight", "2.bias")
        ]
        return head[2] @ (pooled * head[0] + head[1]) + head[3]


@pytest.mark.parametrize("missing", ["mask", "token"])
@pytest.mark.parametrize("cross_budget", [None, 1.2])
def test_the_whole_network_is_its_equations(missing, cross_budget):
    torch.manual_seed(0)
    net = Maestro(
        SCHEMA,
        3,
        d_model=8,
        n_heads=2,
        d_hidden=12,
        n_intra_layers=1,
        max_budget=1.5,
        patch_length={"acc": 2, "temp": 1},
        cross_budget=cross_budget,
        missing=missing,
    )
    net = net.double().eval()
    rng = np.random.default_rng(1)
    shapes = [(6, m.n_timepoints, m.n_channels) for m in SCHEMA]
    values = [rng.normal(size=shape) for shape in shapes]
    observed = [rng.random(shape) < 0.7 for shape in shapes]
    observed[0][0], observed[1][1] = False, False  # silent sensors
    observed[0][2, 4:10] = False  # whole patches
    out = net([*map(torch.tensor, values)], [*map(torch.tensor, observed)]).prediction
    reference = Reference(net, [2, 1])
    for i in range(6):
        expected = reference([x[i] for x in values], [seen[i] for seen in observed])
        np.testing.assert_allclose(out[i].detach().numpy(), expected, rtol=1e-5, atol=1e-7)
