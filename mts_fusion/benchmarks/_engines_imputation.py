"""Table ``engines-imputation``: sensors of engines that fail for a while, each by itself."""

from __future__ import annotations

import argparse

import numpy as np

from ..datasets import fetch_cmapss
from ..panel import Panel
from ._folds import hold_every_nth_group_out
from ._imputation import Hidden, add_budget
from ._imputation_runs import ImputationRun, run_imputation
from ._tables import Settings, Table

__all__ = ["TABLE", "hide_outages"]

_ROWS = ["mean", "nearest", "linear", "Gaussian process"]
# Share of the entries that is missing, and mean length of an outage in cycles.
_MISSING, _MEAN_LENGTH = 0.2, 6.0


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_budget(parser)
    parser.add_argument("--folds", type=int, help="folds of five to compute; default: all")


def _run(settings: Settings) -> str:
    bunch = fetch_cmapss(data_home=settings.data_home, step=30)
    complete = np.concatenate(list(bunch.data.values.values()), axis=1)
    varies = np.ptp(complete, axis=(0, 2)) > 1e-6 * np.abs(complete).max(axis=(0, 2))
    panel = Panel({"engine": complete[:, varies]}, rates={"engine": 1.0})
    folds = [(f.train, f.test) for f in hold_every_nth_group_out(bunch.groups, 5)]
    incomplete = hide_outages(panel, _MISSING, seed=99).data

    def hide(test: Panel, fraction: float, *, seed: int) -> Hidden:
        return hide_outages(test, fraction, seed=seed)

    run = ImputationRun(
        "engines-imputation",
        f"C-MAPSS FD001, {int(varies.sum())} sensors and settings that vary, windows of 30 cycles "
        f"that do not overlap, a fifth of the engines held out, {_MISSING:g} of all entries "
        "missing before a share is hidden: outages of each sensor, of 6 cycles in the mean",
        incomplete,
        folds,
        (0.1, 0.3, 0.6),
        hide,
        _ROWS,
    )
    return run_imputation(run, settings)


def hide_outages(panel: Panel, fraction: float, *, seed: int) -> Hidden:
    """Hide stretches of each channel, as where sensors fail for a while and come back.

    Parameters
    ----------
    panel : Panel
        Samples of one modality.
    fraction : float
        The share hidden in the mean, in (0, 1).
    seed : int
        Of the draw.

    Returns
    -------
    Hidden
        The samples with gaps, and the truth. What was missing before is not scored.
    """
    (name,) = panel.schema.names
    values, observed = panel.values[name], panel.observed[name]
    rng = np.random.default_rng(seed)
    fails, recovers = fraction / (1 - fraction) / _MEAN_LENGTH, 1 / _MEAN_LENGTH
    out = np.empty(values.shape, dtype=bool)
    out[:, :, 0] = rng.random(values.shape[:2]) < fraction
    for t in range(1, values.shape[2]):
        u = rng.random(values.shape[:2])
        out[:, :, t] = np.where(out[:, :, t - 1], u >= recovers, u < fails)
    masked = out & observed
    data = panel.replace(values={name: np.where(masked, np.float32(np.nan), values)})
    return Hidden(data, values, masked)


TABLE = Table(
    summary="MAE and CRPS on C-MAPSS, sensors fail for a while, 10, 30 and 60 %% hidden",
    run=_run,
    seeds=(0,),
    arguments=_arguments,
)
