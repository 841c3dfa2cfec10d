"""LSTM and GRU over the observed timepoints of one modality.

Sizes: B batch, L timepoints, C channels, D width, S steps, T tokens.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout, masked_mean
from mts_fusion.panel._schema import Modality

from ._base import Encoder, EncoderOutput
from ._packing import PackedEmbedding, pool_to_tokens

__all__ = ["GRUEncoder", "LSTMEncoder"]


class _RecurrentEncoder(Encoder):
    """Abstract: one recurrent layer forwards and one backwards over the packed timepoints."""

    _N_GATES: ClassVar[int]

    def __init__(self, modality: Modality, d_model: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        if d_model % 2:
            raise ValueError(f"Two directions share d_model: it must be even, got {d_model}.")
        self.packed = PackedEmbedding(modality, d_model)
        self.dropout = Dropout(dropout)
        self.forwards = _make_weights(self._N_GATES, d_model, d_model // 2)
        self.backwards = _make_weights(self._N_GATES, d_model, d_model // 2)
        self.project = nn.Linear(2 * d_model, d_model)

    @staticmethod
    @abstractmethod
    def _run(x: Tensor, start: Tensor, weights: list[Tensor]) -> Tensor:
        """States ``(B, S, d_state)`` of a recurrent layer that starts from ``(1, B, d_state)``."""

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> EncoderOutput:
        """Encode."""
        x, n_steps = self.packed(values, observed, times)
        x = self.dropout(x)
        # The steps come first and the padding last, so that forwards no state depends on padding.
        # Backwards, the steps alone are reversed, each sample by its length.
        position = torch.arange(x.shape[1], device=x.device)
        reverse = n_steps.unsqueeze(1) - 1 - position
        reverse = torch.where(reverse >= 0, reverse, position).unsqueeze(-1)  # (B, S, 1)
        start = x.new_zeros(1, x.shape[0], x.shape[2] // 2)
        ahead = self._run(x, start, list(self.forwards))
        back = self._run(x.gather(1, reverse.expand_as(x)), start, list(self.backwards))
        last = (n_steps - 1).clamp(min=0).view(-1, 1, 1).expand(-1, 1, ahead.shape[-1])
        ends = torch.cat([ahead.gather(1, last), back.gather(1, last)], -1).squeeze(1)
        states = torch.cat([ahead, back.gather(1, reverse.expand_as(back))], -1)  # (B, S, D)
        mean = masked_mean(states, (position < n_steps.unsqueeze(1)).unsqueeze(-1), 1)
        embedding = self.project(self.dropout(torch.cat([ends, mean], -1)))
        return EncoderOutput(embedding, *pool_to_tokens(states, n_steps))


def _make_weights(n_gates: int, d_model: int, d_state: int) -> nn.ParameterList:
    """Weights of one recurrent layer in the order of ``torch.lstm`` and ``torch.gru``.

    Those functions are called as they are: ``nn.LSTM`` and ``nn.GRU`` do not compile.
    """
    bound = 1 / math.sqrt(d_state)
    rows = n_gates * d_state
    shapes = ((rows, d_model), (rows, d_state), (rows,), (rows,))
    return nn.ParameterList(torch.empty(shape).uniform_(-bound, bound) for shape in shapes)


class LSTMEncoder(_RecurrentEncoder):
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

    _N_GATES = 4

    @staticmethod
    def _run(x: Tensor, start: Tensor, weights: list[Tensor]) -> Tensor:
        return torch.lstm(x, [start, start], weights, True, 1, 0.0, False, False, True)[0]


class GRUEncoder(_RecurrentEncoder):
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

    _N_GATES = 3

    @staticmethod
    def _run(x: Tensor, start: Tensor, weights: list[Tensor]) -> Tensor:
        return torch.gru(x, start, weights, True, 1, 0.0, False, False, True)[0]
