"""Encoders of one modality: a masked sequence of any length becomes one embedding.

Sizes: B batch, L timepoints, C channels, D width, S steps, T tokens.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.blocks._attention import attend
from mts_fusion.nn.blocks._convolution_encoders import ConvolutionEncoder
from mts_fusion.nn.blocks._encoded import Encoded, Encoder
from mts_fusion.nn.blocks._random import Dropout
from mts_fusion.nn.blocks._steps import Steps, Timepoints, compact, mean_seen, thinned
from mts_fusion.panel._schema import Modality

__all__ = [
    "ENCODERS",
    "CNNEncoder",
    "GRUEncoder",
    "LSTMEncoder",
    "TransformerEncoder",
]


class LSTMEncoder(Encoder):
    """Two-directional LSTM over the observed timepoints.

    Parameters
    ----------
    modality : Modality
        What is encoded.
    d_model : int
        Width D, even.
    dropout : float, default=0.1
        Dropout on the input and on the state that is read.

    Raises
    ------
    ValueError
        If ``d_model`` is odd.

    Notes
    -----
    Timepoints at which nothing was observed are left out, so that no state passes through them; how
    much time lies between the others is an input.

    References
    ----------
    .. [1] Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation, 1997.

    Examples
    --------
    >>> encoder = LSTMEncoder(Modality("acc", 3, 50), 16)
    >>> encoder(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=bool)).embedding.shape
    torch.Size([2, 16])
    """

    def __init__(self, modality: Modality, d_model: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.recurrent = _Recurrent("lstm", modality, d_model, dropout)

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> Encoded:
        """Encode."""
        return self.recurrent(values, observed, times)


class GRUEncoder(Encoder):
    """Two-directional GRU over the observed timepoints.

    Parameters
    ----------
    modality : Modality
        What is encoded.
    d_model : int
        Width D, even.
    dropout : float, default=0.1
        Dropout on the input and on the state that is read.

    Raises
    ------
    ValueError
        If ``d_model`` is odd.

    Notes
    -----
    As for :class:`LSTMEncoder`.

    References
    ----------
    .. [1] Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical
       Machine Translation", EMNLP, 2014. https://arxiv.org/abs/1406.1078

    Examples
    --------
    >>> encoder = GRUEncoder(Modality("acc", 3, 50), 16)
    >>> encoder(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=bool)).embedding.shape
    torch.Size([2, 16])
    """

    def __init__(self, modality: Modality, d_model: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.recurrent = _Recurrent("gru", modality, d_model, dropout)

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> Encoded:
        """Encode."""
        return self.recurrent(values, observed, times)


class TransformerEncoder(Encoder):
    """Transformer over the observed timepoints.

    Parameters
    ----------
    modality : Modality
        What is encoded.
    d_model : int
        Width D, a multiple of ``n_heads``.
    dropout : float, default=0.1
        Dropout in all layers.
    n_layers : int, default=2
        Layers.
    n_heads : int, default=4
        Heads of the attention.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``n_heads``.

    Notes
    -----
    The embedding is the mean of the steps. A modality of more than 128 timepoints has several in a
    step.

    References
    ----------
    .. [1] Vaswani et al., "Attention Is All You Need", NeurIPS, 2017.
       https://arxiv.org/abs/1706.03762

    Examples
    --------
    >>> encoder = TransformerEncoder(Modality("acc", 3, 50), 16)
    >>> encoder(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=bool)).embedding.shape
    torch.Size([2, 16])
    """

    def __init__(
        self,
        modality: Modality,
        d_model: int,
        *,
        dropout: float = 0.1,
        n_layers: int = 2,
        n_heads: int = 4,
    ) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(
                f"d_model is a multiple of n_heads, got d_model={d_model} and n_heads={n_heads}."
            )
        self.steps = Steps(modality, d_model)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            _TransformerLayer(d_model, n_heads, dropout) for _ in range(n_layers)
        )
        self.leave = nn.LayerNorm(d_model)

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> Encoded:
        """Encode."""
        x, n_steps = self.steps(values, observed, times)
        seen = torch.arange(x.shape[1], device=x.device) < n_steps.unsqueeze(1)  # (B, S)
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(x, seen)
        x = self.leave(x)
        return Encoded(mean_seen(x, seen), *thinned(x, n_steps))


class CNNEncoder(Encoder):
    """Residual convolutions of growing dilation, then mean and maximum over what was observed.

    Parameters
    ----------
    modality : Modality
        What is encoded.
    d_model : int
        Width D.
    dropout : float, default=0.1
        Dropout on what is pooled.
    n_layers : int, default=3
        Layers; each doubles the dilation, and after three of kernel size 7 a timepoint sees 43.

    Notes
    -----
    A timepoint at which nothing was observed is zero in each layer, as padding is, and is left out
    of mean and maximum. The normalisation is over the channels of one timepoint.

    References
    ----------
    .. [1] Wang, Yan and Oates, "Time Series Classification from Scratch with Deep Neural Networks",
       IJCNN, 2017. https://arxiv.org/abs/1611.06455

    Examples
    --------
    >>> encoder = CNNEncoder(Modality("acc", 3, 50), 16)
    >>> encoder(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=bool)).embedding.shape
    torch.Size([2, 16])
    """

    def __init__(
        self, modality: Modality, d_model: int, *, dropout: float = 0.1, n_layers: int = 3
    ) -> None:
        super().__init__()
        self.enter = Timepoints(modality, d_model)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(d_model, d_model, 7, padding=3 * 2**i, dilation=2**i) for i in range(n_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(n_layers))
        self.dropout = Dropout(dropout)
        self.leave = nn.Linear(2 * d_model, d_model)

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> Encoded:
        """Encode."""
        seen = observed.any(-1)  # (B, L)
        shown = seen.unsqueeze(-1)
        x = self.enter(values, observed) * shown
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            new = convolution(x.transpose(1, 2)).transpose(1, 2)
            x = (x + F.gelu(norm(new))) * shown
        largest = x.masked_fill(~shown, -math.inf).amax(1)
        largest = torch.where(seen.any(1, keepdim=True), largest, 0.0)
        pooled = self.dropout(torch.cat([mean_seen(x, seen), largest], -1))
        order, n_seen = compact(seen)
        tokens, token_seen = thinned(x.gather(1, order.unsqueeze(-1).expand_as(x)), n_seen)
        return Encoded(self.leave(pooled), tokens, token_seen)


ENCODERS: dict[str, type[Encoder]] = {
    "multirocket": ConvolutionEncoder,
    "hydra": ConvolutionEncoder,
    "lstm": LSTMEncoder,
    "gru": GRUEncoder,
    "cnn": CNNEncoder,
    "transformer": TransformerEncoder,
}


class _Recurrent(nn.Module):
    """One LSTM or GRU forwards and one backwards over the steps of a modality."""

    def __init__(self, kind: str, modality: Modality, d_model: int, dropout: float) -> None:
        super().__init__()
        if d_model % 2:
            raise ValueError(f"Two directions share d_model: it must be even, got {d_model}.")
        self.steps = Steps(modality, d_model)
        self.dropout = Dropout(dropout)
        self.forwards = _Direction(kind, d_model, d_model // 2)
        self.backwards = _Direction(kind, d_model, d_model // 2)
        self.leave = nn.Linear(2 * d_model, d_model)

    def forward(self, values: Tensor, observed: Tensor, times: Tensor | None) -> Encoded:
        x, n_steps = self.steps(values, observed, times)
        x = self.dropout(x)
        # The steps come first and the padding last, so that going forwards no state of a step has
        # seen padding. Backwards, the steps alone are turned round, each sample by its length.
        position = torch.arange(x.shape[1], device=x.device)
        turned = n_steps.unsqueeze(1) - 1 - position
        turned = torch.where(turned >= 0, turned, position).unsqueeze(-1)  # (B, S, 1)
        ahead = self.forwards(x)
        back = self.backwards(x.gather(1, turned.expand_as(x)))
        last = (n_steps - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, ahead.shape[-1])
        ends = torch.cat([ahead.gather(1, last), back.gather(1, last)], -1).squeeze(1)
        states = torch.cat([ahead, back.gather(1, turned.expand_as(back))], -1)  # (B, S, D)
        mean = mean_seen(states, position < n_steps.unsqueeze(1))
        embedding = self.leave(self.dropout(torch.cat([ends, mean], -1)))
        return Encoded(embedding, *thinned(states, n_steps))


class _Direction(nn.Module):
    """States of an LSTM or a GRU of one layer, ``(B, S, D)`` to ``(B, S, d_state)``.

    Calls what ``nn.LSTM`` and ``nn.GRU`` call: those modules themselves do not compile.
    """

    def __init__(self, kind: str, d_model: int, d_state: int) -> None:
        super().__init__()
        self.kind = kind
        n_gates = 4 if kind == "lstm" else 3
        bound = 1 / math.sqrt(d_state)
        self.weight_in = nn.Parameter(torch.empty(n_gates * d_state, d_model))
        self.weight_state = nn.Parameter(torch.empty(n_gates * d_state, d_state))
        self.bias_in = nn.Parameter(torch.empty(n_gates * d_state))
        self.bias_state = nn.Parameter(torch.empty(n_gates * d_state))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        start = x.new_zeros(1, x.shape[0], self.weight_state.shape[1])
        weights: list[Tensor] = [self.weight_in, self.weight_state]
        weights += [self.bias_in, self.bias_state]
        if self.kind == "lstm":
            return torch.lstm(x, [start, start], weights, True, 1, 0.0, False, False, True)[0]
        return torch.gru(x, start, weights, True, 1, 0.0, False, False, True)[0]


class _TransformerLayer(nn.Module):
    """Attention between the steps that there are, then a feed-forward layer."""

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.enter = nn.LayerNorm(d_model)
        self.project = nn.Linear(d_model, 3 * d_model)
        self.join = nn.Linear(d_model, d_model)
        self.feed = nn.Sequential(
            nn.LayerNorm(d_model),
            nn.Linear(d_model, 2 * d_model),
            nn.GELU(),
            nn.Linear(2 * d_model, d_model),
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        parts = self.project(self.enter(x)).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # each (B, H, S, d)
        x = x + self.dropout(self.join(attend(q, k, v, seen).transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feed(x))
