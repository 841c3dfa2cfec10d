"""LSTM and GRU over the observed timepoints of one modality.

Sizes: B batch, L timepoints, C channels, D width, S steps, T tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout
from mts_fusion.panel._schema import Modality

from ._base import Encoded, Encoder
from ._packing import Steps, mean_seen, thinned

__all__ = ["GRUEncoder", "LSTMEncoder"]


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
