"""When and how often the channels of a modality with irregular times were observed.

Sizes: B batch, L timepoints, C channels, F features of a modality.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mts_fusion.nn.layers import running_max
from mts_fusion.panel._schema import Modality

from ._base import FeatureBlock
from ._convolution import has_clock
from ._statistics import RankedFeatures

__all__ = ["LastTimes", "TimingFeatures"]

# Of a channel, in this order; then the times of the modality as a whole.
_CHANNEL_NAMES = (
    "count",
    "first_time",
    "last_time",
    "since_last",
    "longest_gap",
    "slope",
    "last_minus_first",
    "last_minus_mean",
)
_MODALITY_NAMES = ("n_timepoints", "start", "end")


class TimingFeatures(RankedFeatures):
    """When and how often each channel was observed, and how far it moved, in seconds.

    Of each channel: the number of observations, the times of the first and the last, the time from
    the last to the end of the modality, the longest time between two, the slope over time (least
    squares), and the differences of the last to the first and to the mean. Of the modality: the
    number of timepoints at which anything was observed, and the first and the last of them. Each
    is the normal score of its rank in training, as in :class:`StatisticFeatures`.

    Parameters
    ----------
    modality : Modality
        What the features are of; one with irregular times.

    Attributes
    ----------
    n_features : int
        Number of features F.
    block_widths : list of int
        ``[F]``.

    Notes
    -----
    They depend on the observations and their times alone, so two panels of one patient on other
    grids have the same. The end is that of the modality, not of the sample: features of a sensor do
    not depend on which others work. A silent channel has a count of 0 and NaN
    otherwise, a silent modality NaN throughout.

    Examples
    --------
    >>> block = TimingFeatures(Modality("laboratory", 2, 3, irregular=True))
    >>> times = torch.tensor([[0.0, 60.0, 600.0]])
    >>> raw = block.compute(torch.ones(1, 3, 2), torch.ones(1, 3, 2, dtype=torch.bool), times)
    >>> raw[0, :3].tolist()
    [3.0, 0.0, 600.0]
    """

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.modality = modality
        self._make_ranks(len(self.feature_names()))

    @classmethod
    def suits(cls, modality: Modality) -> bool:
        """Whether a modality has no regular clock, see :func:`has_clock`.

        Parameters
        ----------
        modality : Modality
            A modality.

        Returns
        -------
        bool
            Whether it has none.
        """
        return not has_clock(modality)

    def compute(self, values: Tensor, observed: Tensor, times: Tensor | None = None) -> Tensor:
        """Raw features.

        Parameters
        ----------
        values : Tensor of shape (B, L, C)
            Finite numbers, or integer tokens.
        observed : Tensor of shape (B, L, C)
            Bool: where a value was observed.
        times : Tensor of shape (B, L) or None, default=None
            Seconds; None counts timepoints.

        Returns
        -------
        Tensor of shape (B, F)
            NaN for a channel that was not observed, but for its count.
        """
        x = torch.where(observed, values.float(), 0.0)
        if times is None:
            times = torch.arange(x.shape[1], dtype=x.dtype, device=x.device).expand(x.shape[0], -1)
        clock = times.unsqueeze(-1).to(x.dtype)  # (B, L, 1)
        mask = observed.to(x.dtype)
        count = mask.sum(1)  # (B, C)
        n = count.clamp(min=1)
        first_time = torch.where(observed, clock, torch.inf).amin(1)
        last_time = torch.where(observed, clock, -torch.inf).amax(1)
        any_channel = observed.any(2)
        start = torch.where(any_channel, times, torch.inf).amin(1)
        end = torch.where(any_channel, times, -torch.inf).amax(1)

        # The last observation before each timepoint: none has a gap to it at the start.
        so_far = running_max(torch.where(observed, clock, -torch.inf), 1)
        before = F.pad(so_far[:, :-1], (0, 0, 1, 0), value=-torch.inf)
        gap = torch.where(observed & before.isfinite(), clock - before, 0.0).amax(1)
        # By index, not by time: a channel may have several values of one time.
        index = torch.arange(x.shape[1], device=x.device).view(1, -1, 1).expand(x.shape)
        last_index = x.shape[1] - 1
        first = x.gather(1, index.where(observed, last_index).amin(1, keepdim=True)).squeeze(1)
        last = x.gather(1, index.where(observed, 0).amax(1, keepdim=True)).squeeze(1)
        mean = x.sum(1) / n
        centred = (clock - (clock * mask).sum(1, keepdim=True) / n.unsqueeze(1)) * mask
        spread = centred.square().sum(1)
        slope = (centred * x).sum(1) / torch.where(spread > 0, spread, 1.0)
        each = [first_time, last_time, end.unsqueeze(1) - last_time, gap, slope]
        each += [last - first, last - mean]
        channels = torch.stack(each, -1).masked_fill((count == 0).unsqueeze(-1), torch.nan)
        channels = torch.cat([count.unsqueeze(-1), channels], -1).flatten(1)
        whole = torch.stack([any_channel.sum(1).to(x.dtype), start, end], 1)
        silent = ~any_channel.any(1, keepdim=True)
        return torch.cat([channels, whole], 1).masked_fill(silent, torch.nan)

    def feature_names(self) -> list[str]:
        """A name for each feature: channel and statistic, or a statistic of the modality.

        Returns
        -------
        list of str
            Of length F.
        """
        channels = range(self.modality.n_channels)
        return [f"{c}__{name}" for c in channels for name in _CHANNEL_NAMES] + [*_MODALITY_NAMES]


class LastTimes(FeatureBlock):
    """When each channel was last observed, in seconds and as it is, for what compares modalities.

    Parameters
    ----------
    modality : Modality
        One with irregular times.

    Attributes
    ----------
    n_features : int
        Number of channels C.
    block_widths : list of int
        ``[C]``.

    Examples
    --------
    >>> block = LastTimes(Modality("laboratory", 2, 3, irregular=True))
    >>> observed = torch.tensor([[[True, False], [True, False], [False, False]]])
    >>> block.compute(torch.ones(1, 3, 2), observed, torch.tensor([[0.0, 60.0, 600.0]]))
    tensor([[60., nan]])
    """

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.n_features = modality.n_channels
        self.block_widths = [self.n_features]

    @classmethod
    def suits(cls, modality: Modality) -> bool:
        """Whether a modality has no regular clock, as for :class:`TimingFeatures`."""
        return TimingFeatures.suits(modality)

    def compute(self, values: Tensor, observed: Tensor, times: Tensor | None = None) -> Tensor:
        """Seconds, ``(B, C)``; timepoints where ``times`` is None; NaN for a silent channel."""
        if times is None:
            times = torch.arange(observed.shape[1], device=observed.device)[None]
        clock = times.unsqueeze(-1).float()
        last = torch.where(observed, clock, -torch.inf).amax(1)
        return last.masked_fill(last.isinf(), torch.nan)

    def fit(self, features: Tensor) -> None:
        """Learn nothing."""

    def standardize(self, features: Tensor) -> Tensor:
        """The features as they are."""
        return features

    def feature_names(self) -> list[str]:
        """A name for each channel."""
        return [f"{c}__last_time" for c in range(self.n_features)]
