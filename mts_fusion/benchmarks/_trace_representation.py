"""Table ``trace-representation``: imputed series as a fusion network sees them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets import make_trace_benchmark
from ..metrics import mae_at_missing
from ..panel import Panel
from ..transforms import PanelImputer
from ._cells import run_cells
from ._imputation import add_budget, budget_notice
from ._tables import Settings, Table, failures, markdown, mean_and_spread, page, summarise

__all__ = ["TABLE", "cosine_to_oracle"]

_FRACTIONS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
_TRAIN_FRACTION = 0.3
_ROWS = ("nearest", "linear", "TRACE")
_QUICK = {"n_train": 100, "n_test": 20, "epochs": 1}


def cosine_to_oracle(regressor: Any, complete: Panel, imputed: Panel) -> NDArray[np.float64]:
    """Cosine similarity of each sample's representation to that of the complete sample (eq. 22).

    Parameters
    ----------
    regressor : TraceRegressor
        Fitted to complete samples; its representation after the attention over time is compared.
    complete, imputed : Panel
        n samples, without gaps.

    Returns
    -------
    ndarray of shape (n,)
        In [-1, 1].
    """
    first, second = (
        regressor.explain(panel)["representation"].reshape(len(panel), -1).astype(np.float64)
        for panel in (complete, imputed)
    )
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(axis=1) / norms)


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_budget(parser)


def _run(settings: Settings) -> str:
    options = {key: settings.options.get(key) for key in ("n_train", "n_test", "epochs")}
    if settings.quick:
        options = {key: options[key] or _QUICK[key] for key in options}
    fractions = _FRACTIONS[3:4] if settings.quick else _FRACTIONS
    sizes = options["n_train"] or 20_000, options["n_test"] or 2_000
    cells = [{"fold": "given", "seed": seed, **options} for seed in settings.seeds]

    def work(cell: dict[str, Any]) -> list[dict[str, Any]]:
        return _compare(sizes, fractions, cell["seed"], options["epochs"], settings.out)

    rows = run_cells(
        cells, work, table="trace-representation", out=settings.out, isolate=settings.isolate
    )
    parts = [
        f"Synthetic benchmark of TRACE, {sizes[0]} / {sizes[1]} samples to train / test, seeds "
        f"{list(settings.seeds)}. A fusion network is fitted once, to complete series, to forecast "
        "the next timepoint; imputed test series are then compared with complete ones: cosine "
        "similarity of their representations, error where hidden, share of samples nearer to the "
        "complete one than nearest filling, and error of the forecast.",
        *budget_notice(settings.options, quick=settings.quick),
        *failures(rows),
    ]
    for column in ("cosine", "mae", "nearer_than_nearest", "forecast_mae"):
        entries = summarise(rows, ["method", "fraction"], column)
        lines = [
            [name, *(mean_and_spread(entries.get((name, f)), digits=4) for f in fractions)]
            for name in _ROWS
        ]
        parts.append(markdown([column, *(f"{f:g} hidden" for f in fractions)], lines))
    return page(parts)


def _compare(
    sizes: tuple[int, int],
    fractions: tuple[float, ...],
    seed: int,
    epochs: int | None,
    out: Path | None,
) -> list[dict[str, Any]]:
    """Rows of all imputers and shares, and the figure."""
    from ..estimators import ConditionalDiffusionImputer, TraceRegressor

    few: dict[str, Any] = {} if epochs is None else {"max_epochs": epochs}
    parts = {
        f: make_trace_benchmark(sizes[0], 1, sizes[1], missing_fraction=f, random_state=seed)
        for f in (*fractions, _TRAIN_FRACTION)
    }
    train = parts[_TRAIN_FRACTION].train
    oracle = TraceRegressor(
        imputer=None, statistics=False, modality_dropout=0.0, random_state=seed, **few
    ).fit(train.complete, train.target)
    imputers: dict[str, Any] = {
        "nearest": PanelImputer(),
        "linear": PanelImputer(strategy="linear"),
        "TRACE": ConditionalDiffusionImputer(patch_length=2, random_state=seed, **few),
    }
    fill: dict[str, Callable[[Panel], Panel]] = {
        name: imputer.fit(train.data).transform for name, imputer in imputers.items()
    }
    rows, clouds = [], {}
    for fraction in fractions:
        test = parts[fraction].test
        by_name = {}
        for name, transform in fill.items():
            filled = transform(test.data)
            filled = filled.replace(values=filled.values)  # what was imputed counts as observed
            cosine = cosine_to_oracle(oracle, test.complete, filled)
            by_name[name] = cosine
            error = mae_at_missing(
                test.complete.values["series"],
                filled.values["series"],
                test.masked,
                average=None,
            )
            forecast = np.abs(oracle.predict(filled) - test.target).mean()
            rows.append(
                {
                    "method": name,
                    "fraction": fraction,
                    "cosine": float(cosine.mean()),
                    "mae": float(np.nanmean(error)),
                    "nearer_than_nearest": float((cosine > by_name["nearest"]).mean()),
                    "forecast_mae": float(forecast),
                }
            )
        clouds[fraction] = by_name["nearest"], by_name["TRACE"]
    if out is not None:
        _draw(clouds, out / f"trace-representation-{seed}.png")
    return rows


def _draw(clouds: dict[float, tuple[NDArray[np.float64], NDArray[np.float64]]], path: Path) -> None:
    """Figure 7: each sample once, nearest filling against TRACE, a panel a share."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(clouds), 3.2), layout="constrained")
    for axis, (fraction, (nearest, trace)) in zip(
        figure.subplots(1, len(clouds), squeeze=False)[0], clouds.items(), strict=True
    ):
        axis.scatter(1 - nearest, 1 - trace, s=4, alpha=0.4)
        largest = max(1 - nearest.min(), 1 - trace.min())
        axis.plot([0, largest], [0, largest], color="black", linewidth=0.8)
        axis.set(title=f"{fraction:.0%} hidden", xlabel="nearest filling", ylabel="TRACE")
    figure.suptitle("Cosine distance to the representation of the complete sample")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


TABLE = Table(
    summary="cosine similarity of imputed to complete series inside the fusion, with a figure",
    run=_run,
    arguments=_arguments,
    seeds=(0,),
)
