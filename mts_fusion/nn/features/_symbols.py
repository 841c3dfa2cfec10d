"""Symbols of a vocabulary as numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from mts_fusion.panel._schema import Vocabulary

__all__ = ["symbol_values"]

# Where a vocabulary has no centers its symbols are equally spaced between minus this and this: the
# spread of a scaled channel.
_LARGEST = 1.5


def symbol_values(vocabulary: Vocabulary) -> Tensor:
    """The number that each symbol stands for.

    Parameters
    ----------
    vocabulary : Vocabulary
        Its centers are taken, or equally spaced numbers in [-1.5, 1.5] where it has none.

    Returns
    -------
    Tensor of shape (n_tokens,)
        Float32; 0 for the missing symbol.

    Examples
    --------
    >>> symbol_values(Vocabulary(2))
    tensor([ 0.0000, -1.5000,  1.5000])
    """
    centers = torch.linspace(-_LARGEST, _LARGEST, vocabulary.size)
    if vocabulary.centers is not None:
        centers = torch.tensor(vocabulary.centers, dtype=torch.float32)
    values = torch.zeros(max(vocabulary.size, vocabulary.missing) + 1)
    values[1 : vocabulary.size + 1] = centers
    return values
