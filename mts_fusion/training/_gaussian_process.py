"""GaussianProcessModel: a Gaussian process fitted to a panel, and its predictions of gaps.

Sizes: n samples, B of them at a time, S draws, C channels of all modalities, Q entries of a sample
(the sum of L * C over the modalities, time before channels).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from mts_fusion.nn.diffusion import content_keys, keyed_normal, late_entries
from mts_fusion.nn.gaussian_process import (
    CoregionalKernel,
    Entries,
    conditional,
    leave_one_out,
    near_products,
    negative_log_likelihood,
    pack_entries,
    shrunk_covariance,
)
from mts_fusion.panel import Panel
from mts_fusion.persistence import PackedState
from mts_fusion.runs import advance, phase

from ._batch import PanelDataset
from ._entry_table import EntryTable
from ._pattern_rows import as_array
from ._residual_shapes import Residuals, ResidualShapes
from ._runtime import isolated

__all__ = ["GaussianProcessModel"]

# Learning rate, and the share of the steps over which it rises.
_LR, _WARM_UP = 0.03, 0.03
# Samples whose covariance the fit starts from.
_N_START = 512
# To learn the shapes of the errors: entries that are hidden, and entries of a sample at most.
_N_RESIDUALS, _MAX_NEAR = 50_000, 1000
# Cells of the covariance matrices that are held at a time.
_CELLS = 2**24


class _Noise(NamedTuple):
    normal: Tensor  # (B, S, Q), independent
    late: Tensor  # (B, Q): drawn after all others, so that no other draw depends on them


class GaussianProcessModel(PackedState):
    """A Gaussian process over all channels and times: its kernel, fitted, and its predictions.

    Parameters
    ----------
    n_scales : int
        Number of time scales, from ``interval`` to the duration of the longest sample.
    rank : int
        Rank of the covariance of the channels at each time scale.
    interval : float
        Shortest time scale in seconds.
    max_iter : int
        Steps of the optimiser.
    batch_size : int
        Samples a step.
    max_train_entries : int
        Observed entries of a sample that a step reads at most.
    max_entries : int
        Observed and missing entries of a sample up to which predictions are exact. Beyond, gaps are
        predicted in blocks of neighbours in time, each from the nearest entries that are observed
        or, in draws, drawn before.
    seed : int
        Of the batches.

    Attributes
    ----------
    kernel : CoregionalKernel
        The fitted covariance; its unit of time is ``interval``.
    losses : list of float
        Minus the log likelihood of an entry in each step, in nats.
    shapes : ResidualShapes
        Distributions of the standardised errors.
    schema : Schema
        Of the training samples.
    """

    def __init__(
        self,
        *,
        n_scales: int,
        rank: int,
        interval: float,
        max_iter: int,
        batch_size: int,
        max_train_entries: int,
        max_entries: int,
        seed: int,
    ) -> None:
        self.n_scales = n_scales
        self.rank = rank
        self.interval = interval
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.max_train_entries = max_train_entries
        self.max_entries = max_entries
        self.seed = seed

    # Fitting

    def fit(self, panel: Panel) -> GaussianProcessModel:
        """Maximise the marginal likelihood of mini-batches.

        Parameters
        ----------
        panel : Panel
            n samples, whose channels have mean 0 and variance 1.

        Returns
        -------
        GaussianProcessModel
            The fitted model.
        """
        self.schema = panel.schema
        rows = EntryTable(panel, panel.observed, self.interval, self.schema)
        available = np.flatnonzero(panel.available.any(1))
        generator = torch.Generator().manual_seed(self.seed)
        self.losses: list[float] = []
        with isolated(1, grad=True), phase("steps", self.max_iter, "step"):
            kernel = CoregionalKernel(
                self._covariance(rows, available, generator),
                np.geomspace(1.0, max(rows.duration, 2.0), self.n_scales).tolist(),
                rank=self.rank,
                seed=self.seed,
            )
            optimizer = torch.optim.Adam(kernel.parameters(), lr=_LR, betas=(0.9, 0.99))
            schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
            for chosen in self._batches(len(available), generator):
                entries = rows.take(available[chosen])
                loss = negative_log_likelihood(kernel, self._subsample(entries, generator))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                self.losses.append(float(loss.detach()))
                advance("steps", loss=self.losses[-1])
        self.kernel = kernel.requires_grad_(False)
        with phase("errors"), isolated(1):
            residuals = self._residuals(rows, available, generator)
        self.shapes = ResidualShapes(residuals, rows.n_channels)
        return self

    def _covariance(
        self, rows: EntryTable, available: np.ndarray, generator: torch.Generator
    ) -> Tensor:
        """Covariance of the channels at one time, from some of the samples."""
        order = as_array(torch.randperm(len(available), generator=generator))[:_N_START]
        products = torch.zeros(rows.n_channels, rows.n_channels, dtype=torch.float64)
        weights = torch.zeros_like(products)
        for start in range(0, len(order), self.batch_size):
            entries = rows.take(available[order[start : start + self.batch_size]])
            pairs = near_products(self._subsample(entries, generator), rows.n_channels)
            products, weights = products + pairs[0], weights + pairs[1]
        return shrunk_covariance(products, weights)

    def _rate(self, step: int) -> float:
        """Factor of the learning rate: a short rise, then half a cosine."""
        rise = (step + 1) / (_WARM_UP * self.max_iter + 1)
        return min(rise, (1 + math.cos(math.pi * step / self.max_iter)) / 2)

    def _batches(self, n: int, generator: torch.Generator) -> Iterator[np.ndarray]:
        """Rows of each step: all in random order, then anew."""
        size = min(self.batch_size, n)
        order = torch.zeros(0, dtype=torch.int64)
        for _ in range(self.max_iter):
            if len(order) < size:
                order = torch.cat([order, torch.randperm(n, generator=generator)])
            yield as_array(order[:size])
            order = order[size:]

    def _subsample(self, entries: Entries, generator: torch.Generator) -> Entries:
        """At most ``max_train_entries`` of each sample."""
        chosen = self._chosen(entries, generator, self.max_train_entries)
        return entries.take(*pack_entries(chosen))

    def _chosen(
        self, entries: Entries, generator: torch.Generator, n: int, *, near: bool = False
    ) -> Tensor:
        """Mask ``(B, Q)`` of at most ``n`` entries of each sample.

        Of one sample they are spread at random, of another one those around a random time: the
        first show slow changes, the second fast ones. With ``near`` they are always of the second
        kind.
        """
        shape = entries.channel.shape
        random = torch.rand(shape, generator=generator, dtype=torch.float64)
        which = torch.rand(shape[0], 1, generator=generator)
        last = torch.where(entries.exists, entries.time, 0.0).amax(1, keepdim=True)
        center = last * torch.rand(shape[0], 1, generator=generator)
        order = (entries.time - center).abs() + 1e-3 * random
        if not near:
            order = torch.where(which < 0.5, random, order)
        order = torch.where(entries.exists, order, math.inf)
        index = order.argsort(dim=1)[:, :n]
        return torch.zeros_like(entries.exists).scatter_(1, index, True) & entries.exists

    def _residuals(
        self, rows: EntryTable, available: np.ndarray, generator: torch.Generator
    ) -> Residuals:
        """Errors of entries hidden in some samples.

        Of one sample a random share is hidden, of another one what a third one lacks.
        """
        order = as_array(torch.randperm(len(available), generator=generator))
        parts: list[list[np.ndarray]] = []
        for start in range(0, len(order), self.batch_size):
            if sum(len(part[0]) for part in parts) > _N_RESIDUALS:
                break
            entries = rows.take(available[order[start : start + self.batch_size]])
            chosen = self._chosen(entries, generator, _MAX_NEAR, near=True)
            exists, lacking = entries.exists, ~entries.exists.roll(1, 0)
            share, which = torch.rand(2, len(exists), 1, generator=generator)
            random = torch.rand(exists.shape, generator=generator) < share
            both = (exists & lacking).any(1, keepdim=True) & (exists & ~lacking).any(
                1, keepdim=True
            )
            hidden = torch.where((which < 0.5) & both, lacking, random)
            known, wanted = (
                entries.take(*pack_entries(chosen & mask)) for mask in (~hidden, hidden)
            )
            result = conditional(self.kernel, known, wanted, joint=False)
            width = result.variance.sqrt()
            error = (wanted.value[:, 0] - result.mean[:, 0]) / width
            parts.append([as_array(x[wanted.exists]) for x in (wanted.channel, width, error)])
        return Residuals(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    # Prediction

    def moments(self, panel: Panel, gaps: Mapping[str, np.ndarray]) -> Iterator[np.ndarray]:
        """Mean and standard deviation of each gap, a few samples at a time.

        Parameters
        ----------
        panel : Panel
            n samples, scaled as in ``fit``.
        gaps : dict of str to bool array of shape (n, C, L)
            Entries to predict.

        Yields
        ------
        array of shape (2, B, Q)
            Anything where there is no gap.
        """
        for entries, gap, _ in self._chunks(panel, gaps):
            yield self._each(entries, gap, None)

    def left_out(self, panel: Panel) -> Iterator[np.ndarray]:
        """Mean and standard deviation of each observed entry given the others of its sample.

        Parameters
        ----------
        panel : Panel
            n samples, scaled as in ``fit``.

        Yields
        ------
        array of shape (2, B, Q)
            0 where nothing is observed. Of samples with more than ``max_entries`` entries,
            neighbours in time are predicted from each other.
        """
        nothing = {name: np.zeros_like(observed) for name, observed in panel.observed.items()}
        for entries, _, _ in self._chunks(panel, nothing):
            result = torch.zeros(2, *entries.time.shape, dtype=torch.float64)
            order = torch.where(entries.exists, entries.time, math.inf).argsort(dim=1, stable=True)
            n_entries = max(int(entries.exists.sum(1).max()), 1)
            with isolated(1):
                for index in order[:, :n_entries].split(self.max_entries, dim=1):
                    exists = entries.exists.gather(1, index)
                    one = leave_one_out(self.kernel, entries.take(index, exists))
                    moments = torch.stack([one.mean[:, 0], one.variance.sqrt()])
                    result.scatter_(2, index.expand(2, -1, -1), moments * exists)
            yield as_array(result)

    def draws(
        self, panel: Panel, gaps: Mapping[str, np.ndarray], n: int, seed: int
    ) -> Iterator[np.ndarray]:
        """Joint draws of all gaps of each sample, a few samples at a time.

        Parameters
        ----------
        panel : Panel
            n samples, scaled as in ``fit``.
        gaps : dict of str to bool array of shape (n, C, L)
            Entries to predict.
        n : int
            Number of draws S; more begin with those of fewer.
        seed : int
            Of the noise, which depends on it and on the content of the sample alone.

        Yields
        ------
        array of shape (S, B, Q)
            Anything where there is no gap.
        """
        for entries, gap, rows in self._chunks(panel, gaps):
            inputs = PanelDataset(panel[rows]).__getitems__(np.arange(len(rows)))[0]
            values, observed = (cast(Any, inputs.arguments[key]) for key in ("values", "observed"))
            keys, numbers = content_keys(values, observed, seed), torch.arange(n)
            normal = [
                keyed_normal(keys, x.shape[1:], draws=numbers, modality=m).flatten(2)
                for m, x in enumerate(values)
            ]
            late = [
                late_entries(o, None if m.irregular else m.n_timepoints)
                for o, m in zip(observed, self.schema, strict=True)
            ]
            noise = _Noise(torch.cat(normal, dim=2).double(), torch.cat(late, dim=1))
            yield self._each(entries, gap, noise)

    def _chunks(
        self, panel: Panel, gaps: Mapping[str, np.ndarray]
    ) -> Iterator[tuple[Entries, Tensor, np.ndarray]]:
        """Entries ``(B, Q)``, which of them are gaps, and rows, of a few samples at a time."""
        observed = EntryTable(panel, panel.observed, self.interval, self.schema)
        table = EntryTable(panel, gaps, self.interval, self.schema)
        size = max(_CELLS // min(table.n_entries, self.max_entries) ** 2, 1)
        for start in range(0, len(panel), size):
            rows = np.arange(start, min(start + size, len(panel)))
            yield observed.take(rows), table.take(rows).exists, rows

    def _each(self, entries: Entries, gap: Tensor, noise: _Noise | None) -> np.ndarray:
        """Predictions of a few samples: of all at once, but one by one of those too long for it."""
        long = (entries.exists | gap).sum(1) > self.max_entries
        parts = [torch.nonzero(~long)[:, 0], *torch.nonzero(long)]
        with isolated(1):
            done = [
                self._predict(
                    Entries(*(x[rows] for x in entries)),
                    gap[rows],
                    None if noise is None else _Noise(*(x[rows] for x in noise)),
                )
                for rows in parts
                if len(rows)
            ]
        order = torch.cat(parts).argsort()
        return as_array(torch.cat(done, dim=1)[:, order])

    def _predict(self, entries: Entries, gap: Tensor, noise: _Noise | None) -> Tensor:
        """Mean and standard deviation ``(2, B, Q)``; with noise of S draws, these."""
        n_draws = 1 if noise is None else noise.normal.shape[1]
        value = entries.value.expand(-1, n_draws, -1).clone()  # (B, S, Q)
        known, spread = entries.exists, torch.zeros_like(entries.time)
        for block in self._blocks(entries, gap):
            index, exists = pack_entries(block, None if noise is None else noise.late)
            wanted = entries.take(index, exists)
            near = self._nearest(entries, known, wanted)
            given = Entries(*entries[:3], value).take(*pack_entries(near))
            result = conditional(self.kernel, given, wanted, joint=noise is not None)
            if noise is None:
                new = result.mean
                spread = _write(spread[:, None], index, exists, result.variance[:, None])[:, 0]
            else:
                along = index[:, None].expand(-1, n_draws, -1)
                new = result.draw(noise.normal.gather(2, along))
                known = known | block
            value = _write(value, index, exists, new)
        if noise is None:
            return torch.stack([value[:, 0], spread.sqrt()])
        return value.transpose(0, 1)

    def _blocks(self, entries: Entries, gap: Tensor) -> list[Tensor]:
        """Masks of gaps that are predicted together: all, or neighbours in time of one sample."""
        n_entries, n_gaps = int((entries.exists | gap).sum(1).max()), int(gap.sum(1).max())
        if n_entries <= self.max_entries:
            return [gap]
        # A quarter of the entries that fit: the observed ones between them take part of the rest.
        size = max(self.max_entries * n_gaps // (4 * n_entries), 1)
        index = torch.nonzero(gap[0])[:, 0]
        index = index[entries.time[0, index].argsort(stable=True)]
        return [torch.zeros_like(gap).index_fill_(1, part, True) for part in index.split(size)]

    def _nearest(self, entries: Entries, known: Tensor, wanted: Entries) -> Tensor:
        """Known entries that a block is predicted from, ``(B, Q)``."""
        n_near = self.max_entries - wanted.n
        if int(known.sum(1).max()) <= n_near or known.shape[0] > 1:
            return known
        center = wanted.time[wanted.exists].mean()
        distance = torch.where(known, (entries.time - center).abs(), math.inf)
        index = distance.argsort(dim=1, stable=True)[:, :n_near]
        return torch.zeros_like(known).scatter_(1, index, True)


def _write(target: Tensor, index: Tensor, exists: Tensor, new: Tensor) -> Tensor:
    """Copy of ``target (B, S, Q)`` with new values ``(B, S, K)``, but those of padding."""
    along = index[:, None].expand(-1, target.shape[1], -1)
    old = target.gather(2, along)
    return target.scatter(2, along, torch.where(exists[:, None], new, old))
