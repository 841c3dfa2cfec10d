"""The baseline iTransformer against its equations, and as a row of the tables."""

import math

import numpy as np
import pytest
import torch

from mts_fusion.benchmarks._baselines import transformer_of_all_channels
from mts_fusion.benchmarks._costs import count_parameters
from mts_fusion.benchmarks._itransformer import ITransformerEncoder
from mts_fusion.datasets import make_panel_classification
from mts_fusion.nn.encoders import ENCODERS
from mts_fusion.panel import Modality

C, L, D, H = 3, 6, 8, 2


def norm(x, scale, shift):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * scale + shift


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def test_a_channel_is_a_token_and_channels_attend_to_each_other():
    torch.manual_seed(0)
    encoder = ITransformerEncoder(Modality("all", C, L), D, n_heads=H, dropout=0.0).double().eval()
    for p in encoder.parameters():
        torch.nn.init.normal_(p, std=0.4)
    values = torch.randn(2, L, C, dtype=torch.float64)
    observed = torch.ones(2, L, C, dtype=torch.bool)
    observed[0, 2, 0] = observed[1, :, 1] = False
    output = encoder(values, observed)
    w = {name: p.detach().numpy() for name, p in encoder.named_parameters()}
    for b in range(2):
        here = [c for c in range(C) if observed[b, :, c].any()]
        series = np.where(observed[b], values[b], 0.0).T[here]  # (channels, L)
        x = series @ w["embed.weight"].T + w["embed.bias"]
        for i in range(2):
            of = {name[9:]: value for name, value in w.items() if name.startswith(f"layers.{i}.")}
            q, k, v = np.split(x @ of["qkv.weight"].T + of["qkv.bias"], 3, axis=-1)
            heads = []
            for h in range(H):
                part = slice(h * D // H, (h + 1) * D // H)
                score = np.exp(q[:, part] @ k[:, part].T / math.sqrt(D / H))
                heads.append(score / score.sum(-1, keepdims=True) @ v[:, part])
            read = np.concatenate(heads, -1) @ of["out.weight"].T + of["out.bias"]
            x = norm(x + read, of["norms.0.weight"], of["norms.0.bias"])
            inner = gelu(x @ of["inner.weight"].T + of["inner.bias"])
            outer = inner @ of["outer.weight"].T + of["outer.bias"]
            x = norm(x + outer, of["norms.1.weight"], of["norms.1.bias"])
        tokens = np.zeros((C, D))
        tokens[here] = norm(x, w["norm.weight"], w["norm.bias"])
        np.testing.assert_allclose(output.tokens[b].detach(), tokens, atol=1e-10)
        wanted = gelu(tokens).ravel() @ w["join.weight"].T + w["join.bias"]
        np.testing.assert_allclose(output.embedding[b].detach(), wanted, atol=1e-10)


def test_windows_of_another_length_are_refused():
    encoder = ITransformerEncoder(Modality("all", C, L), D)
    longer = torch.zeros(1, L + 1, C)
    with pytest.raises(ValueError, match="built for 6 timepoints, got 7"):
        encoder(longer, torch.ones_like(longer, dtype=torch.bool))


def test_the_row_takes_panels_with_absent_sensors():
    X, y = make_panel_classification(24, missing_modality_fraction=0.3, random_state=0)
    try:
        model = transformer_of_all_channels(seed=0, quick=True, inverted=True).fit(X, y)
        assert np.isfinite(model.predict_proba(X)).all()
        assert count_parameters(model) > 10_000
    finally:
        ENCODERS.pop("itransformer", None)
