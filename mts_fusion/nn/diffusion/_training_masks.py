"""Which observed entries are hidden from a network that learns to fill gaps.

Sizes: B batch, M modalities, L timepoints, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import available_modalities

__all__ = ["HIDING_STRATEGIES", "HideObserved"]

HIDING_STRATEGIES = ("random", "block", "modality", "mix", "historical")


class HideObserved(nn.Module):
    """Chooses observed entries that a network has to estimate from the others.

    Parameters
    ----------
    strategy : {"random", "block", "modality", "mix", "historical"}, default="mix"
        ``"random"``: entries; ``"block"``: in each modality, a rectangle of consecutive timepoints
        and consecutive channels; ``"modality"``: all of one modality that the sample has, so that
        an absent sensor can be generated; ``"historical"``: what another sample of the batch lacks;
        ``"mix"``: one of these four, drawn for each sample; entries and blocks for every other
        sample in one modality only, drawn by the number of its observations, so that the others
        are complete.
    fraction : float or None, default=None
        Share hidden by ``"random"`` and ``"block"``. None draws it for each sample from U(0, 1).

    Raises
    ------
    ValueError
        If the strategy is not known, or ``fraction`` is not in (0, 1).

    Notes
    -----
    Input and output: a list of ``observed (B, L, C)``, one a modality; the output is true where an
    observed entry is hidden. Where a pattern would hide nothing of a sample, or ``"modality"`` the
    only one that it has, ``"random"`` is used. Numbers are drawn
    from the attribute ``generator`` (None: the default one of torch).

    References
    ----------
    .. [1] Tashiro et al., "CSDI: Conditional Score-based Diffusion Models for Probabilistic Time
       Series Imputation", NeurIPS, 2021, section 4.3. https://arxiv.org/abs/2107.03502

    Examples
    --------
    >>> observed = [torch.ones(2, 8, 3, dtype=bool), torch.ones(2, 4, 1, dtype=bool)]
    >>> hidden = HideObserved("modality")(observed)
    >>> [int(h[0].all()) + int(h[0].any()) for h in hidden] in ([2, 0], [0, 2])
    True
    """

    def __init__(self, strategy: str = "mix", fraction: float | None = None) -> None:
        super().__init__()
        if strategy not in HIDING_STRATEGIES:
            raise ValueError(
                f"mask_strategy must be one of {list(HIDING_STRATEGIES)}, got {strategy!r}."
            )
        if fraction is not None and not 0 < fraction < 1:
            raise ValueError(f"hidden_fraction is a share in (0, 1) or None, got {fraction!r}.")
        self.strategy = strategy
        self.fraction = fraction
        self.generator: torch.Generator | None = None

    def _uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=like.device)

    def _share(self, like: Tensor) -> Tensor:
        n_samples = like.shape[0]
        if self.fraction is not None:
            return torch.full((n_samples, 1, 1), self.fraction, device=like.device)
        return self._uniform((n_samples, 1, 1), like)

    def _random(self, observed: Sequence[Tensor]) -> list[Tensor]:
        share = self._share(observed[0])
        return [o & (self._uniform(tuple(o.shape), o) < share) for o in observed]

    def _block(self, observed: Sequence[Tensor]) -> list[Tensor]:
        share = self._share(observed[0])
        hidden = []
        for o in observed:
            # Sides L^u and C^(1-u) of the rectangle, so that its area is the share.
            split = self._uniform(tuple(share.shape), o)
            rows, columns = share**split, share ** (1 - split)
            inside = torch.ones_like(o)
            for axis, side in ((1, rows), (2, columns)):
                size = o.shape[axis]
                width = (side * size).ceil()
                first = (self._uniform(tuple(share.shape), o) * (size - width + 1)).floor()
                at = torch.arange(size, device=o.device).view(1, -1, 1)
                along = (at >= first) & (at < first + width)  # (B, size, 1)
                inside = inside & (along if axis == 1 else along.transpose(1, 2))
            hidden.append(o & inside)
        return hidden

    def _modality(self, observed: Sequence[Tensor]) -> list[Tensor]:
        available = available_modalities(observed)
        draw = self._uniform(tuple(available.shape), available).masked_fill(~available, -1.0)
        chosen = draw.argmax(1)  # (B,)
        several = available.sum(1) > 1
        return [o & (several & (chosen == m))[:, None, None] for m, o in enumerate(observed)]

    def _historical(self, observed: Sequence[Tensor]) -> list[Tensor]:
        return [o & ~o.roll(1, 0) for o in observed]

    def _one(self, observed: Sequence[Tensor]) -> Tensor:
        """One modality of every other sample, all modalities of the rest, (B, M)."""
        counts = torch.stack([o.flatten(1).sum(1) for o in observed], dim=1)
        ends = counts.cumsum(1)
        draw = self._uniform((counts.shape[0], 2), counts)
        at = draw[:, :1] * ends[:, -1:]
        one = (at < ends) & (at >= ends - counts)
        return one | (draw[:, 1:] < 0.5)

    def forward(self, observed: Sequence[Tensor]) -> list[Tensor]:
        """Hide a part of ``observed``."""
        random = self._random(observed)
        if self.strategy == "random":
            return self._or_anything(random, observed)
        if self.strategy == "mix":
            kinds = [random, self._block(observed), self._modality(observed)]
            kinds.append(self._historical(observed))
            draw = (self._uniform((observed[0].shape[0], 1, 1), observed[0]) * len(kinds)).long()
            hit = self._one(observed) | (draw[:, 0] == 2)  # (B, M)
            hidden = [
                torch.stack(options).gather(0, draw.expand_as(options[0])[None])[0]
                & hit[:, m, None, None]
                for m, options in enumerate(zip(*kinds, strict=True))
            ]
        elif self.strategy == "block":
            hidden = self._block(observed)
        elif self.strategy == "modality":
            hidden = self._modality(observed)
        else:
            hidden = self._historical(observed)
        some = available_modalities(hidden).any(1)[:, None, None]
        hidden = [torch.where(some, h, r) for h, r in zip(hidden, random, strict=True)]
        return self._or_anything(hidden, observed)

    def _or_anything(self, hidden: list[Tensor], observed: Sequence[Tensor]) -> list[Tensor]:
        """Where nothing was hidden of a sample (it has few observations), hide all of it."""
        none = ~available_modalities(hidden).any(1)[:, None, None]
        return [h | (none & o) for h, o in zip(hidden, observed, strict=True)]

    def extra_repr(self) -> str:
        """The strategy, for ``print``."""
        return f"strategy={self.strategy!r}, fraction={self.fraction}"
