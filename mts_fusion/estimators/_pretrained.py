"""What a pre-trained network hands on: the scale of X, and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mts_fusion.panel import Schema
from mts_fusion.persistence import PackedState

__all__ = ["PretrainedNetwork"]


@dataclass(frozen=True, eq=False)
class PretrainedNetwork(PackedState):
    """Result of :class:`MaestroPretrainer`, from which networks start.

    Parameters
    ----------
    schema : Schema
        The modalities it has seen.
    preprocessor : transformer
        Fitted; scales X.
    weights : dict of str to Tensor
        By the names of the network, without those of its head.
    """

    schema: Schema
    preprocessor: Any
    weights: Mapping[str, Tensor]

    def preprocessor_for(self, schema: Schema) -> Any:
        """The preprocessor; a ValueError unless it has seen these modalities and channels."""
        given, own = ({m.name: m.n_channels for m in one} for one in (self.schema, schema))
        if list(given.items()) != list(own.items()):
            raise ValueError(
                f"pretrained has seen the modalities {given}, but X has {own} (channels of each). "
                "Pre-train on the modalities of X."
            )
        return self.preprocessor

    def start(self, module: nn.Module) -> None:
        """Copy the weights into a network, which keeps those that it has besides.

        Raises
        ------
        ValueError
            If a weight has another shape there, or there is none of its name.
        """
        own = dict(module.named_parameters())
        with torch.no_grad():
            for name, weight in self.weights.items():
                if name not in own or own[name].shape != weight.shape:
                    shape = f"the shape {tuple(own[name].shape)}" if name in own else "none of them"
                    raise ValueError(
                        f"pretrained has weights {name!r} of shape {tuple(weight.shape)}, but this "
                        f"network has {shape}. Pre-train MaestroPretrainer(estimator) with the "
                        "parameters of this estimator: width, layers, experts, budgets, tokens."
                    )
                own[name].copy_(weight)
