"""ModalityGrouper: channels of one array -> named modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from mts_fusion.panel import Modality, Panel, PanelLike

from ._base import PanelTransformer, filled_masks

__all__ = ["ModalityGrouper"]


class ModalityGrouper(PanelTransformer):
    """Channels of a 3-D array, grouped into named modalities.

    A 3-D array has one modality. Sensors fail as groups of channels, so the groups have to be
    named before anything that treats a modality as a unit.

    Parameters
    ----------
    groups : dict of str to sequence of int or str
        Channels of each modality, by number from 0 or, where X names them, by name. A channel
        belongs to one modality at most.
    rates : dict of str to float or None, default=None
        Sampling rates in Hz of the modalities named. The others keep the rate of X, which is
        unknown for an array.
    remainder : {"raise", "drop"}, default="raise"
        What to do with channels that are in no group.

    Attributes
    ----------
    schema_ : Schema
        What X was in ``fit``: one modality.

    Raises
    ------
    ValueError
        If X has more than one modality; if a group is empty or names a channel that X lacks; if a
        channel is in two groups, or in none with ``remainder="raise"``; if ``rates`` names a
        modality that is no group.

    See Also
    --------
    mts_fusion.panel.as_panel : Takes dicts of arrays, which need no grouping.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.zeros((4, 6, 100))
    >>> grouper = ModalityGrouper({"acc": [0, 1, 2], "gyro": [3, 4, 5]}, rates={"acc": 50.0})
    >>> grouper.fit_transform(X).schema.names
    ('acc', 'gyro')
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "rates": [dict, None],
        "remainder": [str],
    }

    def __init__(
        self,
        groups: Mapping[str, Sequence[int | str]],
        *,
        rates: Mapping[str, float | None] | None = None,
        remainder: str = "raise",
    ) -> None:
        self.groups = groups
        self.rates = rates
        self.remainder = remainder

    def fit(self, X: PanelLike, y: object = None) -> Self:
        """Check the groups against the channels of X.

        Parameters
        ----------
        X : array of shape (n, C, L) or anything as_panel takes
            Samples of one modality.
        y : None
            Ignored.

        Returns
        -------
        ModalityGrouper
            The fitted transformer.

        Raises
        ------
        ValueError
            If the groups do not fit X.
        """
        panel = self._check_fit(X)
        if len(panel.schema) != 1:
            raise ValueError(
                "ModalityGrouper groups the channels of one modality, but X has "
                f"{list(panel.schema.names)}. Leave the grouper out, or X.select([...]) one."
            )
        if self.remainder not in ("raise", "drop"):
            raise ValueError(f"remainder is 'raise' or 'drop', got {self.remainder!r}.")
        (modality,) = panel.schema
        self._check_groups(modality)
        unknown = [name for name in self.rates or {} if name not in self.groups]
        if unknown:
            raise ValueError(
                f"rates names {unknown}, but the groups are {list(self.groups)}. Remove them."
            )
        return self

    def _numbers(self, name: str, modality: Modality) -> np.ndarray:
        """The channels of a group as numbers."""
        channels = self.groups[name]
        if isinstance(channels, str) or not np.ndim(channels):
            return np.asarray(channels)
        names = modality.channel_names
        unknown = [c for c in channels if isinstance(c, str) and c not in names]
        if unknown:
            raise ValueError(
                f"Modality {name!r} asks for channel {unknown[0]!r}, but X has the channels "
                f"{list(names)}."
            )
        return np.asarray([names.index(c) if isinstance(c, str) else c for c in channels])

    def _check_groups(self, modality: Modality) -> None:
        n_channels = modality.n_channels
        if not isinstance(self.groups, Mapping) or not self.groups:
            raise ValueError(
                'groups is a dict of modality to channel numbers, as {"acc": [0, 1, 2]}, '
                f"got {self.groups!r}."
            )
        owner: dict[int, str] = {}
        for name, channels in self.groups.items():
            numbers = self._numbers(name, modality)
            if numbers.ndim != 1 or numbers.size == 0 or numbers.dtype.kind not in "iu":
                raise ValueError(
                    f"Modality {name!r} of groups needs a list of channel numbers, got "
                    f"{channels!r}."
                )
            for channel in numbers.tolist():
                if not 0 <= channel < n_channels:
                    raise ValueError(
                        f"Modality {name!r} asks for channel {channel}, but X has the channels "
                        f"0 to {n_channels - 1}."
                    )
                if channel in owner:
                    raise ValueError(
                        f"Channel {channel} is in modality {owner[channel]!r} and in {name!r}. "
                        "Name it once."
                    )
                owner[channel] = name
        left = [channel for channel in range(n_channels) if channel not in owner]
        if left and self.remainder == "raise":
            raise ValueError(
                f"The channels {left} of X are in no modality. Add them to groups, or leave them "
                "out with remainder='drop'."
            )

    def transform(self, X: PanelLike) -> Panel:
        """The channels of X under their modalities.

        Parameters
        ----------
        X : array of shape (n, C, L) or anything as_panel takes
            Samples with the channels of ``fit``.

        Returns
        -------
        Panel
            One modality a group, in the order of ``groups``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X has other channels than in ``fit``.
        """
        panel = self._check_transform(X)
        (modality,) = panel.schema
        values, mask = panel.values[modality.name], filled_masks(panel).get(modality.name)
        times = panel.times[modality.name]
        rates = {name: (self.rates or {}).get(name, modality.rate) for name in self.groups}
        channels = {name: self._numbers(name, modality) for name in self.groups}
        labels = modality.channels
        return Panel(
            {name: values[:, group] for name, group in channels.items()},
            times=None if times is None else dict.fromkeys(self.groups, times),
            rates=rates,
            vocabularies=dict.fromkeys(self.groups, modality.vocabulary),
            observed={
                name: None if mask is None else mask[:, group] for name, group in channels.items()
            },
            channels={
                name: None if labels is None else [labels[c] for c in group]
                for name, group in channels.items()
            },
            sample_ids=panel.sample_ids,
        )
