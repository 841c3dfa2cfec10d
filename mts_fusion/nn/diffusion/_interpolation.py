"""Linear interpolation between the observed entries before and after, and their distance.

Sizes: B batch, L timepoints, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mts_fusion.nn.layers import nearest_observed

__all__ = ["fill_between"]


def fill_between(
    values: Tensor, observed: Tensor, times: Tensor, end: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Linear interpolation of each channel, and the distance to its nearest observation.

    Parameters
    ----------
    values : Tensor of shape (B, L, C)
        Read where ``observed``.
    observed : bool Tensor of shape (B, L, C)
        What was observed.
    times : Tensor of shape (B, L)
        Not falling.
    end : int64 Tensor of shape (B,), or None
        Timepoints of each sample; None where it is L.

    Returns
    -------
    filled : Tensor of shape (B, L, C)
        Observed entries as they are; before the first and after the last, that one; 0 in a
        channel without any.
    distance : Tensor of shape (B, L, C)
        In the unit of ``times``; 0 where observed, and in a channel without observations the
        span of the times of the sample plus 1.

    Examples
    --------
    >>> x = torch.tensor([1.0, 0.0, 0.0, 7.0]).view(1, 4, 1)
    >>> observed = torch.tensor([True, False, False, True]).view(1, 4, 1)
    >>> filled, distance = fill_between(x, observed, torch.arange(4.0)[None], None)
    >>> filled.flatten().tolist(), distance.flatten().tolist()
    ([1.0, 3.0, 5.0, 7.0], [0.0, 1.0, 1.0, 0.0])
    """
    last = values.shape[1] - 1
    before, after = nearest_observed(observed)
    has_before, has_after = before >= 0, after <= last
    before, after = before.clamp(min=0), after.clamp(max=last)
    clock = times[:, :, None].to(values.dtype).expand_as(values)
    since = clock - clock.gather(1, before)
    until = clock.gather(1, after) - clock
    low, high = values.gather(1, before), values.gather(1, after)
    span = since + until
    share = torch.where(span > 0, since / span.clamp(min=1e-12), 0.0)
    share = torch.where(has_before, torch.where(has_after, share, 0.0), 1.0)
    none = ~(has_before | has_after)
    filled = torch.where(none, 0.0, low + share * (high - low))
    latest = times[:, -1:] if end is None else times.gather(1, end[:, None] - 1)
    far = latest[:, :, None].to(values.dtype) - clock[:, :1] + 1
    since = torch.where(has_before, since, far)
    until = torch.where(has_after, until, far)
    return torch.where(observed, values, filled), torch.minimum(since, until)
