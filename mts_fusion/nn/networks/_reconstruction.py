"""Pre-training without targets: a network reconstructs what was hidden from it.

Sizes: B batch, M modalities, L timepoints, C channels, P parts of a window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import ModalityDropout, available_modalities
from mts_fusion.panel._schema import Schema

from ._output import ModuleOutput

__all__ = ["MaskedReconstruction"]

# Parts of a window whose means are reconstructed.
_N_PARTS = 16


class MaskedReconstruction(nn.Module):
    """A network that learns to tell the hidden parts of a window from what is left of it.

    From each sample whole modalities and, of each other one, a stretch of time are hidden. The
    prediction is the mean of each channel in each of 16 equal parts of the window; the loss counts
    the parts in which something was hidden. What was missing before looks the same to the network
    as what was hidden, but has no loss, as in the adaptive masking of [1]_.

    Parameters
    ----------
    network : torch.nn.Module
        Called as every network of a panel, with ``n_targets(schema)`` outputs.
    schema : Schema
        The modalities, of numbers.
    modality_rate : float, default=0.3
        Rate at which a modality of a sample is hidden as a whole; one always stays.
    hidden_fraction : float, default=0.5
        Share of the timepoints in the stretch that is hidden of a modality; 0 hides none.

    Raises
    ------
    ValueError
        If a modality has symbols, which have no mean, or ``hidden_fraction`` is not in [0, 1).

    Notes
    -----
    Input as that of ``network``. Output: its prediction, and as loss the mean squared error. In
    evaluation no modality is hidden, and the stretch is the middle of the window.

    References
    ----------
    .. [1] Xu et al., "LSM-2: Learning from Incomplete Wearable Sensor Data", 2025.
       https://arxiv.org/abs/2506.05321

    Examples
    --------
    >>> from mts_fusion.nn import Maestro
    >>> from mts_fusion.panel._schema import Modality
    >>> schema = Schema((Modality("acc", 3, 100), Modality("temp", 1, 16)))
    >>> n_outputs = MaskedReconstruction.n_targets(schema)
    >>> learner = MaskedReconstruction(Maestro(schema, n_outputs, d_model=16), schema)
    >>> values = [torch.randn(5, 100, 3), torch.randn(5, 16, 1)]
    >>> learner(values, [torch.ones_like(x, dtype=torch.bool) for x in values]).prediction.shape
    torch.Size([5, 64])
    """

    def __init__(
        self,
        network: nn.Module,
        schema: Schema,
        *,
        modality_rate: float = 0.3,
        hidden_fraction: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 <= hidden_fraction < 1:
            raise ValueError(f"hidden_fraction is a share in [0, 1), got {hidden_fraction!r}.")
        if symbols := [m.name for m in schema if m.vocabulary is not None]:
            raise ValueError(
                f"Modality {symbols[0]!r} holds symbols, whose means mean nothing. Pre-train on "
                "numbers."
            )
        self.network = network
        self.hidden_fraction = hidden_fraction
        self.whole = ModalityDropout(modality_rate)
        self.generator: torch.Generator | None = None

    @staticmethod
    def n_targets(schema: Schema) -> int:
        """Outputs that the network needs: 16 for each channel.

        Parameters
        ----------
        schema : Schema
            The modalities.

        Returns
        -------
        int
            Their number.
        """
        return _N_PARTS * sum(modality.n_channels for modality in schema)

    def without_head(self) -> nn.Module:
        """The network with what its head reads as prediction, once it is trained.

        Returns
        -------
        Module
            The network itself, whose ``head`` has been taken away.
        """
        self.network.head = nn.Identity()
        return self.network

    def forward(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: list[Tensor | None] | None = None,
    ) -> ModuleOutput:
        """Hide, predict, and compare."""
        kept = [o & self._outside(o) for o in self.whole(observed)]
        # A sample whose only values lie in its stretch would have nothing left.
        lost = ~available_modalities(kept).any(1)
        kept = [torch.where(lost[:, None, None], o, k) for o, k in zip(observed, kept, strict=True)]
        output = self.network(values, kept, times)
        parts = [_part_means(x, o, o & ~k) for x, o, k in zip(values, observed, kept, strict=True)]
        target = torch.cat([mean.flatten(1) for mean, _ in parts], 1)
        counts = torch.cat([hidden.flatten(1) for _, hidden in parts], 1)
        error = (output.prediction - target).square() * counts
        return ModuleOutput(output.prediction, error.sum() / counts.sum().clamp(min=1), {})

    def _outside(self, observed: Tensor) -> Tensor:
        """Timepoints ``(B, L, 1)`` that are not in the stretch of a sample."""
        n_samples, n_timepoints, _ = observed.shape
        n_hidden = round(self.hidden_fraction * n_timepoints)
        device = observed.device
        start = torch.full((n_samples, 1), 0.5, device=device)
        if self.training:
            start = torch.rand((n_samples, 1), generator=self.generator, device=device)
        first = (start * (n_timepoints - n_hidden)).round()
        index = torch.arange(n_timepoints, device=device)
        return ((index < first) | (index >= first + n_hidden)).unsqueeze(-1)


def _part_means(values: Tensor, observed: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Means of the observed values of each part ``(B, P, C)``, and where some were hidden."""
    n_timepoints = values.shape[1]
    part = torch.arange(n_timepoints, device=values.device) * _N_PARTS // n_timepoints
    member = (torch.arange(_N_PARTS, device=values.device).unsqueeze(1) == part).to(values.dtype)
    total = member @ torch.where(observed, values, 0.0)
    count = member @ observed.to(values.dtype)
    any_hidden = member @ hidden.to(values.dtype) > 0
    return total / count.clamp(min=1), any_hidden
