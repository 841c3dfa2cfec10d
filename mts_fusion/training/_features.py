"""FixedFeatures: features of each modality, fitted once, before the networks are trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, cast

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from torch import Tensor

from mts_fusion.nn.features import SchemaFeatures
from mts_fusion.panel import Panel, Schema
from mts_fusion.persistence import PackedState
from mts_fusion.runs import advance, kept_results, phase

from ._batch import FEATURE_ROWS, PanelDataset, padded_rows
from ._runtime import isolated

__all__ = ["FixedFeatures"]

# Timepoints whose features are computed at a time, in 16 to 64 rows: intermediate results then fit
# into the cache of a CPU. Measured at 125 and 1,920 timepoints: half the time of 128 rows.
_CACHED_TIMEPOINTS = 8192

# Rows computed at a time on an accelerator, and rows standardised at a time.
_ROWS_ON_ACCELERATOR, _ROWS_TO_SCALE = 128, 512

# Samples from which the biases of the convolutions are learnt: quantiles of their responses.
_N_BIAS_ROWS = 64

# At least so many of them that have each modality, if there are any.
_N_BIAS_ROWS_EACH = 16


class FixedFeatures(PackedState):
    """Random convolutions and statistics of each modality, which need no training.

    Parameters
    ----------
    schema : Schema
        The modalities.
    kinds : sequence of str, or dict of str to sequence of str, \
default=("multirocket", "statistics")
        Kinds of features, for all modalities or by name, out of ``"multirocket"``, ``"hydra"``,
        ``"statistics"`` and ``"timing"`` (when and how often channels were observed); the columns
        of a modality have this order. A modality that a dict leaves out has no features. A modality
        with irregular times has no convolutions, and one with a regular clock no ``"timing"``.
    n_groups : int, default=32
        Number of groups of random convolutions, even: ``16 * n_groups`` features a dilation. Time
        and memory grow linearly with it.
    scales : dict of str to sequence of C float or None, default=None
        By modality, what the values of each channel were divided by. The convolutions of
        ``"multirocket"`` then sum channels in their original units.
    random_state : int, default=0
        Seed of the convolutions, and of the rows from which their biases are learnt.
    device : str, default="cpu"
        Device of torch that computes the features.

    Attributes
    ----------
    widths : list of M dicts of str to list of int
        By modality and kind, the widths of its parts: one a dilation for convolutions, one for
        statistics. Known before ``fit``, so that a network can be built from them.
    n_features : list of M int
        Number of features F of each modality.

    Raises
    ------
    ValueError
        If a kind or a modality is unknown, or a size is out of range.

    Notes
    -----
    The features of a sample depend on the other samples of a call only by rounding: up to about
    1e-5 for statistics and ``"hydra"``, and not a bit for ``"multirocket"`` where it was tried. On
    the CPU they are computed in one thread, a few rows at a time. They are pickled on the CPU.

    References
    ----------
    .. [1] Tan, Dempster, Bergmeir and Webb, "MultiRocket: multiple pooling operators and
       transformations for fast and effective time series classification", Data Mining and
       Knowledge Discovery, 2022. https://arxiv.org/abs/2102.00457
    .. [2] Dempster, Schmidt and Webb, "Hydra: competing convolutional kernels for fast and
       accurate time series classification", Data Mining and Knowledge Discovery, 2023.
       https://arxiv.org/abs/2203.13652

    Examples
    --------
    >>> import numpy as np
    >>> panel = Panel({"acc": np.random.default_rng(0).normal(size=(20, 3, 50))})
    >>> features = FixedFeatures(panel.schema, ("statistics", "multirocket"), n_groups=2)
    >>> features.widths[0]["multirocket"]
    [32, 32, 32]
    >>> features.fit(panel).transform(panel[:4])[0].shape
    (4, 216)
    """

    def __init__(
        self,
        schema: Schema,
        kinds: Sequence[str] | Mapping[str, Sequence[str]] = ("multirocket", "statistics"),
        *,
        n_groups: int = 32,
        scales: Mapping[str, Sequence[float]] | None = None,
        random_state: int = 0,
        device: str = "cpu",
    ) -> None:
        self.schema = schema
        self.random_state = random_state
        self.device = device
        with isolated(1, grad=True):
            self.module = SchemaFeatures(
                schema, kinds, n_groups=n_groups, scales=scales, seed=random_state
            )
        self.widths = self.module.widths
        self.n_features = self.module.n_features
        self._is_fitted = False

    def fit(self, panel: Panel, rows: np.ndarray | None = None) -> Self:
        """Learn biases from a few samples, and the distribution of the features from all.

        Parameters
        ----------
        panel : Panel
            n samples.
        rows : int array of shape (k,), default=None
            Samples to learn from, such as the training samples; None for all.

        Returns
        -------
        FixedFeatures
            The fitted features.

        Raises
        ------
        ValueError
            If the panel has another schema.
        """
        self.fit_transform(panel if rows is None else panel[rows])
        return self

    def fit_transform(self, panel: Panel, rows: np.ndarray | None = None) -> list[np.ndarray]:
        """Learn from some samples, and return the features of all, each computed once.

        Parameters
        ----------
        panel : Panel
            n samples.
        rows : int array of shape (k,), default=None
            Samples to learn from; None for all.

        Returns
        -------
        list of M arrays of shape (n, F)
            As :meth:`transform` returns them.

        Raises
        ------
        ValueError
            If the panel has another schema.
        """
        dataset = self._dataset(panel)
        chosen = np.arange(len(panel)) if rows is None else np.asarray(rows)
        few = _bias_rows(chosen, panel.available, self.random_state)
        with isolated(1):
            inputs = dataset.take(few).__getitems__(np.arange(len(few)))[0]
            arguments = cast(Any, inputs.to(self._move_module()).arguments)
            self.module.fit_biases(arguments["values"], arguments["observed"])
            raw = self._compute(dataset, standardize=False)
            index = torch.as_tensor(chosen)
            self.module.fit([part[index].to(self.device) for part in raw])
            for start in range(0, len(panel), _ROWS_TO_SCALE):
                chunks = [part[start : start + _ROWS_TO_SCALE] for part in raw]
                scaled = self.module.standardize([chunk.to(self.device) for chunk in chunks])
                for chunk, part in zip(chunks, scaled, strict=True):
                    chunk.copy_(part)
        self._is_fitted = True
        return [part.numpy() for part in raw]

    def transform(self, panel: Panel) -> list[np.ndarray]:
        """Compute the features, on a common scale.

        Parameters
        ----------
        panel : Panel
            n samples; the number of timepoints may differ from that in ``fit``.

        Returns
        -------
        list of M arrays of shape (n, F)
            float32, in the order of the schema; NaN where nothing was observed.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the panel has another schema.
        """
        if not self._is_fitted:
            raise NotFittedError("FixedFeatures is not fitted yet. Call fit(panel) first.")
        dataset, kept = self._dataset(panel), kept_results()
        self._move_module()
        if kept is None:
            with isolated(1):
                return [part.numpy() for part in self._compute(dataset, standardize=True)]
        keys = [(m, dataset.content_key(m)) for m in range(len(self.schema))]
        features = [kept.get(self, key) for key in keys]
        is_known = np.array([part is not None for part in features])
        if not is_known.all():
            hidden = np.broadcast_to(is_known, (len(panel), len(is_known)))
            others = dataset.take(np.arange(len(panel)), hidden)
            with isolated(1):
                computed = self._compute(others, standardize=True)
            for m in np.flatnonzero(~is_known):
                features[m] = computed[m].numpy()
                kept.put(self, keys[m], features[m])
        return features

    def feature_names(self, name: str) -> list[str]:
        """Names of the features of a modality: the kind, and the name that the kind gives it.

        Parameters
        ----------
        name : str
            Name of the modality.

        Returns
        -------
        list of str
            Of length F.
        """
        return self.module.feature_names(self.schema.names.index(name))

    def names(self) -> list[str]:
        """Names of the features of all modalities, in the order of the schema.

        Returns
        -------
        list of str
            Each starts with the name of its modality.
        """
        return [f"{m}__{feature}" for m in self.schema.names for feature in self.feature_names(m)]

    def _dataset(self, panel: Panel) -> PanelDataset:
        self.schema.check_matches(panel.schema, owner="FixedFeatures")
        return PanelDataset(panel, schema=self.schema)

    def _move_module(self) -> str:
        """Move the module to the device, or to the CPU if that is no longer available."""
        if self.device != "cpu" and not torch.cuda.is_available():
            self.device = "cpu"
        at = next((buffer.device for buffer in self.module.buffers()), None)
        if at != torch.device(self.device):
            self.module.to(self.device)
        return self.device

    def _compute(self, dataset: PanelDataset, *, standardize: bool) -> list[Tensor]:
        """Features of all samples, on the CPU, a few rows at a time."""
        features = [torch.empty(len(dataset), width) for width in self.n_features]
        start = 0
        with phase("features", len(dataset)):
            for rows, n in self._batches(dataset):
                inputs = dataset.__getitems__(rows)[0].to(self.device)
                parts = self.module.compute(**cast(Any, inputs.arguments))
                if standardize:
                    parts = self.module.standardize(parts)
                for target, part in zip(features, parts, strict=True):
                    target[start : start + n] = part[:n]
                start += n
                advance("features", n)
        return features

    def _batches(self, dataset: PanelDataset) -> Iterable[tuple[np.ndarray, int]]:
        """Rows to compute at a time, and how many of them are not padding."""
        n = len(dataset)
        if self.device != "cpu":
            return padded_rows(n, _ROWS_ON_ACCELERATOR, FEATURE_ROWS)
        if 0 < n < FEATURE_ROWS:  # padding would take longer than the few rows
            if all(bool(observed.all()) for observed in dataset.observed):
                return [(np.array([row]), 1) for row in range(n)]
            return [(np.arange(n), n)]
        longest = max(x.shape[2] for x in dataset.observed)
        size = min(max(_CACHED_TIMEPOINTS // longest // FEATURE_ROWS, 1), 4) * FEATURE_ROWS
        return padded_rows(n, size, FEATURE_ROWS)


def _bias_rows(rows: np.ndarray, available: np.ndarray, seed: int) -> np.ndarray:
    """A few of the rows, in their order, with some that have each modality."""
    drawn = np.random.default_rng(seed).permutation(rows)
    chosen = np.arange(len(drawn)) < _N_BIAS_ROWS
    has = available[drawn]  # (n, M)
    rare = has[chosen].sum(0) < _N_BIAS_ROWS_EACH
    chosen |= (has & (has.cumsum(0) <= _N_BIAS_ROWS_EACH))[:, rare].any(1)
    return np.sort(drawn[chosen])
