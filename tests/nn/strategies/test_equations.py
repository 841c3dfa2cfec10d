"""Strategies of papers against their equations, written again with numpy, sample by sample."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mts_fusion.nn.strategies import MulTFusion, ShaSpecFusion, Tokens

B, M, T, D, H, N_OUTPUTS = 5, 3, 4, 8, 2, 5


def weights(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy() for name, p in module.named_parameters()}


def batch() -> tuple[torch.Tensor, torch.Tensor, Tokens]:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(B, M, T, D, generator=generator, dtype=torch.float64)
    available = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 1, 1]]).bool()
    observed = torch.rand(B, M, T, generator=generator) < 0.7
    observed[:, :, 1] = True
    return values.mean(2), available, Tokens(values, observed & available.unsqueeze(-1))


def layer_norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def transformer_layer(
    w: dict[str, np.ndarray], prefix: str, n: int, x: np.ndarray, source: np.ndarray
) -> np.ndarray:
    """Eq. 5 to 7 of MulT for one pair: x (T, D) attends to the observed tokens of a source."""

    def linear(name: str, y: np.ndarray) -> np.ndarray:
        return y @ w[f"{prefix}.{name}.weight"][n] + w[f"{prefix}.{name}.bias"][n]

    q = linear("query", layer_norm(x))
    k, v = np.split(linear("key_value", layer_norm(source)), 2, axis=-1)
    heads = []
    for h in range(H):
        part = slice(h * D // H, (h + 1) * D // H)
        attention = softmax(q[:, part] @ k[:, part].T / math.sqrt(D / H))
        heads.append(attention @ v[:, part])
    x = x + linear("out", np.concatenate(heads, -1))
    return x + linear("back", np.maximum(linear("hidden", layer_norm(x)), 0))


def test_mult_is_a_transformer_for_each_pair_then_self_attention() -> None:
    torch.manual_seed(0)
    fusion = MulTFusion(M, D, N_OUTPUTS, n_heads=H, dropout=0.0, n_layers=2).double().eval()
    embeddings, available, tokens = batch()
    w = weights(fusion)
    for b in range(B):
        pooled = {}
        for m in np.flatnonzero(available[b]):
            x = np.where(tokens.observed[b, m, :, None], tokens.values[b, m].numpy(), 0.0)
            others = [other for other in range(M) if other != m]
            read = np.zeros((T, (M - 1) * D))
            for i, other in enumerate(others):
                if available[b, other]:
                    y = x
                    source = tokens.values[b, other].numpy()[tokens.observed[b, other].numpy()]
                    for layer in range(2):
                        pair = m * (M - 1) + i
                        y = transformer_layer(w, f"cross.{layer}", pair, y, source)
                    read[:, i * D : (i + 1) * D] = y
            z = x + read @ w["join.weight"][m] + w["join.bias"][m]
            for layer in range(2):
                seen = z[tokens.observed[b, m].numpy()]
                z = transformer_layer(w, f"within.{layer}", m, z, seen)
            pooled[m] = z[tokens.observed[b, m].numpy()].mean(0) + embeddings[b, m].numpy()
        rows = np.stack(list(pooled.values()))
        weight = softmax(rows @ w["score.weight"][0] + w["score.bias"][0])
        wanted = fusion.head(torch.from_numpy(weight @ rows)).detach()
        got = fusion(
            embeddings[b : b + 1],
            available[b : b + 1],
            Tokens(tokens.values[b : b + 1], tokens.observed[b : b + 1]),
        )
        torch.testing.assert_close(got.logits[0], wanted)


def test_pairs_of_mult_have_weights_of_their_own() -> None:
    sizes = [
        sum(p.numel() for p in MulTFusion(M, D, N_OUTPUTS, n_layers=n).cross.parameters())
        for n in (1, 3)
    ]
    per_pair = 12 * D * D + 9 * D  # query, key, value, out, two of the feed-forward layer; biases
    assert sizes == [M * (M - 1) * per_pair, 3 * M * (M - 1) * per_pair]


def test_shaspec_is_its_equations() -> None:
    torch.manual_seed(0)
    alpha, beta = 0.3, 0.7
    fusion = (
        ShaSpecFusion(M, D, N_OUTPUTS, dropout=0.0, domain_weight=alpha, alignment_weight=beta)
        .double()
        .eval()
    )
    embeddings, available, _ = batch()
    output = fusion(embeddings, available)
    w = weights(fusion)
    domain, alignment = [], []
    for b in range(B):
        here = np.flatnonzero(available[b])
        x = embeddings[b].numpy()
        r = {m: gelu(x[m] @ w["specific.weight"][m] + w["specific.bias"][m, 0]) for m in here}
        s = {m: gelu(w["shared.weight"] @ x[m] + w["shared.bias"]) for m in here}
        f = []
        for m in range(M):
            if m in here:
                joined = w["project.weight"] @ np.concatenate([r[m], s[m]]) + w["project.bias"]
                f.append(s[m] + joined)
            else:
                f.append(np.mean(list(s.values()), axis=0))
        wanted = fusion.head(torch.from_numpy(np.concatenate(f))).detach()
        torch.testing.assert_close(output.logits[b], wanted)
        for m in here:
            domain.append(-np.log(softmax(w["domain.weight"] @ r[m] + w["domain.bias"])[m]))
        alignment += [np.abs(s[m] - s[n]).mean() for m in here for n in here if m < n]
    assert output.loss is not None
    wanted_loss = alpha * np.mean(domain) + beta * np.mean(alignment)
    assert output.loss.item() == pytest.approx(wanted_loss, rel=1e-9)
