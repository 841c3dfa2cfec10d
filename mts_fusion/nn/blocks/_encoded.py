"""What encoders of one modality have in common.

Sizes: B batch, L timepoints, C channels, D width, T tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Encoded", "Encoder"]


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

    def prepare(self, values: Tensor, observed: Tensor) -> None:
        """Learn from some training samples what `featurize` needs.

        Parameters
        ----------
        values : Tensor of shape (B, L, C)
            Finite numbers, or integer tokens.
        observed : Tensor of shape (B, L, C)
            Bool.
        """

    def fit_features(self, features: Tensor) -> None:
        """Keep the statistics of the features of the training samples.

        Parameters
        ----------
        features : Tensor of shape (n, n_features)
            From `featurize`.
        """

    def scale_features(self, features: Tensor) -> Tensor:
        """Features as ``forward`` takes them.

        Parameters
        ----------
        features : Tensor of shape (B, n_features)
            From `featurize`.

        Returns
        -------
        Tensor of shape (B, n_features)
            Of comparable scale, after `fit_features`.
        """
        return features

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
            From `scale_features`; None computes them.

        Returns
        -------
        Encoded
            Embedding and tokens.
        """
        raise NotImplementedError
