"""Stage 2 of TRACE gives what its published equations give, written once more in numpy.

One sample, one modality, one token and one expert after another; nothing is shared with the package
but the weights.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mts_fusion.nn.experts import routing_entropy_loss
from mts_fusion.nn.networks import Trace
from mts_fusion.panel._schema import Modality, Schema

SCHEMA = Schema((Modality("acc", 2, 6, rate=2.0), Modality("labs", 1, 4), Modality("age", 1, 1)))
N_REFERENCE, N_HEADS = 3, 2


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


class Reference:
    """The network for one sample, from the weights of a :class:`Trace` without fixed features."""

    def __init__(self, net):
        self.net = net
        self.weights = {name: p.detach().double().numpy() for name, p in net.named_parameters()}

    def linear(self, name, x):
        bias = self.weights.get(f"{name}.bias")
        return self.weights[f"{name}.weight"] @ x + (0 if bias is None else bias)

    def norm(self, name, x):
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def embed_time(self, t):
        """``phi(t)[0] = w_0 t + a_0`` and ``phi(t)[i] = sin(w_i t + a_i)``."""
        angle = t * self.weights["series.time.frequency"] + self.weights["series.time.phase"]
        return np.concatenate([angle[:1], np.sin(angle[1:])])

    def interpolate(self, m, r, values, used, observed, times):
        """Multi-time attention of modality m at reference time r: each channel by itself."""
        query = self.linear(f"series.embed.{m}.query", self.embed_time(r))
        keys = [self.linear(f"series.embed.{m}.key", self.embed_time(t)) for t in times]
        width = len(query) // N_HEADS
        out = []
        for h in range(N_HEADS):
            part = slice(h * width, (h + 1) * width)
            scores = np.array([query[part] @ k[part] for k in keys]) / math.sqrt(width)
            means, shares = [], []
            for c in range(values.shape[1]):
                rows = np.flatnonzero(used[:, c])
                weight = softmax(scores[rows]) if len(rows) else np.zeros(0)
                means.append(weight @ values[rows, c])
                shares.append(weight @ observed[rows, c].astype(float))
            out += [*means, *shares]
        return self.linear(f"series.embed.{m}.out", np.array(out))

    def series(self, values, used, observed, seconds):
        """``(M, Q, D)``: the modalities at the reference times of the sample's span."""
        given = [seconds[1][used[1].any(1)]] if used[1].any() else []
        first = min([0.0, *(t.min() for t in given)])
        last = max([3.0, *(t.max() for t in given)])  # "acc" lasts 6 timepoints at 2 Hz
        x = np.zeros((3, N_REFERENCE, self.weights["modality"].shape[1]))
        for m, modality in enumerate(SCHEMA):
            for i, r in enumerate(np.linspace(0, 1, N_REFERENCE)):
                if not used[m].any():
                    x[m, i] = self.weights["absent"][m]
                elif modality.n_timepoints == 1:
                    value = np.where(used[m][0], values[m][0], 0)
                    pair = np.concatenate([value, observed[m][0]])
                    x[m, i] = self.linear(f"series.embed.{m}.out", pair)
                else:
                    t = (seconds[m] - first) / (last - first)
                    x[m, i] = self.interpolate(m, r, values[m], used[m], observed[m], t)
        return x

    def attend(self, prefix, x, available):
        """Self-attention over the tokens of all modalities that are available."""
        _, length, width = x.shape
        tokens = x.reshape(-1, width)
        keys = np.flatnonzero(np.repeat(available, length))
        qkv = [
            self.linear(f"{prefix}.qkv", self.norm(f"{prefix}.norm_attention", u)) for u in tokens
        ]
        q, k, v = (np.stack([np.split(u, 3)[i] for u in qkv]) for i in range(3))
        d = width // N_HEADS
        out = np.zeros_like(tokens)
        for h in range(N_HEADS):
            part = slice(h * d, (h + 1) * d)
            for i in range(len(tokens)):
                weight = softmax(q[i, part] @ k[keys][:, part].T / math.sqrt(d))
                out[i, part] = weight @ v[keys][:, part]
        out = np.stack([self.linear(f"{prefix}.project", u) for u in out])
        return x + out.reshape(x.shape)

    def expert(self, prefix, e, u):
        w_in, b_in, w_out, b_out = (
            self.weights[f"{prefix}.moe.experts.{name}"][e]
            for name in ("weight_in", "bias_in", "weight_out", "bias_out")
        )
        return np.maximum(u @ w_in + b_in[0], 0) @ w_out + b_out[0]

    def mixture(self, prefix, moe, u, router):
        """``sum_{e in top-k} softmax(h)_e f_e(u)``, and all routing probabilities."""
        keys = self.weights[f"{prefix}.moe.keys"][router]
        score = {
            "softmax": lambda key: u @ key,
            "laplace": lambda key: -np.linalg.norm(u - key),
            "gaussian": lambda key: -(np.linalg.norm(u - key) ** 2),
        }[moe.gate]
        h = np.array([score(key) for key in keys])
        chosen = np.argsort(h)[::-1][: moe.k]
        first = router * len(keys) if moe.router == "disjoint" else 0
        parts = [self.expert(prefix, first + e, u) for e in chosen]
        routing = np.zeros(moe.n_experts)
        routing[first : first + len(keys)] = softmax(h)
        return softmax(h[chosen]) @ np.stack(parts), routing

    def experts(self, prefix, moe, x):
        """``(M, Q, D)`` after the experts, and the routing ``(M, Q, E)``."""
        y, routing = np.zeros_like(x), np.zeros((*x.shape[:2], moe.n_experts))
        for i in range(x.shape[1]):
            normed = [self.norm(f"{prefix}.norm_moe", u) for u in x[:, i]]
            if moe.router == "joint":
                out, p = self.mixture(prefix, moe, np.concatenate(normed), 0)
                y[:, i], routing[:, i] = out.reshape(len(normed), -1), p
                continue
            for m, u in enumerate(normed):
                y[m, i], routing[m, i] = self.mixture(prefix, moe, u, m)
        return x + y, routing

    def __call__(self, values, used, observed, seconds):
        available = np.array([mask.any() for mask in used])
        x = self.series(values, used, observed, seconds)
        grid = np.linspace(0, 1, N_REFERENCE)
        position = np.stack([self.linear("position", self.embed_time(r)) for r in grid])
        x = x + self.weights["modality"][:, None] + position
        routings = []
        for i, layer in enumerate(self.net.layers):
            x = self.attend(f"layers.{i}", x, available)
            x, routing = self.experts(f"layers.{i}", layer.moe, x)
            routings.append(routing)
        fused = np.stack([[self.norm("norm", u) for u in part] for part in x]).mean(1).ravel()
        mixed = fused + self.linear("mixed", np.maximum(self.linear("hidden", fused), 0))
        return self.linear("out", mixed), routings


def _entropy(p):
    p = p[p > 0]
    return -(p * np.log(p)).sum()


def eq_8(routings, available):
    """``1/M sum_j H(p_j) - H(1/M sum_j p_j)``, p_j the mean routing of modality j."""
    p = [
        np.mean([r[m].mean(0) for r, a in zip(routings, available, strict=True) if a[m]], axis=0)
        for m in range(available.shape[1])
        if available[:, m].any()
    ]
    return np.mean([_entropy(one) for one in p]) - _entropy(np.mean(p, axis=0))


@pytest.mark.parametrize("gate", ["softmax", "laplace", "gaussian"])
@pytest.mark.parametrize("router", ["joint", "per_modality", "disjoint"])
def test_the_whole_network_is_its_equations(router, gate):
    torch.manual_seed(0)
    net = Trace(
        SCHEMA,
        2,
        d_model=4,
        d_time=4,
        n_reference=N_REFERENCE,
        n_heads=N_HEADS,
        n_layers=2,
        n_experts=6,
        n_active_experts=2,
        d_hidden=5,
        router=router,
        gate=gate,
        entropy_weight=1.0,
    )
    net = net.eval()
    rng = np.random.default_rng(0)
    shapes = [(4, m.n_timepoints, m.n_channels) for m in SCHEMA]
    values = [rng.normal(size=shape) for shape in shapes]
    observed = [rng.random(shape) < 0.6 for shape in shapes]
    observed[0][0], observed[1][1], observed[2][2] = False, False, False  # silent sensors
    imputed = [~o & (rng.random(o.shape) < 0.3) for o in observed]
    imputed[0][0], imputed[1][1], imputed[2][2] = False, False, False
    seconds = np.sort(rng.uniform(-1, 4, size=(4, 4)), axis=1)

    out = net(
        [torch.tensor(x, dtype=torch.float32) for x in values],
        [*map(torch.tensor, observed)],
        [None, torch.tensor(seconds), None],
        imputed=[*map(torch.tensor, imputed)],
    )

    reference, routings = Reference(net), []
    used = [o | i for o, i in zip(observed, imputed, strict=True)]
    for i in range(4):
        of_sample = ([x[i] for x in part] for part in (values, used, observed))
        times = [np.arange(6) / 2.0, seconds[i], np.zeros(1)]
        expected, routing = reference(*of_sample, times)
        np.testing.assert_allclose(out.prediction[i].detach(), expected, rtol=1e-4, atol=1e-5)
        routings.append(routing)
    available = np.stack([mask.any((1, 2)) for mask in used], axis=1)
    losses = [eq_8([r[layer] for r in routings], available) for layer in range(2)]
    np.testing.assert_allclose(out.loss.item(), np.mean(losses), rtol=1e-4, atol=1e-6)


def test_eq_8_by_hand():
    p = np.array([[0.9, 0.1], [0.2, 0.8]])
    available = torch.ones(3, 2, dtype=torch.bool)
    routing = torch.tensor(p)[None, :, None].expand(3, 2, 5, 2)

    loss = routing_entropy_loss(routing, available)

    entropy = [-(q * np.log(q)).sum() for q in p]
    mean = p.mean(0)
    assert loss.item() == pytest.approx(np.mean(entropy) + (mean * np.log(mean)).sum())
