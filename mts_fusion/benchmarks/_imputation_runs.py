"""Tables of imputers on the folds of a real data set, of which more is hidden in the test part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..panel import Panel
from ..transforms import PanelScaler
from ._cells import run_cells
from ._imputation import IMPUTERS, Hidden, Imputer, budget_notice, budget_of, evaluate_imputer
from ._methods import choose
from ._tables import Settings, failures, page
from ._trace_synthetic import imputation_tables

__all__ = ["ImputationRun", "run_imputation"]

_QUICK = {"n_train": 100, "n_test": 10, "epochs": 1}


@dataclass(frozen=True)
class ImputationRun:
    """What is filled, and by whom.

    Parameters
    ----------
    table : str
        Name of the table.
    heading : str
        What the data are.
    panel : Panel
        n samples of one modality.
    folds : list of tuple
        Rows to train on and rows to test on.
    fractions : tuple of float
        Shares hidden in the test part.
    hide : callable
        ``hide(test, fraction, seed=...)`` gives a :class:`Hidden`.
    rows : list of str
        Imputers where none are named.
    notes : list of str
        Paragraphs below the tables.
    """

    table: str
    heading: str
    panel: Panel
    folds: Sequence[tuple[Any, Any]]
    fractions: tuple[float, ...]
    hide: Callable[..., Hidden]
    rows: list[str]
    notes: Sequence[str] = ()


def run_imputation(run: ImputationRun, settings: Settings) -> str:
    """Fit every imputer on every fold, and write the tables.

    Parameters
    ----------
    run : ImputationRun
        What is filled.
    settings : Settings
        What the command line says, with the options of :func:`add_budget` and ``folds``.

    Returns
    -------
    str
        Markdown.
    """
    options = {key: settings.options.get(key) for key in ("n_train", "n_test", "epochs")}
    if settings.quick:
        options = {key: options[key] or _QUICK[key] for key in options}
    fractions = run.fractions[1:2] if settings.quick else run.fractions
    imputers: dict[str, Imputer] = choose(IMPUTERS, settings.methods, run.rows)

    def work(cell: dict[str, Any]) -> list[dict[str, Any]]:
        rows, test_rows = run.folds[cell["fold"]]
        train = run.panel[rows[: options["n_train"]]]
        test = run.panel[test_rows[: options["n_test"]]]
        # Errors are in standard deviations of each variable, as CSDI reports them.
        scaler = PanelScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
        hidden = {f: run.hide(test, f, seed=cell["seed"]) for f in fractions}
        return evaluate_imputer(
            imputers[cell["method"]], train, hidden, run.panel.schema.names[0], **budget_of(cell)
        )

    n_folds = 1 if settings.quick else settings.options.get("folds") or len(run.folds)
    cells = [
        {
            "method": name,
            "fold": fold,
            "seed": seed,
            **options,
            "precision": settings.options.get("precision"),
            "quick": settings.quick,
        }
        for fold in range(n_folds)
        for seed in settings.seeds
        for name in imputers
    ]
    rows = run_cells(cells, work, table=run.table, out=settings.out, isolate=settings.isolate)
    scores = ("mae_entries", "crps", "coverage", "energy")
    return page(
        [
            f"{run.heading}, {len(run.panel)} samples, {len(run.folds)} folds, seeds "
            f"{list(settings.seeds)}; mean (sd over folds, sd over seeds) in standard deviations.",
            *budget_notice(settings.options, quick=settings.quick),
            *failures(rows),
            *imputation_tables(rows, scores, fractions),
            *run.notes,
        ]
    )
