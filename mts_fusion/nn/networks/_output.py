"""Output of all networks."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["ModuleOutput"]


class ModuleOutput(NamedTuple):
    """A prediction, the network's own loss, and a record of its internals if asked for.

    Parameters
    ----------
    prediction : Tensor of shape (B, n_outputs)
        Logits or raw values; the link of the task is applied outside the network.
    loss : Tensor of shape ()
        Added to the loss of the task; 0 if there is none.
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
