"""Table ``physionet2012-imputation``: CSDI's protocol, 35 variables by the hour."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from sklearn.model_selection import KFold

from ..datasets import fetch_physionet2012
from ..panel import Panel
from ._imputation import Hidden, add_budget
from ._imputation_runs import ImputationRun, run_imputation
from ._tables import Settings, Table

__all__ = ["TABLE", "hide", "load_stays"]

_ROWS = ["mean", "linear", "Gaussian process", "Diffusion by steps"]
_PUBLISHED = (
    "Published for CSDI, 50 steps, five folds: MAE .217, .301, .481; CRPS .238, .330, .522. There "
    "a network is trained for each share hidden in the test part; here one serves all."
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_budget(parser)
    parser.add_argument("--folds", type=int, help="folds of five to compute; default: all")


def _run(settings: Settings) -> str:
    panel, folds = load_stays(settings.data_home)
    heading = (
        "PhysioNet 2012, 35 variables, 48 hours: a share of what is observed in the test part is "
        "hidden; CRPS as CSDI's"
    )
    run = ImputationRun(
        "physionet2012-imputation",
        heading,
        panel,
        folds,
        (0.1, 0.5, 0.9),
        hide,
        _ROWS,
        [_PUBLISHED],
    )
    return run_imputation(run, settings)


def load_stays(data_home: str | None) -> tuple[Panel, list[tuple[Any, Any]]]:
    """The stays as CSDI takes them, and five folds.

    Parameters
    ----------
    data_home : path or None
        Folder of the publisher's files.

    Returns
    -------
    panel : Panel
        One modality, ``"stay"``, of 35 variables by the hour.
    folds : list of tuple
        Rows to train on and rows to test on.
    """
    panel = fetch_physionet2012(
        data_home=data_home, grouping="single", variables="csdi", hourly=True, static=False
    ).data
    # CSDI leaves out stays in which nothing was measured.
    panel = panel[panel.available.any(axis=1)]
    return panel, list(KFold(5, shuffle=True, random_state=0).split(np.zeros(len(panel))))


def hide(panel: Panel, fraction: float, *, seed: int) -> Hidden:
    """Hide exactly this share of the observed entries of each stay, drawn at random.

    Parameters
    ----------
    panel : Panel
        Of :func:`load_stays`.
    fraction : float
        The share, in (0, 1).
    seed : int
        Of the draw.

    Returns
    -------
    Hidden
        The stays with gaps, and the truth.
    """
    values, observed = panel.values["stay"], panel.observed["stay"]
    draws = np.random.default_rng(seed).random(values.shape)
    draws[~observed] = np.inf
    flat = draws.reshape(len(draws), -1)
    n_hidden = np.round(fraction * observed.sum(axis=(1, 2))).astype(int)
    rank = flat.argsort(axis=1).argsort(axis=1)
    masked = (rank < n_hidden[:, None]).reshape(values.shape)
    data = panel.replace(values={"stay": np.where(masked, np.float32(np.nan), values)})
    return Hidden(data, values, masked)


TABLE = Table(
    summary="MAE and CRPS on PhysioNet 2012 by CSDI's protocol, 10, 50 and 90 %% hidden",
    run=_run,
    seeds=(0,),
    arguments=_arguments,
)
