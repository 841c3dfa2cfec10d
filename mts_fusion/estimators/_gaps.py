"""Gaps of a panel: which entries they are, checks, and draws that fill them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from mts_fusion.nn import DiffusionSampler
from mts_fusion.panel import Panel
from mts_fusion.runs import advance
from mts_fusion.training import PanelDataset, PanelNet
from mts_fusion.transforms import PanelScaler

__all__ = [
    "Restore",
    "check_can_be_imputed",
    "draw_entries",
    "fill_gaps",
    "find_gaps",
    "make_samplers",
    "rows_at_once",
    "rows_with_gaps",
    "shortest_interval",
    "unscale",
]

# Name of a modality, channels (k,) and numbers (..., k) of its entries -> values in their unit.
Restore = Callable[[str, np.ndarray, np.ndarray], np.ndarray]


# Rows that are drawn at a time at least, however many draws each has.
_MIN_ROWS = 16


def check_can_be_imputed(panel: Panel) -> None:
    """Raise unless all modalities hold numbers, each channel of which is observed somewhere.

    Parameters
    ----------
    panel : Panel
        Training samples.

    Raises
    ------
    ValueError
        If a modality holds tokens or negative times, or a channel is never observed.
    """
    for modality in panel.schema:
        name, times = modality.name, panel.times[modality.name]
        if modality.vocabulary is not None:
            raise ValueError(
                f"Modality {name!r} holds tokens, but an imputer fills numbers. Impute before "
                "the tokenizer, or leave it out with X.drop(...)."
            )
        if times is not None and np.nanmin(times, initial=0.0) < 0:
            raise ValueError(
                f"Modality {name!r} has negative times (lowest {np.nanmin(times):g} s). Count "
                "them from the start of each sample: X.replace(times={...})."
            )
        unobserved = np.flatnonzero(~panel.observed[name].any((0, 2)))
        if len(unobserved):
            labels = modality.channels or range(modality.n_channels)
            channels = [labels[i] for i in unobserved]
            raise ValueError(
                f"Channel {channels[0]!r} of modality {name!r} is never observed in the "
                f"{len(panel)} training samples, so nothing is known of its values. Leave out "
                f"channels {channels}, or fit on samples that have them."
            )


def shortest_interval(panel: Panel) -> float:
    """Shortest sampling interval of the modalities.

    Parameters
    ----------
    panel : Panel
        n samples.

    Returns
    -------
    float
        In seconds: of irregular times the median; 1 where no modality has a rate or times.
    """
    intervals = []
    for modality in panel.schema:
        times = panel.times[modality.name]
        if modality.rate is not None:
            intervals.append(1 / modality.rate)
        elif times is not None:
            steps = np.diff(times, axis=1)
            steps = steps[steps > 0]
            if len(steps):
                intervals.append(float(np.median(steps)))
    return min(intervals, default=1.0)


def find_gaps(panel: Panel, *, fill_absent: bool) -> dict[str, np.ndarray]:
    """Entries to fill: not observed, and with a time where a modality has times.

    Parameters
    ----------
    panel : Panel
        n samples.
    fill_absent : bool
        Whether to fill modalities of a sample of which nothing was observed.

    Returns
    -------
    dict of str to bool array of shape (n, C, L)
        By modality.
    """
    gaps = {}
    for name, observed in panel.observed.items():
        times = panel.times[name]
        gaps[name] = ~observed if times is None else ~observed & ~np.isnan(times)[:, None]
        if not fill_absent:
            gaps[name] &= observed.any((1, 2), keepdims=True)
    return gaps


def rows_with_gaps(gaps: Mapping[str, np.ndarray]) -> np.ndarray:
    """Samples in which something is to be filled.

    Parameters
    ----------
    gaps : dict of str to bool array of shape (n, C, L)
        From :func:`find_gaps`.

    Returns
    -------
    int array of shape (r,)
        In increasing order.
    """
    return np.flatnonzero(np.any([gap.any((1, 2)) for gap in gaps.values()], axis=0))


def unscale(scaler: PanelScaler) -> Restore:
    """Undo a scaler on single entries.

    Parameters
    ----------
    scaler : PanelScaler
        Fitted.

    Returns
    -------
    callable
        For :func:`fill_gaps`.
    """
    return lambda name, channel, values: (
        values * scaler.scale_[name][channel] + scaler.center_[name][channel]
    )


def draw_entries(
    nets: Sequence[PanelNet],
    panel: Panel,
    n_samples: int,
    *,
    n_steps: int,
    sampler: str,
    seed: int,
) -> Iterator[np.ndarray]:
    """Draws of all entries of a panel, a few rows at a time.

    Parameters
    ----------
    nets : sequence of PanelNet
        Trained diffusion networks. Each makes an equal part of the draws, the first ones one more
        where these cannot be divided evenly.
    panel : Panel
        n samples, scaled.
    n_samples : int
        Draws S.
    n_steps, sampler
        As in :class:`ConditionalDiffusionImputer`.
    seed : int
        Of the noise.

    Yields
    ------
    array of shape (S, rows, Q)
        Rows follow each other; Q counts the entries of all modalities, ``(L, C)`` after ``(L, C)``.
    """
    n_rows = rows_at_once(nets, n_samples)
    samplers = make_samplers(nets, n_samples, n_steps=n_steps, sampler=sampler, seed=seed)
    dataset = PanelDataset(panel, schema=nets[0].module_.schema)
    for start in range(0, len(panel), n_rows):
        rows = dataset.take(np.arange(start, min(start + n_rows, len(panel))))
        draws = [
            net.predict_raw([rows]).reshape(len(rows), net.module.n_samples, -1) for net in samplers
        ]
        yield np.moveaxis(np.concatenate(draws, axis=1), 1, 0)


def rows_at_once(nets: Sequence[PanelNet], n_samples: int) -> int:
    """Number of samples whose gaps are drawn at a time.

    Parameters
    ----------
    nets : sequence of PanelNet
        Trained networks.
    n_samples : int
        Draws S.

    Returns
    -------
    int
        As many as their batch size allows, but at least 16.
    """
    return max(_MIN_ROWS, nets[0].batch_size // n_samples)


def make_samplers(
    nets: Sequence[PanelNet], n_samples: int, *, n_steps: int, sampler: str, seed: int
) -> list[PanelNet]:
    """Networks whose predictions are draws.

    Parameters
    ----------
    nets, n_samples, n_steps, sampler, seed
        As for :func:`draw_entries`.

    Returns
    -------
    list of PanelNet
        One a network that has draws to make, ``module.n_samples`` of them.
    """
    batch_size = nets[0].batch_size
    parts = [n_samples // len(nets) + (i < n_samples % len(nets)) for i in range(len(nets))]
    return [
        PanelNet(
            DiffusionSampler(
                net.module_,
                n_samples=part,
                n_steps=n_steps,
                sampler=sampler,
                seed=seed + i,
                batch_size=batch_size,
            ).eval(),
            precision=net.precision,
            batch_size=rows_at_once(nets, n_samples),
            device=net.device,
            callbacks=None,
            verbose=0,
        ).initialize()
        for i, (net, part) in enumerate(zip(nets, parts, strict=True))
        if part
    ]


def fill_gaps(
    panel: Panel,
    rows: np.ndarray,
    draws: Iterator[np.ndarray],
    reduce: Callable[[np.ndarray], np.ndarray],
    *,
    gaps: Mapping[str, np.ndarray],
    restore: Restore,
) -> list[Panel]:
    """Copies of a panel whose gaps are filled with draws.

    Parameters
    ----------
    panel : Panel
        n samples, not scaled.
    rows : int array of shape (r,)
        Samples with gaps, at least one.
    draws : iterator of array of shape (S, some of the rows, Q)
        From :func:`draw_entries`.
    reduce : callable
        Makes K values of the draws ``(S, entries)``: ``(K, entries)``.
    gaps : dict of str to bool array of shape (n, C, L)
        From :func:`find_gaps`.
    restore : callable
        Values of what ``reduce`` gives, in the unit of each channel, as from :func:`unscale`.

    Returns
    -------
    list of K Panel
        ``observed`` as in ``panel``.
    """
    filled: dict[str, np.ndarray] = {}  # (K, n, C, L)
    start = 0
    for part in draws:
        index, first = rows[start : start + part.shape[1]], 0
        advance("gaps", len(index))
        start += part.shape[1]
        for modality in panel.schema:
            name, shape = modality.name, (modality.n_timepoints, modality.n_channels)
            entries = part[:, :, first : first + shape[0] * shape[1]]
            first += shape[0] * shape[1]
            sample, channel, timepoint = np.nonzero(gaps[name][index])
            entries = entries.reshape(*part.shape[:2], *shape)[:, sample, timepoint, channel]
            values = reduce(entries).astype(np.float64)  # (K, entries)
            values = restore(name, channel, values)
            if name not in filled:
                filled[name] = np.stack([panel.values[name]] * len(values))
            filled[name][:, index[sample], channel, timepoint] = values
    n_copies = len(filled[panel.schema.names[0]])
    return [
        panel.replace(
            values={name: values[k] for name, values in filled.items()}, observed=panel.observed
        )
        for k in range(n_copies)
    ]
