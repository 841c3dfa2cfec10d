"""Table ``inspection``: what Shapley values of the sensors cost, in predictions of all samples."""

from __future__ import annotations

import statistics
from itertools import combinations
from typing import Any

from ..datasets import make_panel_classification
from ._cells import run_cells
from ._costs import processor_seconds
from ._methods import choose
from ._tables import Settings, Table, failures, markdown, median_and_range, page

__all__ = ["TABLE"]

Cell = dict[str, Any]
Row = dict[str, Any]

_N_MODALITIES = 5
_SENSOR = (3, 25.0)  # channels, Hz
_METHODS = ["PatternRidge", "Maestro, one epoch"]


def _work(cell: Cell) -> list[Row]:
    """Processor seconds of a prediction, of one a coalition, and of Shapley values, in turn."""
    import torch

    from ..estimators import MaestroClassifier, PatternRidgeClassifier
    from ..inspection import modality_importance

    torch.set_num_threads(1)
    sensors = {f"m{i}": _SENSOR for i in range(_N_MODALITIES)}
    X, y = make_panel_classification(
        cell["rows"], modalities=sensors, duration_seconds=5.0, random_state=cell["seed"]
    )
    names = X.schema.names
    coalitions = [c for k in range(1, len(names)) for c in combinations(names, k)]
    model: Any = PatternRidgeClassifier(n_threads=1, random_state=cell["seed"])
    if cell["method"] != _METHODS[0]:
        model = MaestroClassifier(
            max_epochs=1, n_estimators=1, device="cpu", random_state=cell["seed"]
        )
    model.fit(X, y)

    def one_by_one() -> None:
        model.predict_proba(X)
        for hidden in coalitions:
            model.predict_proba(X.drop(hidden))

    def shapley() -> None:
        modality_importance(model, X, y, method="shapley", n_jobs=1)

    one_by_one()  # solves the models of PatternRidge
    return [
        {
            "repeat": repeat,
            "prediction": processor_seconds(lambda: model.predict_proba(X)),
            "one_by_one": processor_seconds(one_by_one),
            "shapley": processor_seconds(shapley),
        }
        for repeat in range(cell["repeats"])
    ]


def _run(settings: Settings) -> str:
    size = {"rows": 40, "repeats": 1} if settings.quick else {"rows": 300, "repeats": 3}
    methods = list(choose({name: name for name in _METHODS}, settings.methods, _METHODS))
    cells = [{"method": m, "seed": seed, **size} for m in methods for seed in settings.seeds]
    rows = run_cells(cells, _work, table="inspection", out=settings.out, isolate=settings.isolate)
    done = [row for row in rows if "error" not in row]
    lines = []
    for method in methods:
        chosen = [row for row in done if row["method"] == method]
        if chosen:
            ratios = [
                [row[key] / row["prediction"] for row in chosen]
                for key in ("one_by_one", "shapley")
            ]
            seconds = statistics.median(row["prediction"] for row in chosen)
            lines.append(
                [method, f"{seconds:.2f}", *(median_and_range(ratio, 1) for ratio in ratios)]
            )
    n_sets = 2**_N_MODALITIES - 1
    header = ["", "one prediction, s", f"{n_sets} sets, one by one", "Shapley values"]
    return page(
        [
            f"Shapley values of {_N_MODALITIES} modalities of {size['rows']} samples by "
            "modality_importance, beside one prediction for each set of modalities: processor "
            f"time on one thread in units of a prediction, median (least-most) of "
            f"{size['repeats']} repeats in turn.",
            *(["SHORTENED: says that it runs, not how fast."] if settings.quick else []),
            *failures(rows),
            *([markdown(header, lines)] if lines else []),
        ]
    )


TABLE = Table(
    summary="what Shapley values of the sensors cost, in predictions of all samples",
    run=_run,
    seeds=(0,),
)
