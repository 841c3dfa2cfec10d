"""PanelDataset: batches of tensors, each indexed from the arrays of a panel in one step.

Sizes: n samples, B batch, C channels, L timepoints. Only this file transposes ``(n, C, L)`` of a
panel to ``(B, L, C)`` of the networks.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mts_fusion.panel import Panel, Schema
from mts_fusion.panel._align import has_value
from mts_fusion.panel._stored import StoredPanel, loaded_parts
from mts_fusion.runs import content_key

__all__ = ["FEATURE_ROWS", "NETWORK_ROWS", "Inputs", "PanelDataset", "collate", "padded_rows"]

NETWORK_ROWS = 4
"""The number of rows that a network predicts at a time is a multiple of this.

Matrix products of one, two or three rows take another kernel, with another order of additions.
"""

FEATURE_ROWS = 16
"""The number of rows whose fixed features are computed at a time is a multiple of this.

Except for fewer samples than that.
"""


class Inputs:
    """Arguments of a network for the samples of one batch.

    Parameters
    ----------
    arguments : dict
        Keyword arguments of ``forward``: lists of tensors (or None) in the order of the schema.
    n : int
        Samples B.
    """

    def __init__(self, arguments: dict[str, list[Tensor | None]], n: int) -> None:
        self.arguments = arguments
        self.n = n

    def __len__(self) -> int:
        return self.n

    def to(self, device: str | torch.device) -> Inputs:
        """The same arguments on a device."""
        moved = {
            key: [None if part is None else part.to(device, non_blocking=True) for part in parts]
            for key, parts in self.arguments.items()
        }
        return Inputs(moved, self.n)


Batch = tuple[Inputs, dict[str, Tensor]]


class PanelDataset(Dataset[Batch]):
    """A panel with its targets and weights, indexed by whole batches.

    Parameters
    ----------
    panel : Panel
        n samples.
    y : array of shape (n,) or (n, n_outputs), default=None
        Encoded targets. None in prediction.
    sample_weight : array of shape (n,), default=None
        Weights with mean 1; None for equal weights.
    has_imputed : bool, default=False
        Whether batches have a mask of the imputed entries: those with a value but not observed.
    schema : Schema or None, default=None
        That of ``fit``: the longest samples there, not those of the panel, say how long a regular
        clock runs. None takes that of the panel.

    Notes
    -----
    A batch is ``(inputs, target)``: the arguments of ``inputs`` are the lists ``values``,
    ``observed``, ``times`` (``imputed`` too with ``has_imputed``, and ``features`` once
    :meth:`with_features` has set them) in the order of the schema; ``target`` has ``y`` and
    ``weight``. Values are finite: missing ones are 0.

    Examples
    --------
    >>> import numpy as np
    >>> dataset = PanelDataset(Panel({"acc": np.full((4, 3, 10), np.nan)}))
    >>> inputs, _ = dataset.__getitems__([0, 2])
    >>> len(inputs), inputs.arguments["values"][0].shape
    (2, torch.Size([2, 10, 3]))
    """

    def __init__(
        self,
        panel: Panel,
        y: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
        *,
        has_imputed: bool = False,
        schema: Schema | None = None,
    ) -> None:
        n = len(panel)
        self.values: list[Any] = _arrays(panel, "values")
        self.observed: list[Any] = _arrays(panel, "observed")
        self.imputed = [_tensor(part) for part in _imputed(panel)] if has_imputed else None
        self.times = _clocks(panel, _regular_seconds(panel.schema if schema is None else schema))
        self.y = _tensor(np.zeros(n, dtype=np.float32) if y is None else y)
        self.weight = _tensor(np.ones(n) if sample_weight is None else sample_weight).float()
        self.features: list[Tensor] | None = None
        self.rows = _tensor(np.arange(n))
        self.silenced: Tensor | None = None
        self._missing = ~panel.available  # (n, M)

    def take(self, rows: np.ndarray, silenced: np.ndarray | None = None) -> PanelDataset:
        """A subset of the samples, without a copy of their values.

        Parameters
        ----------
        rows : int array of shape (k,)
            Indices of samples, in which one may occur twice.
        silenced : bool array of shape (k, M), default=None
            Modalities to hide in each of them, as if they were not observed.

        Returns
        -------
        PanelDataset
            k samples.
        """
        new = copy(self)
        new.rows = self.rows[_tensor(rows)]
        new.silenced = None if silenced is None else _tensor(silenced)
        new._missing = self._missing[rows]
        if silenced is not None:
            new._missing = new._missing | silenced
        return new

    def with_features(self, features: Sequence[np.ndarray] | None) -> PanelDataset:
        """The same samples with fixed features.

        Parameters
        ----------
        features : list of array of shape (n, F), or None
            By modality; n counts all samples of the panel, not only those taken.

        Returns
        -------
        PanelDataset
            As many samples as this.
        """
        new = copy(self)
        new.features = None if features is None else [_tensor(part) for part in features]
        return new

    def content_key(self, m: int) -> bytes:
        """A key of all that is known of one modality of all samples.

        Parameters
        ----------
        m : int
            Index of the modality.

        Returns
        -------
        bytes
            Equal for equal values, masks and times.
        """
        arrays = (self.values[m], self.observed[m], self.times[m])
        return content_key(*(None if x is None else np.asarray(x) for x in arrays))

    @property
    def missing(self) -> np.ndarray:
        """Fraction ``(n,)`` of the modalities of each sample that are missing or silenced."""
        return self._missing.mean(1)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Batch:
        return self.__getitems__([i])

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> Batch:
        index = _tensor(np.asarray(indices))
        rows = self.rows[index]
        values = [_values(part[rows]) for part in self.values]
        masks = {"observed": [part[rows].transpose(1, 2) for part in self.observed]}
        if self.imputed is not None:
            masks["imputed"] = [part[rows].transpose(1, 2) for part in self.imputed]
        if self.silenced is not None:
            silent = self.silenced[index][:, :, None, None]
            values = [x.masked_fill(silent[:, m], 0) for m, x in enumerate(values)]
            masks = {
                key: [mask & ~silent[:, m] for m, mask in enumerate(parts)]
                for key, parts in masks.items()
            }
        arguments: dict[str, list[Tensor | None]] = {
            "values": list(values),
            "times": [
                None if clock is None else clock[rows].nan_to_num(0.0) for clock in self.times
            ],
            **{key: list(parts) for key, parts in masks.items()},
        }
        if self.features is not None:
            arguments["features"] = [part[rows] for part in self.features]
        return Inputs(arguments, len(rows)), {"y": self.y[rows], "weight": self.weight[rows]}


def collate(batch: Batch) -> Batch:
    """Return the batch unchanged: the dataset has indexed it as a whole.

    Parameters
    ----------
    batch : tuple
        From ``PanelDataset.__getitems__``.

    Returns
    -------
    tuple
        The same.
    """
    return batch


def padded_rows(n: int, size: int, multiple: int) -> Iterator[tuple[np.ndarray, int]]:
    """Batches of the rows 0 to n - 1, the last one padded with its last row.

    Parameters
    ----------
    n : int
        Number of rows.
    size : int
        Rows in a batch, a multiple of ``multiple``.
    multiple : int
        The length of each batch is a multiple of this.

    Yields
    ------
    tuple of array and int
        Rows, and how many of them are not padding.

    Examples
    --------
    >>> [(len(rows), n) for rows, n in padded_rows(70, 32, 4)]
    [(32, 32), (32, 32), (8, 6)]
    """
    for start in range(0, n, size):
        rows = np.arange(start, min(start + size, n))
        yield np.pad(rows, (0, -len(rows) % multiple), mode="edge"), len(rows)


class _AsRead:
    """Values or masks of a modality of a stored panel, of which rows are read when asked for."""

    def __init__(self, panel: StoredPanel, what: str, name: str) -> None:
        modality = panel.schema[name]
        self.panel, self.what, self.name = panel.select(name), what, name
        self.shape = (len(panel), modality.n_channels, modality.n_timepoints)

    def __getitem__(self, rows: Tensor) -> Tensor:
        return _tensor(getattr(self.panel[rows.tolist()], self.what)[self.name])

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(getattr(self.panel, self.what)[self.name], dtype)


def _arrays(panel: Panel, what: str) -> list[Any]:
    """Values or masks of each modality; those of a stored panel stay where they are."""
    if isinstance(panel, StoredPanel) and len(panel) >= FEATURE_ROWS:
        return [_AsRead(panel, what, name) for name in panel.schema.names]
    return [_tensor(getattr(panel, what)[name]) for name in panel.schema.names]


def _clocks(panel: Panel, regular_seconds: float) -> list[Tensor | None]:
    """Times of each modality, from the start of the sample; None for regular clocks."""
    if not any(m.irregular for m in panel.schema):
        return [None for _ in panel.schema]
    names = panel.schema.names
    clocks = [
        _since_start(
            [part.times[name] for name in names],
            [np.asarray(part.observed[name].any(1)) for name in names],
            regular_seconds,
        )
        for part in loaded_parts(panel)
    ]
    return [None if x[0] is None else torch.cat(x) for x in zip(*clocks, strict=True)]


def _imputed(panel: Panel) -> list[np.ndarray]:
    """Entries ``(n, C, L)`` of each modality that have a value and a time but were not observed."""
    masks = []
    for modality in panel.schema:
        filled = has_value(modality, panel.values[modality.name])
        times = panel.times[modality.name]
        if times is not None:
            filled &= ~np.isnan(times)[:, None]
        masks.append(filled & ~panel.observed[modality.name])
    return masks


def _regular_seconds(schema: Schema) -> float:
    """Longest duration of the modalities with a regular clock, which all start at 0."""
    return max((m.duration_seconds or 0.0 for m in schema if not m.irregular), default=0.0)


def _since_start(
    times: Sequence[np.ndarray | None], observed: Sequence[np.ndarray], regular_seconds: float
) -> list[Tensor | None]:
    """Times ``(n, L)`` in float32, from the first time at which anything of a sample was observed.

    In float32 the seconds of a date could not be told apart. Times that begin within
    ``regular_seconds`` already count from the start, that of the regular clocks.
    """
    clocks = [
        np.where(mask, clock, np.inf)
        for clock, mask in zip(times, observed, strict=True)
        if clock is not None
    ]
    if not clocks:
        return [None for _ in times]
    first = np.concatenate(clocks, axis=1).min(1)
    shared = np.isinf(first) | (np.abs(first) < regular_seconds)
    start = np.where(shared, 0.0, first)[:, None]
    return [None if c is None else _tensor((c - start).astype(np.float32)) for c in times]


def _values(values: Tensor) -> Tensor:
    """``(B, C, L)`` as ``(B, L, C)``: numbers with 0 in place of NaN, or tokens as int64."""
    values = values.transpose(1, 2)
    return values.nan_to_num(0.0) if values.is_floating_point() else values.long()


def _tensor(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():  # read-only memory (pandas, joblib) is only read
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(np.ascontiguousarray(array))
