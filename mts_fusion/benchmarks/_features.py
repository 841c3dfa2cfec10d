"""Table ``features``: milliseconds for the fixed features of a window, alone and in a batch."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from ..panel import Panel
from ._cells import run_cells
from ._tables import Settings, Table, failures, markdown, median_and_range, page

__all__ = ["TABLE"]

Cell = dict[str, Any]
Row = dict[str, Any]

_N_MODALITIES, _N_CHANNELS, _N_TIMEPOINTS = 5, 9, 125  # a window of DSADS: five seconds at 25 Hz
_N_ROWS = 1000
_N_TRAINING = 100
_N_ALONE = 20  # windows whose features alone are held against those in the batch
_KINDS = ("multirocket", "hydra", "statistics")
_REQUIRED_MS = 3.0


def _panel(n: int, gaps: bool) -> Panel:
    """Random walks of five sensors; with gaps, a twentieth of the values is missing."""
    rng = np.random.default_rng(0)
    values = {}
    for m in range(_N_MODALITIES):
        walk = rng.normal(size=(n, _N_CHANNELS, _N_TIMEPOINTS)).cumsum(2)
        values[f"m{m}"] = np.where(rng.random(walk.shape) < 0.05 * gaps, np.nan, walk / 5)
    return Panel(values, rates=dict.fromkeys(values, 25.0))


def _work(cell: Cell) -> list[Row]:
    """Processor milliseconds a window, alone and in the batch, in turn, in one process."""
    import torch

    from ..training import FixedFeatures

    torch.set_num_threads(1)
    panel = _panel(cell["rows"], cell["gaps"])
    features = FixedFeatures(panel.schema, cell["kinds"]).fit(panel[:_N_TRAINING])
    together = features.transform(panel)
    difference = 0.0
    for i in range(min(_N_ALONE, len(panel))):
        alone = features.transform(panel[i : i + 1])
        both = zip(alone, together, strict=True)
        difference = max(difference, *(float(np.nanmax(np.abs(a[0] - b[i]))) for a, b in both))
    one = panel[:1]
    rows: list[Row] = []
    for repeat in range(cell["repeats"]):
        alone_ms = min(_milliseconds(features, one) for _ in range(10))
        batch_ms = _milliseconds(features, panel) / len(panel)
        rows.append({"repeat": repeat, "alone_ms": alone_ms, "batch_ms": batch_ms})
    return [{**row, "difference": difference} for row in rows]


def _milliseconds(features: Any, panel: Panel) -> float:
    before = time.process_time()
    features.transform(panel)
    return 1e3 * (time.process_time() - before)


def _cells(quick: bool) -> list[Cell]:
    size = {"rows": 64 if quick else _N_ROWS, "repeats": 2 if quick else 7}
    kinds = [list(_KINDS), *([kind] for kind in _KINDS)]
    return [{"kinds": some, "gaps": gaps, **size} for gaps in (False, True) for some in kinds]


def _run(settings: Settings) -> str:
    cells = _cells(settings.quick)
    rows = run_cells(cells, _work, table="features", out=settings.out, isolate=settings.isolate)
    done = [row for row in rows if "error" not in row]
    n_rows = cells[0]["rows"]
    parts = [
        f"Fixed features of a window of {_N_MODALITIES} modalities, {_N_CHANNELS} channels and "
        f"{_N_TIMEPOINTS} timepoints each, 32 groups of convolutions; one thread, milliseconds of "
        f"processor time a window, median (least-most) of {cells[0]['repeats']} repeats in turn.",
        *failures(rows),
    ]
    if settings.quick:
        parts.append("SHORTENED: few rows and repeats; says that it runs, not how fast.")
    lines = []
    for cell in cells:
        chosen = [r for r in done if (r["kinds"], r["gaps"]) == (cell["kinds"], cell["gaps"])]
        if chosen:
            lines.append(
                [
                    ", ".join(cell["kinds"]),
                    "5 % missing" if cell["gaps"] else "complete",
                    median_and_range([row["alone_ms"] for row in chosen], 2),
                    median_and_range([row["batch_ms"] for row in chosen], 2),
                    f"{chosen[0]['difference']:.0e}",
                ]
            )
    header = ["kinds", "values", "batch 1, ms", f"batch {n_rows:,}, ms", "largest difference"]
    parts.append(markdown(header, lines))
    whole = [r["alone_ms"] for r in done if r["kinds"] == list(_KINDS) and not r["gaps"]]
    if whole:
        found = statistics.median(whole)
        word = "reached" if found < _REQUIRED_MS else "NOT reached"
        parts.append(f"All kinds of one complete window: {found:.2f} ms; wanted below 3: {word}.")
    return page(parts)


TABLE = Table(
    summary="milliseconds that the fixed features of a window take, alone and in a batch",
    run=_run,
    seeds=(0,),
)
