"""GaussianExamples: what a network learns from that corrects the draws of a Gaussian process.

Sizes: n samples, B of them at a time, R copies, S draws, M modalities, C channels, L timepoints,
Q entries of a sample (the sum of L * C, time before channels).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from mts_fusion.nn.diffusion import HideObserved
from mts_fusion.panel import Panel

from ._gaussian_process import GaussianProcessModel
from ._pattern_rows import as_array, as_tensor

__all__ = ["GaussianExamples", "gaussian_planes"]

# Copies of a sample at most, and entries of all copies of all samples.
_MAX_COPIES, _MAX_ENTRIES = 8, 2**24
# Draws of each copy; sums of them with random weights are the noise of the training.
_N_DRAWS = 4
_SEED = 2**31  # seeds of draws and of masks differ


class GaussianExamples:
    """Copies of samples, in each of which other entries are hidden, as a process sees them.

    Parameters
    ----------
    model : GaussianProcessModel
        The fitted process.
    hide : HideObserved
        Chooses what is hidden. Its generator is set.
    seed : int
        Of what is hidden and of the draws.
    """

    def __init__(self, model: GaussianProcessModel, hide: HideObserved, seed: int) -> None:
        self.model = model
        self.hide = hide
        self.seed = seed

    def fit_transform(self, panel: Panel, rows: np.ndarray) -> list[np.ndarray]:
        """Copies of all samples; nothing is fitted.

        Parameters
        ----------
        panel : Panel
            n samples, scaled as for the process.
        rows : int array of shape (k,)
            Not used.

        Returns
        -------
        list of M arrays of shape (n, R, 9, L, C)
            Planes as :class:`GaussianTransport` reads them, with four draws.
        """
        n_entries = sum(values[0].size for values in panel.values.values())
        n_copies = max(min(_MAX_COPIES, _MAX_ENTRIES // (len(panel) * n_entries)), 1)
        return self._copies(panel, n_copies)

    def transform(self, panel: Panel) -> list[np.ndarray]:
        """One copy of each sample.

        Parameters
        ----------
        panel : Panel
            n samples, scaled as for the process.

        Returns
        -------
        list of M arrays of shape (n, 1, 9, L, C)
            As for ``fit_transform``.
        """
        return self._copies(panel, 1)

    def _copies(self, panel: Panel, n_copies: int) -> list[np.ndarray]:
        self.hide.generator = torch.Generator().manual_seed(self.seed)
        copies = []
        for _ in range(n_copies):
            masks = self.hide([as_tensor(o).transpose(1, 2) for o in panel.observed.values()])
            hidden = dict(zip(panel.schema.names, (as_array(h) for h in masks), strict=True))
            copies.append(self._copy(panel, {k: h.swapaxes(1, 2) for k, h in hidden.items()}))
        self.hide.generator = None
        return [np.stack(parts, axis=1) for parts in zip(*copies, strict=True)]

    def _copy(self, panel: Panel, hidden: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Planes ``(n, 9, L, C)`` of each modality."""
        values = {
            name: np.where(hidden[name], np.float32(np.nan), x) for name, x in panel.values.items()
        }
        shown = panel.replace(
            values=values, observed={k: o & ~hidden[k] for k, o in panel.observed.items()}
        )
        parts = gaussian_planes(self.model, panel, shown, hidden, _N_DRAWS, self.seed + _SEED)
        return [np.concatenate(part) for part in zip(*parts, strict=True)]


def gaussian_planes(
    model: GaussianProcessModel,
    panel: Panel,
    shown: Panel,
    hidden: Mapping[str, np.ndarray],
    n: int,
    seed: int,
) -> Iterator[list[np.ndarray]]:
    """What :class:`GaussianTransport` reads of samples, a few at a time.

    Parameters
    ----------
    model : GaussianProcessModel
        The fitted process.
    panel : Panel
        n samples, scaled as for the process.
    shown : Panel
        The same samples without what is hidden.
    hidden : dict of str to bool array of shape (n, C, L)
        Entries to draw.
    n : int
        Draws S.
    seed : int
        Of the draws, which are those of ``model.draws``.

    Yields
    ------
    list of M arrays of shape (B, 5 + S, L, C)
        Errors (where the truth is known), shown, hidden, mean, logarithm of the width, and draws in
        units of the width. Draws of entries that are neither shown nor hidden are independent.
    """
    names = panel.schema.names
    missing = {name: ~observed for name, observed in shown.observed.items()}
    for name, times in shown.times.items():
        if times is not None:
            missing[name] &= ~np.isnan(times)[:, None]
    sizes = np.cumsum([panel.values[name][0].size for name in names])[:-1]
    channel = np.concatenate(_flat({k: _channels(panel, k) for k in names}), axis=1)[0]
    rng = np.random.default_rng(seed)
    start = 0
    for moments, left_out, drawn in zip(
        model.moments(shown, missing),
        model.left_out(shown),
        model.draws(shown, hidden, n, seed),
        strict=True,
    ):
        rows = slice(start, start + moments.shape[1])
        start = rows.stop
        values, given, wanted, empty = (
            np.concatenate(_flat({k: part[k][rows] for k in names}), axis=1)
            for part in (panel.values, shown.observed, hidden, missing)
        )
        mean, width = np.where(given, left_out, moments)
        width = np.where(given | empty, width, 1.0)  # what has no time does not exist
        known = ~np.isnan(values)
        error, at = np.zeros(mean.shape), np.broadcast_to(channel, mean.shape)[known]
        of_known = ((values - mean) / width)[known]
        error[known] = model.shapes.scores(of_known, at, width[known])
        noise = np.where(empty, rng.normal(size=drawn.shape), 0.0)
        normal = np.where(wanted, (drawn - mean) / width, noise)
        planes = [error, given, wanted, mean, np.log(width), *normal]
        stacked = np.stack(planes, axis=1).astype(np.float32)  # (B, 5 + S, Q)
        yield [
            part.reshape(*part.shape[:2], panel.values[k].shape[2], panel.values[k].shape[1])
            for k, part in zip(names, np.split(stacked, sizes, axis=2), strict=True)
        ]


def _channels(panel: Panel, name: str) -> np.ndarray:
    """Number of the channel of each entry, counted over all modalities, ``(1, C, L)``."""
    modalities = list(panel.schema)
    before = sum(m.n_channels for m in modalities[: panel.schema.names.index(name)])
    one = panel.values[name][:1]
    return np.broadcast_to(before + np.arange(one.shape[1])[:, None], one.shape)


def _flat(parts: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Entries ``(B, L * C)`` of each modality, from ``(B, C, L)``."""
    return [part.swapaxes(1, 2).reshape(len(part), -1) for part in parts.values()]
