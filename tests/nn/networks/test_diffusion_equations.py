"""Stage 1 of TRACE gives what its published equations give, written once more in numpy.

One sample, one entry and one head after another; nothing is shared with the package but the weights
of the network, in the setting of ``ConditionalDiffusionImputer.from_paper``.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mts_fusion.nn.diffusion import SAMPLERS, NoiseSchedule
from mts_fusion.nn.networks import ConditionalDiffusion
from mts_fusion.panel._schema import Modality, Schema

SCHEMA = Schema((Modality("vitals", 2, 4, rate=1.0), Modality("labs", 1, 3), Modality("age", 2, 1)))
LENGTHS, CHANNELS = (4, 3, 1), (2, 1, 2)
N_HEADS, N_EXPERTS = 2, 2
BETA = np.linspace(math.sqrt(1e-4), math.sqrt(0.5), 50) ** 2
ALPHA_BAR = np.cumprod(1 - BETA)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x])


class Reference:
    """Predicted noise of one sample, from the weights of a published ConditionalDiffusion."""

    def __init__(self, net):
        self.n_layers = len(net.denoiser.layers)
        self.weights = {name: p.detach().double().numpy() for name, p in net.named_parameters()}

    def linear(self, name, x):
        bias = self.weights.get(f"{name}.bias")
        return self.weights[f"{name}.weight"] @ x + (0 if bias is None else bias)

    def norm(self, name, x):
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def gate(self, m, values, observed):
        """Eq. 1: softmax of ``<w, x_O>`` over the auxiliaries that the sample has, and experts."""
        logits = {}
        for a in range(3):
            rows = np.flatnonzero(observed[a].any(1))
            if a == m or not len(rows):
                continue
            w = self.weights[f"condition.gated.gate.{a}.weight"]  # (E, C)
            for e in range(N_EXPERTS):
                logits[a, e] = np.mean([w[e] @ values[a][t] for t in rows])
        pi = softmax(np.array(list(logits.values()))) if logits else []
        return dict(zip(logits, pi, strict=True))

    def context(self, m, t, values, observed, seconds):
        """Eq. 2: the auxiliaries at the time nearest to t, weighted by the gate."""
        x = np.zeros(128)
        for (a, e), pi in self.gate(m, values, observed).items():
            nearest = np.argmin(np.abs(seconds[a] - seconds[m][t]))
            v = self.weights[f"condition.gated.experts.{a}.weight"].reshape(N_EXPERTS, 128, -1)[e]
            x += pi * (v @ values[a][nearest])
        return x

    def side(self, m, t, c, values, observed, seconds):
        """Eq. 3 and CSDI: time, channel and context of an entry."""
        angle = seconds[m][t] * 10_000.0 ** (-np.arange(64) / 64)
        time = np.concatenate([np.sin(angle), np.cos(angle)])
        feature = self.weights[f"condition.feature.{m}"][c]
        return np.concatenate([time, feature, self.context(m, t, values, observed, seconds)])

    def attention(self, name, tokens):
        qkv = [np.split(self.linear(f"{name}.qkv", x), 3) for x in tokens]
        q, k, v = (np.stack(part) for part in zip(*qkv, strict=True))
        d = q.shape[1] // N_HEADS
        heads = []
        for h in range(N_HEADS):
            part = slice(h * d, (h + 1) * d)
            heads.append(
                np.stack(
                    [softmax(one @ k[:, part].T / math.sqrt(d)) @ v[:, part] for one in q[:, part]]
                )
            )
        return [self.linear(f"{name}.out", x) for x in np.concatenate(heads, axis=1)]

    def transformer(self, name, tokens):
        """Attention, then a feed-forward layer; each is added, then normed."""
        out = []
        for x, y in zip(tokens, self.attention(f"{name}.attention", tokens), strict=True):
            x = self.norm(f"{name}.attention_norm", x + y)
            y = self.linear(f"{name}.outer", gelu(self.linear(f"{name}.inner", x)))
            out.append(self.norm(f"{name}.norm", x + y))
        return out

    def layer(self, i, x, step, sides):
        """A residual layer of CSDI: what is passed on and what is added to the output."""
        name = f"denoiser.layers.{i}"
        y = {key: one + self.linear(f"{name}.step", step) for key, one in x.items()}
        for axis, across in enumerate((0, 1)):
            for m in range(3):
                for fixed in range((CHANNELS, LENGTHS)[across][m]):
                    keys = [k for k in y if k[0] == m and k[2 - across] == fixed]
                    tokens = self.transformer(f"{name}.mix.{axis}", [y[k] for k in keys])
                    y |= dict(zip(keys, tokens, strict=True))
        passed, skips = {}, {}
        for key, one in y.items():
            one = self.linear(f"{name}.middle", one) + self.linear(f"{name}.side", sides[key])
            gate, content = np.split(one, 2)
            out = self.linear(f"{name}.out", np.tanh(content) / (1 + np.exp(-gate)))
            residual, skips[key] = np.split(out, 2)
            passed[key] = (x[key] + residual) / math.sqrt(2)
        return passed, skips

    def __call__(self, z, t, values, observed, seconds):
        """``epsilon_theta(z_t, t | c)`` of each entry ``(m, timepoint, channel)``."""
        # In the precision of the network: the fastest sine turns 10,000 radians a step.
        angle = np.float32(t) * np.float32(10.0) ** (np.arange(64, dtype=np.float32) / 63 * 4)
        step = np.concatenate([np.sin(angle), np.cos(angle)])
        step = silu(
            self.linear("denoiser.step.out", silu(self.linear("denoiser.step.hidden", step)))
        )
        entries = [
            (m, i, c) for m in range(3) for i in range(LENGTHS[m]) for c in range(CHANNELS[m])
        ]
        x, sides = {}, {}
        for (m, i, c), latent in zip(entries, z, strict=True):
            pair = np.array([values[m][i, c], observed[m][i, c]], dtype=float)
            given = self.linear(f"condition.observed_in.{m}", pair)
            latent = self.linear(f"denoiser.latent_in.{m}", np.array([latent]))
            x[m, i, c] = np.maximum(latent + given, 0)
            sides[m, i, c] = self.side(m, i, c, values, observed, seconds)
        total = dict.fromkeys(entries, 0)
        for i in range(self.n_layers):
            x, skips = self.layer(i, x, step, sides)
            total = {key: total[key] + skips[key] for key in entries}
        out = []
        for key in entries:
            hidden = self.linear("denoiser.skip", total[key] / math.sqrt(self.n_layers))
            out.append(self.linear(f"denoiser.out.{key[0]}", np.maximum(hidden, 0))[0])
        return np.array(out)


@pytest.fixture(scope="module")
def published():
    """A network with weights everywhere, three samples of it, and their times."""
    torch.manual_seed(0)
    net = ConditionalDiffusion(
        SCHEMA,
        d_model=4,
        n_heads=N_HEADS,
        n_layers=2,
        n_encoder_layers=0,
        patch_length=1,
        channels_per_token=1,
        n_experts=N_EXPERTS,
        gating="inner_product",
        parameterization="noise",
        prior="standard",
        time_unit=1.0,
    ).eval()
    for parameter in net.denoiser.out.parameters():
        torch.nn.init.normal_(parameter)
    rng = np.random.default_rng(0)
    shapes = [(3, length, width) for length, width in zip(LENGTHS, CHANNELS, strict=True)]
    observed = [rng.random(shape) < 0.7 for shape in shapes]
    observed[1][1] = False  # a silent auxiliary
    values = [np.where(o, rng.normal(size=o.shape), 0) for o in observed]
    labs = np.sort(rng.uniform(0, 4, size=(3, 3)), axis=1)
    seconds = [[np.arange(4.0), labs[i], np.zeros(1)] for i in range(3)]
    return net, values, observed, labs, seconds


def _tensors(values, observed, labs):
    given = [torch.tensor(x, dtype=torch.float32) for x in values]
    return given, [*map(torch.tensor, observed)], [None, torch.tensor(labs).float(), None]


def test_the_denoiser_is_its_equations(published):
    net, values, observed, labs, seconds = published
    z = np.random.default_rng(1).normal(size=(3, 13))
    step = torch.tensor([0, 7, 49])

    condition = net.condition(*_tensors(values, observed, labs), [0, 1, 2])
    sides = net.denoiser.prepare(condition)
    out = net.denoiser(torch.tensor(z).float()[:, None], step, condition, sides)[:, 0]

    reference = Reference(net)
    for i in range(3):
        of_sample = [x[i] for x in values], [o[i] for o in observed]
        expected = reference(z[i], int(step[i]), *of_sample, seconds[i])
        np.testing.assert_allclose(out[i].detach(), expected, rtol=1e-3, atol=1e-4)
        for m in range(3):
            gate = np.zeros(3)
            for (a, _), pi in reference.gate(m, *of_sample).items():
                gate[a] += pi
            np.testing.assert_allclose(condition.gate[i, m].detach(), gate, rtol=1e-4, atol=1e-6)


def test_the_loss_is_eq_7_over_what_was_hidden(published, monkeypatch):
    net, values, observed, labs, seconds = published
    rng = np.random.default_rng(2)
    hidden = [o & (rng.random(o.shape) < 0.5) for o in observed]
    step, noise = np.array([3, 20, 40]), rng.normal(size=(3, 13))
    drawn = [*map(torch.tensor, hidden)], torch.tensor(step), torch.tensor(noise).float()
    monkeypatch.setattr(net, "_draw_by_content", lambda values, observed: drawn)

    loss = net(*_tensors(values, observed, labs)).loss.item()

    reference, errors = Reference(net), []
    for i in range(3):
        flat = np.concatenate([x[i].ravel() for x in values])
        is_hidden = np.concatenate([h[i].ravel() for h in hidden])
        shown = [o[i] & ~h[i] for o, h in zip(observed, hidden, strict=True)]
        given = [np.where(s, x[i], 0) for s, x in zip(shown, values, strict=True)]
        kept = ALPHA_BAR[step[i]]
        z = np.where(is_hidden, math.sqrt(kept) * flat + math.sqrt(1 - kept) * noise[i], noise[i])
        z[np.concatenate([s.ravel() for s in shown])] = 0  # conditions are no latents
        epsilon = reference(z, int(step[i]), given, shown, seconds[i])
        errors += [*((noise[i] - epsilon)[is_hidden] ** 2)]
    assert loss == pytest.approx(np.mean(errors), rel=1e-3)


def test_sampling_is_eq_28_with_the_quadratic_schedule():
    schedule, rng = NoiseSchedule("quad", 50), np.random.default_rng(3)
    noises = rng.normal(size=(50, 4))
    weight = rng.normal(size=50)

    def epsilon(z, t):  # any prediction will do
        return np.tanh(z * weight[t] + 0.3)

    def denoise(z, t):
        kept = ALPHA_BAR[t]
        return (z - math.sqrt(1 - kept) * torch.tensor(epsilon(z.numpy(), t))) / math.sqrt(kept)

    out = SAMPLERS["ddpm"](denoise, lambda i: torch.tensor(noises[i]), schedule, 50)

    z = noises[0]
    for t in range(49, -1, -1):
        alpha = 1 - BETA[t]
        mean = z - (1 - alpha) / math.sqrt(1 - ALPHA_BAR[t]) * epsilon(z, t)
        z = mean / math.sqrt(alpha)
        if t > 0:
            variance = (1 - ALPHA_BAR[t - 1]) / (1 - ALPHA_BAR[t]) * BETA[t]
            z = z + math.sqrt(variance) * noises[50 - t]
    np.testing.assert_allclose(out, z, rtol=1e-4)
