"""Encoders of one modality: a masked sequence of any length becomes one embedding.

Sizes: B batch, L timepoints, C channels, D width, S steps, T tokens.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.blocks._attention import attend
from mts_fusion.nn.blocks._hydra import Hydra
from mts_fusion.nn.blocks._random import Dropout
from mts_fusion.nn.blocks._statistics import StatisticTokens
from mts_fusion.nn.blocks._steps import Steps, Timepoints, compact, mean_seen, thinned
from mts_fusion.panel._schema import Modality, Schema

__all__ = [
    "ENCODERS",
    "CNNEncoder",
    "Encoded",
    "Encoder",
    "GRUEncoder",
    "HydraEncoder",
    "LSTMEncoder",
    "TransformerEncoder",
]

# Of the samples that go without a kind of features, how many go without convolutions.
_SHARE_OF_CONVOLUTIONS = 0.9


class Encoded(NamedTuple):
    """What an encoder makes of one modality.

    Parameters
    ----------
    embedding : Tensor of shape (B, D)
        The embedding; finite, but meaningless where nothing was observed.
    tokens : Tensor of shape (B, T, D)
        The sequence behind it, in the order of time. T does not depend on L.
    observed : Tensor of shape (B, T)
        Bool: which tokens there are.
    """

    embedding: Tensor
    tokens: Tensor
    observed: Tensor


class Encoder(nn.Module):
    """Abstract: an encoder of one modality, built with ``(modality, d_model, *, ...)``.

    Whatever is not observed changes no bit of the output, and padding changes nothing.

    Attributes
    ----------
    n_features : int
        Width of the fixed features that ``featurize`` gives; 0 where there are none.
    """

    n_features = 0

    def featurize(self, values: Tensor, observed: Tensor, times: Tensor | None = None) -> Tensor:
        """Features that training does not change, computed once.

        Parameters
        ----------
        values : Tensor of shape (B, L, C)
            Finite numbers, or integer tokens.
        observed : Tensor of shape (B, L, C)
            Bool.
        times : Tensor of shape (B, L) or None, default=None
            Time of each timepoint; None: they are equally spaced.

        Returns
        -------
        Tensor of shape (B, n_features)
            Nothing, where all is trained.
        """
        return torch.empty(observed.shape[0], 0, device=observed.device)

    def fit_features(self, features: Tensor) -> None:
        """Keep the statistics of the features of the training samples.

        Parameters
        ----------
        features : Tensor of shape (n, n_features)
            From `featurize`.
        """

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> Encoded:
        """Encode.

        Parameters
        ----------
        values : Tensor of shape (B, L, C)
            Finite numbers, or integer tokens.
        observed : Tensor of shape (B, L, C)
            Bool.
        times : Tensor of shape (B, L) or None, default=None
            Time of each timepoint, in any unit; None: they are equally spaced.
        features : Tensor of shape (B, n_features) or None, default=None
            From `featurize`; None computes them.

        Returns
        -------
        Encoded
            Embedding and tokens.
        """
        raise NotImplementedError


class HydraEncoder(Encoder):
    """Linear map of fixed random-convolution features, and a map of summary statistics.

    Parameters
    ----------
    modality : Modality
        What is encoded.
    d_model : int
        Width D.
    dropout : float, default=0.1
        Not used: features have a rate of their own.
    feature_dropout : float, default=0.5
        Share of the features and of the statistics hidden in training. High: there are thousands.
    kind_dropout : float, default=0.8
        Rate at which a sample goes without one kind of features in training: without convolutions
        mostly, without statistics sometimes. Neither kind may lean on the other; thousands of
        convolutions would otherwise learn the training samples by heart.
    pooled : bool, default=False
        Whether to add MultiRocket's statistics, see :class:`Hydra`.
    n_groups : int, default=32
        Groups of kernels, see :class:`Hydra`.
    seed : int, default=0
        Seed of the kernels.

    Notes
    -----
    One token for each dilation, in rising order of the time that a kernel spans, and one for the
    statistics (:class:`StatisticTokens`); the embedding is their sum.

    Examples
    --------
    >>> encoder = HydraEncoder(Modality("acc", 3, 50), 16)
    >>> encoder(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=torch.bool)).tokens.shape
    torch.Size([2, 4, 16])
    """

    def __init__(
        self,
        modality: Modality,
        d_model: int,
        *,
        dropout: float = 0.1,
        feature_dropout: float = 0.5,
        kind_dropout: float = 0.8,
        pooled: bool = False,
        n_groups: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.hydra = Hydra(
            modality.n_channels,
            modality.n_timepoints,
            n_groups=n_groups,
            pooled=pooled,
            levels=False,
            vocabulary=modality.vocabulary,
            seed=seed,
        )
        self.statistics = StatisticTokens(Schema((modality,)), d_model, dropout=feature_dropout)
        n_statistics = self.statistics.sizes[0]
        self.sizes = [self.hydra.n_features, n_statistics]
        self.n_features = sum(self.sizes)
        # A step of Adam moves each weight alike, and so a sum over F features by F times as much.
        # Ten times as many of them as statistics would be learnt by heart before those are learnt.
        self.scale = min(1.0, n_statistics / self.hydra.n_features)
        self.kind_dropout = kind_dropout
        self.generator: torch.Generator | None = None
        self.dropout = Dropout(feature_dropout)
        self.project = nn.Linear(self.hydra.n_features, d_model)

    def featurize(self, values: Tensor, observed: Tensor, times: Tensor | None = None) -> Tensor:
        """Features before standardisation; NaN where one rests on nothing."""
        with torch.no_grad():
            convolved = self.hydra.featurize(values, observed)
            if times is None:
                place = torch.arange(values.shape[1], dtype=torch.float32, device=values.device)
                times = place.expand(values.shape[0], -1)
            (statistics,) = self.statistics.featurize([values], [observed], [times])
            return torch.cat([convolved, statistics], 1)

    def fit_features(self, features: Tensor) -> None:
        """Keep mean and scale of the features."""
        convolved, statistics = features.split(self.sizes, 1)
        self.hydra.fit(convolved)
        self.statistics.fit_features([statistics])

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> Encoded:
        """Encode; ``values`` and ``times`` are not read where features are given."""
        if features is None:
            features = self.featurize(values, observed, times)
        convolved, statistics = features.split(self.sizes, 1)
        blocks = self.hydra.block_sizes
        known = [(~part.isnan()).any(1) for part in convolved.split(blocks, 1)]
        x = self.dropout(self.hydra.standardize(convolved)) * self.scale
        weights = self.project.weight.split(blocks, 1)
        tokens = [F.linear(part, w) for part, w in zip(x.split(blocks, 1), weights, strict=True)]

        available = (~statistics.isnan()).any(1)
        known.append(available)
        scaled = self.statistics.standardise([statistics], available.unsqueeze(1))
        tokens.append(self.statistics(scaled).squeeze(1))
        if self.training and self.kind_dropout:
            tokens = self._hide_a_kind(tokens)
        stacked = torch.stack(tokens, 1)
        return Encoded(stacked.sum(1) + self.project.bias, stacked, torch.stack(known, 1))

    def _hide_a_kind(self, tokens: list[Tensor]) -> list[Tensor]:
        """Hide the convolutions, or less often the statistics, of some samples; never both."""
        convolved, statistics = tokens[:-1], tokens[-1]
        draw = torch.rand(len(statistics), 1, generator=self.generator, device=statistics.device)
        kept = draw >= self.kind_dropout * _SHARE_OF_CONVOLUTIONS
        sure = draw < 1 - self.kind_dropout * (1 - _SHARE_OF_CONVOLUTIONS)
        return [*(token * kept for token in convolved), statistics * sure]


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
    "hydra": HydraEncoder,
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
