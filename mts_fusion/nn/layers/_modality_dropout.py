"""Which modalities are available, and hiding some of them in training.

Sizes: B batch, M modalities, L timepoints, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._portable import as_bytes

__all__ = ["ModalityDropout", "available_modalities", "curriculum_rate"]


def available_modalities(observed: Sequence[Tensor]) -> Tensor:
    """Which modalities each sample has: those of which anything was observed.

    Parameters
    ----------
    observed : sequence of M bool Tensors of shape (B, L, C)
        Their own L and C.

    Returns
    -------
    Tensor of shape (B, M)
        Bool.

    Examples
    --------
    >>> available, silent = torch.ones(1, 5, 2, dtype=bool), torch.zeros(1, 9, 1, dtype=bool)
    >>> available_modalities([available, silent])
    tensor([[ True, False]])
    """
    # As bytes: a sixth of the time of any().
    return torch.stack([as_bytes(o.flatten(1)).amax(1) > 0 for o in observed], dim=1)


def curriculum_rate(
    epoch: int, *, max_rate: float = 0.4, n_warmup_epochs: int = 10, n_epochs: int = 100
) -> float:
    """Rate of the modality dropout in an epoch: 0, then rising in a straight line.

    Section 6 of the method in [1]_: ``p(t) = min(p_max, (t - t_warm) / (t_max - t_warm) p_max)``.

    Parameters
    ----------
    epoch : int
        Epoch, counted from 0.
    max_rate : float, default=0.4
        Rate reached in epoch ``n_epochs``.
    n_warmup_epochs : int, default=10
        Epochs without dropout.
    n_epochs : int, default=100
        Epoch in which ``max_rate`` is reached; if not above ``n_warmup_epochs``, the rate jumps
        to ``max_rate`` after the warm-up.

    Returns
    -------
    float
        In ``[0, max_rate]``.

    References
    ----------
    .. [1] Mohapatra et al., "MAESTRO: Adaptive Sparse Attention and Robust Learning for Multimodal
       Dynamic Time Series", NeurIPS, 2025. https://arxiv.org/abs/2509.25278

    Examples
    --------
    >>> [curriculum_rate(t, n_warmup_epochs=10, n_epochs=20) for t in (0, 10, 15, 40)]
    [0.0, 0.0, 0.2, 0.4]
    """
    if epoch <= n_warmup_epochs:
        return 0.0
    if n_epochs <= n_warmup_epochs:
        return max_rate
    return min(1.0, (epoch - n_warmup_epochs) / (n_epochs - n_warmup_epochs)) * max_rate


class ModalityDropout(nn.Module):
    """Hides whole modalities in training, drawn for each sample.

    A sample never loses everything: where all that it has would be hidden, one modality that it
    has, drawn at random, stays.

    Parameters
    ----------
    p : float, default=0.4
        Rate at which a modality of a sample is hidden; with ``spread`` the mean of the rates. 0
        hides nothing; towards 1 each sample keeps one modality. It is the buffer ``p``: a schedule
        sets it by ``dropout.p.fill_(rate)``.
    spread : bool, default=False
        Whether each sample has a rate of its own, drawn uniformly from the widest interval around
        ``p``: between 0 and ``2 p``, or between ``2 p - 1`` and 1 if ``p`` is above .5. A batch
        then has complete samples and samples that have lost many modalities.

    Raises
    ------
    ValueError
        If ``p`` is not in [0, 1].

    Notes
    -----
    Input and output: a list of ``observed (B, L, C)``, one a modality. Numbers are drawn from the
    attribute ``generator`` (None: the default one of torch).

    Examples
    --------
    >>> import torch
    >>> dropout = ModalityDropout(1.0)
    >>> hidden = dropout([torch.ones(4, 5, 2, dtype=bool), torch.ones(4, 9, 1, dtype=bool)])
    >>> available_modalities(hidden).sum(1)
    tensor([1, 1, 1, 1])
    """

    p: Tensor

    def __init__(self, p: float = 0.4, *, spread: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p is a rate in [0, 1], got {p!r}.")
        self.spread = spread
        self.register_buffer("p", torch.tensor(float(p)))
        self.generator: torch.Generator | None = None

    def forward(self, observed: Sequence[Tensor]) -> list[Tensor]:
        """Hide modalities in training; the same list otherwise."""
        # NOTE[DIFF] The released code of MAESTRO draws one mask for a whole batch, and in
        # evaluation too. Here each sample has its own, and only in training.
        if not self.training:
            return list(observed)
        available = available_modalities(observed)  # (B, M)
        draw = torch.rand(available.shape, generator=self.generator, device=available.device)
        rate = self.p
        if self.spread:
            around = torch.rand(
                (len(available), 1), generator=self.generator, device=available.device
            )
            rate = rate + torch.minimum(rate, 1 - rate) * (2 * around - 1)
        last = draw.masked_fill(~available, -1.0).argmax(1, keepdim=True)
        keep = (draw >= rate).scatter(1, last, True)
        return [o & keep[:, m, None, None] for m, o in enumerate(observed)]
