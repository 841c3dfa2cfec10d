"""Interface of the encoders of one modality.

Sizes: B batch, L timepoints, C channels, D width, T tokens.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

__all__ = ["EncoderOutput", "Encoder"]


class EncoderOutput(NamedTuple):
    """Output of an encoder of one modality.

    Parameters
    ----------
    embedding : Tensor of shape (B, D)
        The embedding; finite, but meaningless where nothing was observed.
    tokens : Tensor of shape (B, T, D)
        The sequence from which it was made, in the order of time. T does not depend on L.
    observed : Tensor of shape (B, T)
        Bool: which tokens are available.
    """

    embedding: Tensor
    tokens: Tensor
    observed: Tensor


class Encoder(nn.Module):
    """Abstract: an encoder of one modality.

    Subclasses are built with ``(modality, d_model)`` and with those of ``n_heads`` and ``dropout``
    that they name as keywords. Whatever is not observed changes no bit of the output, and padding
    changes nothing.

    Attributes
    ----------
    n_features : int
        Width of the fixed features that ``forward`` takes; 0 where it takes none.
    """

    n_features = 0

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> EncoderOutput:
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
            Fixed features of the modality, NaN where nothing was observed, for an encoder of them.

        Returns
        -------
        EncoderOutput
            Embedding and tokens.
        """
        raise NotImplementedError
