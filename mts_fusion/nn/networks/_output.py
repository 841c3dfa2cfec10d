"""What every network returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["ModuleOutput"]


class ModuleOutput(NamedTuple):
    """A prediction, what the module itself minimises, and what it saw if that was asked for.

    Parameters
    ----------
    prediction : Tensor of shape (B, n_outputs)
        Logits or raw values; the network knows no task.
    loss : Tensor of shape ()
        What the module adds to the loss of the task; 0 if nothing.
    record : dict of str to Tensor
        Diagnostics whose first axis is the batch; empty unless asked for.

    Examples
    --------
    >>> import torch
    >>> ModuleOutput(torch.zeros(2, 3), torch.zeros(()), {}).prediction.shape
    torch.Size([2, 3])
    """

    prediction: Tensor
    loss: Tensor
    record: dict[str, Tensor]
