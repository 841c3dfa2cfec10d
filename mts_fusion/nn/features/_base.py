"""Interface of all kinds of fixed features of one modality."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mts_fusion.panel._schema import Modality

__all__ = ["FeatureBlock"]


class FeatureBlock(nn.Module):
    """Abstract: features of one modality that training of a network does not change.

    Subclasses are built with the modality, and with those of ``n_groups``, ``scale`` and ``seed``
    that they name as keywords. In this order: :meth:`fit_biases` learns from some training samples,
    :meth:`compute` gives raw features, :meth:`fit` learns their distribution over all training
    samples, and :meth:`standardize` brings them to one scale.

    Attributes
    ----------
    n_features : int
        Number of features F.
    block_widths : list of int
        Their number by part, such as a dilation. The sum is F.
    """

    n_features: int
    block_widths: list[int]

    @classmethod
    def suits(cls, modality: Modality) -> bool:
        """Whether a modality has features of this kind; by default each has.

        Parameters
        ----------
        modality : Modality
            A modality.

        Returns
        -------
        bool
            Whether it has.
        """
        return True

    @classmethod
    def compute_together(
        cls,
        blocks: Sequence[Any],
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        times: Sequence[Tensor | None],
    ) -> list[Tensor] | None:
        """Raw features of one complete sample of several modalities of numbers, of one shape.

        For one sample nearly all the time of an operation is its call: one operation for all
        modalities takes less.

        Parameters
        ----------
        blocks : sequence of S FeatureBlock
            Those of the modalities, of this class.
        values : sequence of S Tensors of shape (1, L, C)
            Finite numbers.
        observed : sequence of S Tensors of shape (1, L, C)
            Bool: all true.
        times : sequence of S Tensors of shape (1, L) or None
            Seconds; None for a regular clock.

        Returns
        -------
        list of S Tensors of shape (1, F), or None
            As :meth:`compute` of each gives them, but for rounding. None, the default, where they
            are computed one modality after another.
        """
        return None

    def fit_biases(self, values: Tensor, observed: Tensor) -> None:
        """Learn what `compute` needs; by default nothing.

        Parameters
        ----------
        values : Tensor of shape (B, L, C)
            Some training samples: finite numbers, or integer tokens.
        observed : Tensor of shape (B, L, C)
            Bool: where a value was observed.
        """

    @abstractmethod
    def compute(self, values: Tensor, observed: Tensor, times: Tensor | None = None) -> Tensor:
        """Raw features, the same for a sample in any batch.

        Parameters
        ----------
        values : Tensor of shape (B, L, C)
            Finite numbers, or integer tokens.
        observed : Tensor of shape (B, L, C)
            Bool: where a value was observed.
        times : Tensor of shape (B, L) or None, default=None
            Seconds; None for a regular clock.

        Returns
        -------
        Tensor of shape (B, F)
            NaN where a feature rests on no observation.
        """

    @abstractmethod
    def fit(self, features: Tensor) -> None:
        """Learn the distribution of the features.

        Parameters
        ----------
        features : Tensor of shape (n, F)
            Of the training samples, from `compute`.
        """

    @abstractmethod
    def standardize(self, features: Tensor) -> Tensor:
        """Features of comparable scale.

        Parameters
        ----------
        features : Tensor of shape (B, F)
            From `compute`.

        Returns
        -------
        Tensor of shape (B, F)
            NaN where they were.
        """

    @abstractmethod
    def feature_names(self) -> list[str]:
        """A name for each feature.

        Returns
        -------
        list of str
            Of length F.
        """

    def forward(self, values: Tensor, observed: Tensor, times: Tensor | None = None) -> Tensor:
        """Features of comparable scale, 0 where nothing was observed.

        Parameters
        ----------
        values : Tensor of shape (B, L, C)
            Finite numbers, or integer tokens.
        observed : Tensor of shape (B, L, C)
            Bool: where a value was observed.
        times : Tensor of shape (B, L) or None, default=None
            Seconds; None for a regular clock.

        Returns
        -------
        Tensor of shape (B, F)
            Finite.
        """
        return self.standardize(self.compute(values, observed, times)).nan_to_num(0.0)
