"""A network with its fixed features in front: one module, from the values to the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from mts_fusion.nn.features import SchemaFeatures

from ._output import ModuleOutput

__all__ = ["WithFeatures"]


class WithFeatures(nn.Module):
    """The prediction of a network from values alone: its fixed features are computed first.

    In training and prediction features are computed apart from the network, once; this is for an
    export, which has to hold both.

    Parameters
    ----------
    features : SchemaFeatures
        Fitted, as :class:`~mts_fusion.training.FixedFeatures` holds them in ``module``.
    network : Module
        A network that was built with their widths.

    Notes
    -----
    Input as that of the network, but for ``features``; output as that of the network.

    Examples
    --------
    >>> import torch
    >>> from mts_fusion.nn import FusionNet
    >>> from mts_fusion.panel._schema import Modality, Schema
    >>> schema = Schema((Modality("acc", 3, 50), Modality("age", 1, 1)))
    >>> features = SchemaFeatures(schema, ("multirocket", "statistics"), n_groups=2)
    >>> network = FusionNet(schema, 4, feature_widths=features.widths)
    >>> values = [torch.randn(5, 50, 3), torch.randn(5, 1, 1)]
    >>> observed = [torch.ones_like(x, dtype=torch.bool) for x in values]
    >>> WithFeatures(features, network)(values, observed).prediction.shape
    torch.Size([5, 4])
    """

    def __init__(self, features: SchemaFeatures, network: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.network = network

    def forward(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: Sequence[Tensor | None] | None = None,
        *,
        imputed: list[Tensor] | None = None,
        record: bool = False,
    ) -> ModuleOutput:
        """Compute the features, and predict; ``imputed`` is for networks that take it."""
        features = self.features(values, observed, times)
        masks = {} if imputed is None else {"imputed": imputed}
        output = self.network(values, observed, times, features=features, record=record, **masks)
        return cast(ModuleOutput, output)
