"""The strategies by name, to which users add their own."""

from __future__ import annotations

import torch

from mts_fusion.nn.layers import construct
from mts_fusion.nn.strategies._base import Fusion, FusionOutput, Tokens
from mts_fusion.nn.strategies._early import EarlyFusion
from mts_fusion.nn.strategies._flex_moe import FlexMoEFusion
from mts_fusion.nn.strategies._hybrid import HybridFusion
from mts_fusion.nn.strategies._late import LateFusion
from mts_fusion.nn.strategies._low_rank import LowRankFusion
from mts_fusion.nn.strategies._mag import MAGFusion
from mts_fusion.nn.strategies._mists import MISTSFusion
from mts_fusion.nn.strategies._mult import MulTFusion
from mts_fusion.nn.strategies._shaspec import ShaSpecFusion
from mts_fusion.nn.strategies._tensor import TensorFusion
from mts_fusion.nn.strategies._uncertainty import UncertaintyFusion

__all__ = ["STRATEGIES", "get_strategy", "register_strategy"]

STRATEGIES: dict[str, type[Fusion]] = {
    "early": EarlyFusion,
    "late": LateFusion,
    "hybrid": HybridFusion,
    "uncertainty": UncertaintyFusion,
    "tensor": TensorFusion,
    "low_rank": LowRankFusion,
    "mag": MAGFusion,
    "mult": MulTFusion,
    "mists": MISTSFusion,
    "shaspec": ShaSpecFusion,
    "flex_moe": FlexMoEFusion,
}


def get_strategy(name: str) -> type[Fusion]:
    """The class of a strategy.

    Parameters
    ----------
    name : str
        Its name.

    Returns
    -------
    type of Fusion
        The class.

    Raises
    ------
    ValueError
        If no strategy has this name; the message lists those there are.

    Examples
    --------
    >>> get_strategy("late").__name__
    'LateFusion'
    """
    if name not in STRATEGIES:
        raise ValueError(
            f"No strategy {name!r}; there are {sorted(STRATEGIES)}. Add your own with "
            "register_strategy(name, cls)."
        )
    return STRATEGIES[name]


def register_strategy(name: str, cls: type[Fusion]) -> None:
    """Add a strategy of your own under a name.

    It is first tried on three modalities, of which some are missing.

    Parameters
    ----------
    name : str
        The name. If a strategy has it already, the new class replaces it only if it has the same
        class name.
    cls : type of Fusion
        Built with ``(n_modalities, d_model, n_outputs)``, and with those of ``n_heads`` and
        ``dropout`` that its constructor names.

    Raises
    ------
    TypeError
        If ``cls`` is not a subclass of :class:`Fusion` or returns anything but a
        :class:`FusionOutput`.
    ValueError
        If the name is taken, or the output has a wrong shape, is not finite, or depends on a
        modality that is missing.

    Examples
    --------
    >>> import torch
    >>> class MeanFusion(Fusion):
    ...     def __init__(self, n_modalities, d_model, n_outputs):
    ...         super().__init__()
    ...         self.head = torch.nn.Linear(d_model, n_outputs)
    ...     def forward(self, embeddings, available, tokens=None):
    ...         weight = available / available.sum(1, keepdim=True).clamp(min=1)
    ...         return FusionOutput(self.head((weight.unsqueeze(-1) * embeddings).sum(1)), {})
    >>> register_strategy("mean", MeanFusion)
    >>> del STRATEGIES["mean"]
    """
    if not (isinstance(cls, type) and issubclass(cls, Fusion)):
        raise TypeError(f"Strategy {name!r} has to be a subclass of Fusion, got {cls!r}.")
    if name in STRATEGIES and STRATEGIES[name].__qualname__ != cls.__qualname__:
        raise ValueError(
            f"Strategy {name!r} is {STRATEGIES[name].__name__} already. Choose another name."
        )
    _try(name, cls)
    STRATEGIES[name] = cls


def _try(name: str, cls: type[Fusion]) -> None:
    """Build the strategy and fuse four samples, of which the last has nothing at all."""
    n_outputs = 5
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        fusion = construct(cls, 3, 8, n_outputs, options={"n_heads": 2, "dropout": 0.0}).eval()
    available = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)
    values = torch.randn(4, 3, 2, 8, generator=generator)
    other = torch.where(available[:, :, None, None], values, -3.0)
    outputs = []
    with torch.no_grad():
        for x in (values, other):
            tokens = Tokens(x, available.unsqueeze(-1).expand(-1, -1, 2))
            output = fusion(x.mean(2), available, tokens if fusion.needs_tokens else None)
            if not isinstance(output, FusionOutput):
                raise TypeError(
                    f"Strategy {name!r} has to return a FusionOutput(logits, record), got "
                    f"{type(output).__name__}."
                )
            outputs.append(output.logits)
    if outputs[0].shape != (4, n_outputs):
        raise ValueError(
            f"Strategy {name!r} gave logits of shape {tuple(outputs[0].shape)} for 4 samples and "
            f"n_outputs={n_outputs}; (4, {n_outputs}) is wanted. Map to n_outputs at its end."
        )
    if not outputs[0].isfinite().all():
        raise ValueError(
            f"Strategy {name!r} gave logits that are not finite for samples in which modalities "
            "are missing. Mask what is not available before a softmax or a division."
        )
    if not torch.equal(outputs[0], outputs[1]):
        raise ValueError(
            f"The logits of strategy {name!r} change with the embeddings of modalities that are "
            "missing. Mask them by available."
        )
