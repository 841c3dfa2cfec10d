"""A learnt vector where nothing was observed.

Sizes: M modalities, m modalities computed together, B batch, L timepoints, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.panel._schema import Schema

__all__ = ["MissingTokens"]


class MissingTokens(nn.Module):
    """Tokens of which nothing was observed, replaced by one learnt vector a modality.

    The missing token of [1]_: other tokens may attend to it, so that the network learns what it
    means that a modality, or a part of it, is missing.

    Parameters
    ----------
    schema : Schema
        The modalities.
    lengths : sequence of M int
        Timepoints of a token, for each modality.
    d_model : int
        Width D of the tokens.

    Notes
    -----
    Input ``tokens (m, B, T, D)``, ``available (m, B, T)`` and the m indices of their modalities;
    output of the same shapes, in which all tokens within the length of the schema are available.
    Tokens beyond it, which are padding, stay as they are available.

    References
    ----------
    .. [1] Mohapatra et al., "MAESTRO: Adaptive Sparse Attention and Robust Learning for Multimodal
       Dynamic Time Series", NeurIPS, 2025. https://arxiv.org/abs/2509.25278

    Examples
    --------
    >>> from mts_fusion.panel._schema import Modality
    >>> missing = MissingTokens(Schema((Modality("temp", 1, 6),)), [2], 8)
    >>> available = torch.tensor([[[True, False, False, False]]])
    >>> tokens, available = missing(torch.zeros(1, 1, 4, 8), available, [0])
    >>> available.tolist()
    [[[True, True, True, False]]]
    """

    # NOTE[DIFF] The released code of MAESTRO never produces its missing symbol: what is missing is
    # 0 before a linear map, or the lowest symbol.

    n_tokens: Tensor

    def __init__(self, schema: Schema, lengths: Sequence[int], d_model: int) -> None:
        super().__init__()
        self.schema = schema
        counts = [-(-m.n_timepoints // p) for m, p in zip(schema, lengths, strict=True)]
        self.register_buffer("n_tokens", torch.tensor(counts), persistent=False)
        self.vector = nn.Parameter(torch.randn(len(schema), d_model) * 0.1)

    def pad(
        self,
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        times: Sequence[Tensor | None],
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor | None]]:
        """Pad batches that are shorter than the schema, so that a missing end has tokens too.

        Parameters
        ----------
        values, observed : sequence of M Tensors of shape (B, L, C)
            Values, and which are observed.
        times : sequence of M Tensors of shape (B, L) or None
            Seconds.

        Returns
        -------
        values, observed, times
            The same, with unobserved zeros at the end of those that were shorter.
        """
        lengths = [modality.n_timepoints for modality in self.schema]
        gaps = [max(0, n - x.shape[1]) for n, x in zip(lengths, values, strict=True)]
        return (
            [F.pad(x, (0, 0, 0, gap)) for x, gap in zip(values, gaps, strict=True)],
            [F.pad(o, (0, 0, 0, gap)) for o, gap in zip(observed, gaps, strict=True)],
            [t if t is None else F.pad(t, (0, gap)) for t, gap in zip(times, gaps, strict=True)],
        )

    def forward(
        self, tokens: Tensor, available: Tensor, modalities: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Replace what is not available."""
        index = list(modalities)
        number = torch.arange(tokens.shape[2], device=tokens.device)
        exists = number < self.n_tokens[index][:, None]  # (m, T)
        vector = self.vector[index][:, None, None]  # (m, 1, 1, D)
        return torch.where(available.unsqueeze(-1), tokens, vector), available | exists[:, None]
