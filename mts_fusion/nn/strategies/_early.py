"""Early fusion: the embeddings concatenated, then a network over all of them."""

from __future__ import annotations

from torch import Tensor, nn

from mts_fusion.nn.layers import ModalityLinear
from mts_fusion.nn.strategies._base import Fusion, FusionOutput, Tokens, make_head, missing_rescale

__all__ = ["EarlyFusion"]


class EarlyFusion(Fusion):
    """Logits from the concatenated embeddings.

    Parameters
    ----------
    n_modalities : int
        Modalities M.
    d_model : int
        Width D of the embeddings.
    n_outputs : int
        Width of the logits.
    dropout : float, default=0.1
        Dropout in the network.

    Notes
    -----
    Input ``embeddings (B, M, D)``, ``available (B, M)``; output :class:`FusionOutput` with an empty
    record.

    Examples
    --------
    >>> import torch
    >>> fusion = EarlyFusion(3, 8, 5)
    >>> fusion(torch.zeros(2, 3, 8), torch.ones(2, 3, dtype=bool)).logits.shape
    torch.Size([2, 5])
    """

    def __init__(
        self,
        n_modalities: int,
        d_model: int,
        n_outputs: int,
        *,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.project = ModalityLinear(n_modalities, d_model, d_model)
        self.head = nn.Sequential(
            nn.LayerNorm(d_model), nn.GELU(), make_head(d_model, d_model, n_outputs, dropout)
        )

    def forward(
        self, embeddings: Tensor, available: Tensor, tokens: Tokens | None = None
    ) -> FusionOutput:
        """Fuse."""
        # The first layer over concatenated embeddings is a sum of one linear map each, from which a
        # modality can be left out.
        parts = self.project(embeddings.transpose(0, 1))  # (M, B, D)
        parts = parts.masked_fill(~available.T.unsqueeze(-1), 0.0)
        return FusionOutput(self.head(parts.sum(0) * missing_rescale(available)), {})
