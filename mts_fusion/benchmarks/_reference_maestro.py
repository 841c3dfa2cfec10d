"""MAESTRO written with plain loops, keys gathered for each query: the reference for Maestro.

Sizes: M modalities, B batch, N sequences, T tokens, H heads, d width of a head, S sampled keys.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn import Maestro
from mts_fusion.nn.attention import (
    BudgetedAttention,
    CrossModalLayer,
    IntraModalLayer,
    distilled_times,
    key_factor,
    sample_keys,
)
from mts_fusion.nn.embedding import PatchEmbedding, SymbolEmbedding, token_times
from mts_fusion.nn.experts import Routing, SparseMoE
from mts_fusion.panel import Modality

__all__ = ["LoopMaestro"]


class LoopMaestro(nn.Module):
    """The network of a :class:`Maestro`, with copies of its weights, as the paper describes it.

    One modality after another; each query scores keys that are gathered for it (ProbSparse, as in
    Informer's code); one expert after another. In evaluation all queries score the same keys that
    ours score, so that the outputs are equal; in training each draws its own.

    Parameters
    ----------
    net : Maestro
        With tokens from patches or symbols only, and budgets inside and across modalities.
    """

    def __init__(self, net: Maestro) -> None:
        super().__init__()
        if net.attends_in_full or net.features is not None:
            raise ValueError("Maestro has a budget and no fixed features.")
        self.patches = net.patches
        self.net = net  # what is shared: modality dropout, budget gate, encodings, head
        self.embed, self.intra = nn.ModuleList(), nn.ModuleList()
        d_model = net.modality.shape[1]
        for group, embed in zip(net.patches.groups, net.patches.embed, strict=True):
            for index, m in enumerate(group):
                self.embed.append(
                    _one_embedding(embed, index, len(group), net.schema.modalities[m])
                )
        for row in range(len(net.schema)):
            layers = nn.ModuleList()
            for layer in net.intra:
                assert isinstance(layer, IntraModalLayer)
                one_layer = IntraModalLayer(
                    1,
                    d_model,
                    layer.attention.n_heads,
                    max_budget=layer.attention.max_budget,
                    d_hidden=layer.inner.weight.shape[-1],
                    distil=layer.distilling is not None,
                    dropout=layer.dropout.p,
                )
                _copy_row(layer, one_layer, row)
                one_layer.attention = _GatheredAttention(layer.attention)  # type: ignore[assignment]
                layers.append(one_layer)
            self.intra.append(layers)
        self.cross = nn.ModuleList()
        for across in net.cross:
            assert isinstance(across, CrossModalLayer)
            copy = CrossModalLayer(
                d_model,
                across.attention.n_heads,
                n_experts=across.experts.n_experts,
                n_active_experts=across.experts.k,
                d_hidden=across.experts.experts.weight_in.shape[-1],
                budget=across.budget,
                dropout=across.dropout.p,
            )
            copy.load_state_dict(across.state_dict())
            copy.attention = _GatheredAttention(across.attention)  # type: ignore[assignment]
            copy.experts = _LoopMoE(copy.experts)  # type: ignore[assignment]
            self.cross.append(copy)

    def forward(self, values: list[Tensor], observed: list[Tensor]) -> Tensor:
        """Prediction ``(B, n_outputs)``."""
        net = self.net
        observed = net.modality_dropout(observed)
        available = torch.stack([mask.flatten(1).any(1) for mask in observed], 1)
        budget = net.budget(available)
        all_tokens, all_available = [], []
        for row, m in enumerate(self.patches.order):
            x, available = self.embed[row]([values[m]], [observed[m]])  # (1, B, T, D), (1, B, T)
            if net.missing is not None:
                x, available = net.missing(x, available, [m])
            modality, length = net.schema.modalities[m], self.patches.lengths[m]
            seconds = token_times(modality, length, x.shape[2] * length)[None].to(x.dtype)
            encoded = self.patches.encode_times(seconds)
            x = x + encoded
            for layer in self.intra[row]:  # type: ignore[attr-defined]
                n_before = x.shape[2]
                x, left = layer(x, available, budget[None, :, m])
                if x.shape[2] != n_before:
                    encoded = distilled_times(encoded, available)
                available = left
            x = x + (encoded + net.modality[m])
            all_tokens.append(x[0])
            all_available.append(available[0])
        x, available = torch.cat(all_tokens, 1), torch.cat(all_available, 1)
        for layer in self.cross:
            x = layer(x, available).tokens
        weight = available.to(x.dtype)
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1)
        prediction: Tensor = net.head((weight.unsqueeze(1) @ x).squeeze(1))
        return prediction


def _one_embedding(embed: nn.Module, index: int, n: int, modality: Modality) -> nn.Module:
    """The embedding of one modality, out of that of the n modalities of its shape."""
    if isinstance(embed, PatchEmbedding):
        d_model = embed.project.weight.shape[2]
        return _copy_row(
            embed, PatchEmbedding(1, modality.n_channels, d_model, embed.patch_length), index
        )
    assert isinstance(embed, SymbolEmbedding)
    rows = embed.table.detach().unflatten(0, (n, -1))[index]
    one = SymbolEmbedding(
        1,
        modality.n_channels,
        rows.shape[1],
        embed.n_tokens,
        missing=embed.missing,
        patch_length=embed.patch_length,
    )
    one.load_state_dict({"table": rows})
    return one


def _copy_row(source: nn.Module, target: nn.Module, row: int) -> nn.Module:
    """Weights of one modality, out of those stacked for all."""
    target.load_state_dict({name: w[row : row + 1] for name, w in source.state_dict().items()})
    return target


class _GatheredAttention(nn.Module):
    """ProbSparse attention with a gather of S keys for each query, ``(N, H, T, S, d)``."""

    def __init__(self, ours: BudgetedAttention) -> None:
        super().__init__()
        self.n_heads, self.max_budget = ours.n_heads, ours.max_budget

    def forward(
        self, qkv: Tensor, observed: Tensor, budget: Tensor, *, picks: bool = True
    ) -> Tensor:
        n, n_tokens, width = qkv.shape
        d_head = width // (3 * self.n_heads)
        q, k, v = qkv.view(n, n_tokens, 3, self.n_heads, d_head).permute(2, 0, 3, 1, 4).unbind(0)
        factor = key_factor(self.max_budget)
        position, share = sample_keys(observed, factor, None, False)  # (N, S)
        n_keys = position.shape[1]
        n_queries = budget * torch.log(observed.sum(1).clamp(min=1).to(budget.dtype))
        with torch.no_grad():
            if self.training:
                index = torch.randint(n_tokens, (n_tokens, n_keys), device=qkv.device)
                sampled = k.contiguous()[:, :, index]  # the fastest of four ways to gather
            else:
                index = position[:, None, :, None].expand(-1, self.n_heads, -1, d_head)
                sampled = k.gather(2, index).unsqueeze(2).expand(-1, -1, n_tokens, -1, -1)
            product = (q.unsqueeze(-2) @ sampled.transpose(-1, -2)).squeeze(-2)  # (N, H, T, S)
            uniform = product.mean(-1)
            if not self.training:
                uniform = (product * share.to(k.dtype)[:, None, None]).sum(-1)
            score = product.amax(-1) - uniform
            score = score.masked_fill(~observed[:, None], -math.inf)
            # As many as the largest budget has; the gate closes for those that have less.
            n_top = min(n_keys, int(n_queries.max()) + 1)
            top = score.topk(n_top, dim=-1).indices.unsqueeze(-1).expand(-1, -1, -1, d_head)
            del sampled, product
        attention = q.gather(2, top) @ k.transpose(-1, -2) / math.sqrt(d_head)
        attention = attention.masked_fill(~observed[:, None, None], -1e9).softmax(-1) @ v
        share = observed / observed.sum(1, keepdim=True).clamp(min=1)
        mean = (v * share.to(v.dtype)[:, None, :, None]).sum(2, keepdim=True)
        rank = torch.arange(n_top, device=qkv.device)
        gate = (n_queries[:, None] - rank).clamp(0, 1).to(v.dtype)[:, None, :, None]
        mixed = mean + gate * (attention - mean)
        out = mean.expand_as(v).scatter(2, top, mixed)
        return out.transpose(1, 2).reshape(n, n_tokens, -1)


class _LoopMoE(nn.Module):
    """Experts one after another, each on the tokens that chose it."""

    def __init__(self, ours: SparseMoE) -> None:
        super().__init__()
        self.ours = ours

    def forward(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Routing]:
        ours, experts = self.ours, self.ours.experts
        assert ours.router is not None
        tokens = x.reshape(-1, x.shape[-1])
        gate = ours.router(tokens).softmax(-1)
        weight, expert = gate.topk(ours.k, -1)
        y = torch.zeros_like(tokens)
        for e in range(ours.n_experts):
            rows, index = (expert == e).nonzero(as_tuple=True)
            hidden = F.relu(torch.addmm(experts.bias_in[e], tokens[rows], experts.weight_in[e]))
            out = hidden @ experts.weight_out[e] * weight[rows, index].unsqueeze(-1)
            y = y.index_add(0, rows, out)
        balance = y.new_zeros(())
        return y.view_as(x), Routing(expert, gate, balance)
