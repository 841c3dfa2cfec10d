"""Interface of the fusion strategies, and what several of them use.

Sizes: B batch, M modalities, T tokens, D width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout

__all__ = ["Fusion", "FusionOutput", "Tokens", "missing_rescale", "make_head", "masked_softmax"]


class Tokens(NamedTuple):
    """Sequence of tokens of each modality, from which its embedding was made.

    Parameters
    ----------
    values : Tensor of shape (B, M, T, D)
        Tokens of each modality, in the order of time.
    observed : Tensor of shape (B, M, T)
        Bool: which of them are available.
    """

    values: Tensor
    observed: Tensor


class FusionOutput(NamedTuple):
    """Output of a fusion strategy.

    Parameters
    ----------
    logits : Tensor of shape (B, n_outputs)
        Logits or raw values.
    record : dict of str to Tensor
        Diagnostics, first axis the batch: ``weight (B, M)``, which sums to 1 over the modalities
        available; ``modality_logits (B, M, n_outputs)``; ``attention (B, M, M)``, rows that sum to
        1 or are 0. A strategy has those that it uses.
    loss : Tensor of shape () or None, default=None
        A loss of the strategy's own, which is added to that of the task; None is 0.
    """

    logits: Tensor
    record: dict[str, Tensor]
    loss: Tensor | None = None


class Fusion(nn.Module):
    """Abstract: a strategy, from one embedding of each modality to logits.

    Subclasses are built with ``(n_modalities, d_model, n_outputs)`` and with those of ``n_heads``
    and ``dropout`` that they name as keywords. They obey three rules: a modality that is not
    available changes no bit of the output, the output is finite even if none is, and ``forward``
    draws random numbers through ``mts_fusion.nn.layers.Dropout`` only.

    Attributes
    ----------
    needs_tokens : bool
        Whether ``forward`` takes the tokens of the modalities too. False by default.
    params_without_softmax : dict of str to Any
        Parameters for outputs that are not logits of classes that exclude each other. None by
        default.
    """

    needs_tokens: ClassVar[bool] = False
    params_without_softmax: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def forward(
        self, embeddings: Tensor, available: Tensor, tokens: Tokens | None = None
    ) -> FusionOutput:
        """Fuse.

        Parameters
        ----------
        embeddings : Tensor of shape (B, M, D)
            One embedding of each modality; finite, but meaningless where not available.
        available : Tensor of shape (B, M)
            Bool.
        tokens : Tokens or None, default=None
            Tokens of the modalities, where ``needs_tokens``.

        Returns
        -------
        FusionOutput
            Logits and record.
        """


def masked_softmax(scores: Tensor, available: Tensor) -> Tensor:
    """Softmax over the modalities that are available.

    Parameters
    ----------
    scores : Tensor of shape (B, M)
        Any finite numbers.
    available : Tensor of shape (B, M)
        Bool.

    Returns
    -------
    Tensor of shape (B, M)
        They sum to 1 over what is available, and are 0 elsewhere.

    Examples
    --------
    >>> available = torch.tensor([[True, True, False], [False, False, False]])
    >>> masked_softmax(torch.zeros(2, 3), available)
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 0.0000]])
    """
    scores = scores.masked_fill(~available, torch.finfo(scores.dtype).min)
    return scores.softmax(-1) * available


def missing_rescale(available: Tensor) -> Tensor:
    """Factor by which a sum over the available modalities is scaled for those that are not.

    Parameters
    ----------
    available : Tensor of shape (B, M)
        Bool.

    Returns
    -------
    Tensor of shape (B, 1)
        ``sqrt(M / available)``, float32: terms of one size keep the size of their sum.

    Examples
    --------
    >>> missing_rescale(torch.tensor([[True, False, False, False]]))
    tensor([[2.]])
    """
    n_available = available.sum(-1, keepdim=True).clamp(min=1)
    return (available.shape[-1] / n_available).sqrt()


def make_head(d_in: int, d_model: int, n_outputs: int, dropout: float) -> nn.Sequential:
    """Network with one hidden layer, from what was fused to the logits.

    Parameters
    ----------
    d_in : int
        Width of what was fused.
    d_model : int
        Width D of the hidden layer.
    n_outputs : int
        Width of the logits.
    dropout : float
        Dropout before each linear map.

    Returns
    -------
    Sequential
        Dropout, linear map, GELU, dropout, linear map.

    Examples
    --------
    >>> make_head(8, 16, 5, 0.1)(torch.zeros(2, 8)).shape
    torch.Size([2, 5])
    """
    return nn.Sequential(
        Dropout(dropout),
        nn.Linear(d_in, d_model),
        nn.GELU(),
        Dropout(dropout),
        nn.Linear(d_model, n_outputs),
    )
