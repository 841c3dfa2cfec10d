"""Fixed features of all modalities of a schema, of one kind or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import construct
from mts_fusion.panel._schema import Schema

from ._base import FeatureBlock
from ._hydra import HydraFeatures
from ._multirocket import MultiRocketFeatures
from ._statistics import StatisticFeatures
from ._timing import LastTimes, TimingFeatures

__all__ = ["FEATURE_KINDS", "LAST_TIMES", "SchemaFeatures"]

LAST_TIMES = "last_times"
"""Kind that is no feature by itself: seconds as they are, from which boosted trees compute some."""

_BLOCKS: dict[str, type[FeatureBlock]] = {
    "multirocket": MultiRocketFeatures,
    "hydra": HydraFeatures,
    "statistics": StatisticFeatures,
    "timing": TimingFeatures,
    LAST_TIMES: LastTimes,
}

FEATURE_KINDS = tuple(kind for kind in _BLOCKS if kind != LAST_TIMES)
"""Names of the kinds of fixed features from which a user chooses."""


class SchemaFeatures(nn.Module):
    """Fixed features of each modality of a schema, of one kind or several.

    Parameters
    ----------
    schema : Schema
        The modalities.
    kinds : sequence of str, or dict of str to sequence of str
        Kinds out of ``FEATURE_KINDS`` and ``LAST_TIMES``, for all modalities or by name; none for a
        modality that a dict leaves out. A modality without a regular clock (:func:`has_clock`) has
        no convolutions, one with a regular clock no ``"timing"``.
    n_groups : int, default=32
        Groups of random convolutions, even.
    scales : dict of str to sequence of C float or None, default=None
        By modality, what the values of each channel have been divided by: the convolutions of
        ``"multirocket"`` then add channels up in their own units.
    seed : int, default=0
        Seed of the convolutions, other ones for each modality.

    Attributes
    ----------
    kinds : list of M tuples of str
        Kinds of each modality.
    widths : list of M dicts of str to list of int
        By kind, the widths of its parts: one for each dilation of convolutions, one of statistics.
    n_features : list of M int
        Features F of each modality.

    Raises
    ------
    ValueError
        If a kind or a modality is not known, or a kind is named twice.

    Notes
    -----
    Used as a :class:`FeatureBlock` is, with a list of Tensors in the order of the schema in place
    of each. ``forward`` gives features of comparable scale, NaN where nothing was observed.

    Examples
    --------
    >>> from mts_fusion.panel._schema import Modality
    >>> schema = Schema((Modality("acc", 3, 50), Modality("age", 1, 1)))
    >>> block = SchemaFeatures(schema, ("multirocket", "statistics"), n_groups=2)
    >>> block.widths[0]["multirocket"], list(block.widths[1])
    ([32, 32, 32], ['statistics'])
    """

    def __init__(
        self,
        schema: Schema,
        kinds: Sequence[str] | Mapping[str, Sequence[str]],
        *,
        n_groups: int = 32,
        scales: Mapping[str, Sequence[float]] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.schema = schema
        self.kinds = _resolve_kinds(schema, kinds)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    kind: construct(
                        _BLOCKS[kind],
                        modality,
                        options={
                            "n_groups": n_groups,
                            "scale": (scales or {}).get(modality.name),
                            "seed": seed + m,
                        },
                    )
                    for kind in self.kinds[m]
                }
            )
            for m, modality in enumerate(schema)
        )
        self.groups = _equal_shapes(schema, self.kinds)
        self.widths = [
            {kind: list(block.block_widths) for kind, block in self._blocks(m).items()}
            for m in range(len(schema))
        ]
        self.n_features = [sum(map(sum, widths.values())) for widths in self.widths]

    def _blocks(self, m: int) -> dict[str, FeatureBlock]:
        return cast(dict[str, FeatureBlock], dict(cast(nn.ModuleDict, self.blocks[m]).items()))

    def fit_biases(self, values: Sequence[Tensor], observed: Sequence[Tensor]) -> None:
        """Learn what `compute` needs from some training samples.

        Parameters
        ----------
        values : list of M Tensors of shape (B, L, C)
            Numbers, or int64 symbols; finite.
        observed : list of M Tensors of shape (B, L, C)
            Bool.
        """
        for m, (x, o) in enumerate(zip(values, observed, strict=True)):
            for block in self._blocks(m).values():
                block.fit_biases(x, o)

    def compute(
        self,
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        times: Sequence[Tensor | None] | None = None,
    ) -> list[Tensor]:
        """Raw features.

        Parameters
        ----------
        values : list of M Tensors of shape (B, L, C)
            Numbers, or int64 symbols; finite.
        observed : list of M Tensors of shape (B, L, C)
            Bool.
        times : list of M Tensors of shape (B, L) or None, or None, default=None
            Seconds; None for a regular clock.

        Returns
        -------
        list of M Tensors of shape (B, F)
            NaN where a feature rests on no observation.
        """
        clocks = [None] * len(values) if times is None else times
        computed: list[dict[str, Tensor]] = [{} for _ in values]
        if not torch.compiler.is_compiling() and _is_one_complete_sample(observed):
            self._compute_groups(values, observed, clocks, computed)
        features = []
        for m, (x, o, clock) in enumerate(zip(values, observed, clocks, strict=True)):
            if not torch.compiler.is_compiling() and not bool(o.any()):
                dtype = x.dtype if x.is_floating_point() else torch.float32  # of symbols
                features.append(x.new_full((len(o), self.n_features[m]), torch.nan, dtype=dtype))
                continue
            parts = [
                computed[m][kind] if kind in computed[m] else block.compute(x, o, clock)
                for kind, block in self._blocks(m).items()
            ]
            empty = torch.empty(o.shape[0], 0, device=o.device)
            features.append(torch.cat(parts or [empty], 1))
        return features

    def _compute_groups(
        self,
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        times: Sequence[Tensor | None],
        computed: list[dict[str, Tensor]],
    ) -> None:
        """Features of one complete sample into ``computed``, modalities of one shape together."""
        for kind, group in self.groups:
            if len({values[m].shape for m in group}) > 1:
                continue
            parts = _BLOCKS[kind].compute_together(
                [self._blocks(m)[kind] for m in group],
                [values[m] for m in group],
                [observed[m] for m in group],
                [times[m] for m in group],
            )
            if parts is not None:
                for m, part in zip(group, parts, strict=True):
                    computed[m][kind] = part

    def fit(self, features: Sequence[Tensor]) -> None:
        """Learn the distribution of the features.

        Parameters
        ----------
        features : list of M Tensors of shape (n, F)
            Of the training samples, from `compute`.
        """
        for m, part in enumerate(features):
            for block, columns in self._columns(m, part):
                block.fit(columns)

    def standardize(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features of comparable scale.

        Parameters
        ----------
        features : list of M Tensors of shape (B, F)
            From `compute`.

        Returns
        -------
        list of M Tensors of shape (B, F)
            NaN where they were.
        """
        return [
            torch.cat([block.standardize(x) for block, x in self._columns(m, part)] or [part], 1)
            for m, part in enumerate(features)
        ]

    def _columns(self, m: int, features: Tensor) -> list[tuple[FeatureBlock, Tensor]]:
        """Each block of a modality with its features."""
        blocks = list(self._blocks(m).values())
        parts = features.split([block.n_features for block in blocks], 1) if blocks else []
        return list(zip(blocks, parts, strict=True))

    def forward(
        self,
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        times: Sequence[Tensor | None] | None = None,
    ) -> list[Tensor]:
        """Features of comparable scale, NaN where nothing was observed."""
        return self.standardize(self.compute(values, observed, times))

    def feature_names(self, m: int) -> list[str]:
        """Names of the features of a modality: kind, and what the kind calls them.

        Parameters
        ----------
        m : int
            Index of the modality in the schema.

        Returns
        -------
        list of str
            Of length F.
        """
        return [
            f"{kind}__{name}"
            for kind, block in self._blocks(m).items()
            for name in block.feature_names()
        ]


def _is_one_complete_sample(observed: Sequence[Tensor]) -> bool:
    return observed[0].shape[0] == 1 and all(bool(o.all()) for o in observed)


def _equal_shapes(schema: Schema, kinds: list[tuple[str, ...]]) -> list[tuple[str, list[int]]]:
    """Of each kind, the modalities of numbers that have one shape."""
    groups: dict[tuple[str, int, int], list[int]] = {}
    for m, modality in enumerate(schema):
        for kind in kinds[m] if modality.vocabulary is None else ():
            shape = (modality.n_channels, modality.n_timepoints)
            groups.setdefault((kind, *shape), []).append(m)
    return [(kind, group) for (kind, *_), group in groups.items()]


def _resolve_kinds(
    schema: Schema, kinds: Sequence[str] | Mapping[str, Sequence[str]]
) -> list[tuple[str, ...]]:
    """Kinds of each modality, without those that do not suit it."""
    if not isinstance(kinds, Mapping):
        kinds = dict.fromkeys(schema.names, kinds)
    unknown = [name for name in kinds if name not in schema]
    if unknown:
        raise ValueError(f"kinds names {unknown}, but the modalities are {list(schema.names)}.")
    for name, chosen in kinds.items():
        wrong = [kind for kind in chosen if kind not in _BLOCKS]
        if isinstance(chosen, str) or wrong or len(set(chosen)) < len(chosen):
            raise ValueError(
                f"kinds of modality {name!r} is {chosen!r}; a sequence is wanted that names each "
                f"of {list(FEATURE_KINDS)} at most once."
            )
    return [
        tuple(kind for kind in kinds.get(modality.name, ()) if _BLOCKS[kind].suits(modality))
        for modality in schema
    ]
