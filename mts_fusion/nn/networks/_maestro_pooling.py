"""One vector a sample from its tokens: those of the series, and those of fixed features.

Sizes: B batch, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import mean_weights, normalise

__all__ = ["TokenPooling"]

# Weight of the series beside the fixed features. A learnt weight grows with what the series fit of
# the training samples (docs/decisions/0031-maestro-by-default.md).
_SERIES_WEIGHT = 0.1


class TokenPooling(nn.Module):
    """Mean of the tokens of each type; the series are added to the features with a small weight.

    The tokens of the series fit the training samples more closely than fixed features do, and hold
    less on new people. So they have a fixed small weight, and in training some samples are
    predicted without them.

    Parameters
    ----------
    d_model : int
        Width D of the tokens.
    has_features : bool
        Whether there are tokens of fixed features. Without them this is the mean of the series.
    series_dropout : float
        Rate at which a sample goes without its series in training. A sample that has no token of
        features keeps them.

    Raises
    ------
    ValueError
        If the rate is not in [0, 1).

    Examples
    --------
    >>> pool = TokenPooling(8, has_features=True, series_dropout=0.5).eval()
    >>> types = [torch.ones(2, 4, dtype=torch.bool), torch.ones(2, 3, dtype=torch.bool)]
    >>> pool(torch.randn(2, 7, 8), types).shape
    torch.Size([2, 8])
    """

    def __init__(self, d_model: int, *, has_features: bool, series_dropout: float) -> None:
        super().__init__()
        if not 0 <= series_dropout < 1:
            raise ValueError(f"series_dropout is a rate in [0, 1), got {series_dropout}.")
        self.series_dropout = series_dropout
        self.generator: torch.Generator | None = None
        self.has_features = has_features

    def forward(self, x: Tensor, types: Sequence[Tensor]) -> Tensor:
        """Pool tokens ``(B, T, D)``; ``types`` are which of each type are available, ``(B, .)``."""
        # NOTE[DIFF] The paper takes the mean of all tokens; here each type has a weight of its own.
        parts = x.split([available.shape[1] for available in types], 1)
        series, *features = [
            (mean_weights(available).to(x.dtype).unsqueeze(1) @ tokens).squeeze(1)
            for available, tokens in zip(types, parts, strict=True)
        ]
        if not self.has_features:
            return series
        series = normalise(series)
        if self.training and self.series_dropout:
            draw = torch.rand(len(x), 1, generator=self.generator, device=x.device)
            has_features = torch.cat(list(types[1:]), 1).any(1, keepdim=True)
            series = series * ((draw >= self.series_dropout) | ~has_features)
        return _SERIES_WEIGHT * series + torch.stack(features).sum(0)
