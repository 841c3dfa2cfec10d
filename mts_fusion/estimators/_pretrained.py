"""What a network takes over from a pre-trained one: the scale of X, and the weights."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.exceptions import NotFittedError
from torch import nn

from mts_fusion.panel import Schema

__all__ = ["check_pretrained", "start_from"]


def check_pretrained(pretrained: Any, schema: Schema) -> None:
    """Raise unless a pre-trained estimator can be continued on a schema.

    Parameters
    ----------
    pretrained : MaestroPretrainer, also in a FrozenEstimator
        What ``pretrained=`` was given.
    schema : Schema
        The modalities of X.

    Raises
    ------
    NotFittedError
        If it is not fitted.
    ValueError
        If it has seen other modalities.
    """
    if not getattr(pretrained, "nets_", None):
        raise NotFittedError(
            "pretrained is not fitted. Fit it first; where this estimator is cloned, as in "
            "GridSearchCV, give it as FrozenEstimator(pretrainer) of sklearn.frozen, which stays "
            "fitted."
        )
    given, own = pretrained.schema_, schema
    if given.names != own.names or [m.n_channels for m in given] != [m.n_channels for m in own]:
        raise ValueError(
            f"pretrained has seen the modalities {_channels(given)}, but X has {_channels(own)} "
            "(channels of each). Pre-train on the modalities of X."
        )


def start_from(pretrained: Any, module: nn.Module) -> None:
    """Give a network the weights of a pre-trained one, all but those of the head.

    Parameters
    ----------
    pretrained : MaestroPretrainer
        Fitted.
    module : Module
        A network with the same tokens and layers; what it has besides keeps its weights.

    Raises
    ------
    ValueError
        If a weight has another shape, or the network has no such weight.
    """
    own = dict(module.named_parameters())
    learnt = dict(pretrained.nets_[0].module_.network.named_parameters())
    with torch.no_grad():
        for name, weight in learnt.items():
            if name.startswith("head."):
                continue
            if name not in own or own[name].shape != weight.shape:
                shape = tuple(own[name].shape) if name in own else "none"
                raise ValueError(
                    f"pretrained has the weights {name!r} of shape {tuple(weight.shape)}, but here "
                    f"their shape is {shape}. Give MaestroPretrainer(estimator=...) the parameters "
                    "of this estimator: d_model, layers, experts, budgets and tokens."
                )
            own[name].copy_(weight)


def _channels(schema: Schema) -> dict[str, int]:
    return {modality.name: modality.n_channels for modality in schema}
