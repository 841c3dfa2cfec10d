"""Table ``pattern-speed``: what PatternRidge costs, from a live window to a million rows."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ._cells import run_cells
from ._costs import peak_memory
from ._data import load_data
from ._protocol import hide
from ._tables import Settings, Table, failures, markdown, page

__all__ = ["TABLE"]

_N_WINDOWS = 50


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--parts", nargs="+", choices=list(_PARTS), default=list(_PARTS), help="default: all"
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the part large")


def _solves(settings: Settings) -> dict[str, Any]:
    """DSADS, four people: the fit, its features alone, all 31 models, and a fit of Fusion."""
    from ..estimators import FusionClassifier, PatternRidgeClassifier

    data, folds = load_data("dsads", settings.data_home)
    train = folds[0].train[:: 12 if settings.quick else 1]
    X, y, groups = data.panel[train], data.y[train], data.groups[train]
    seconds = {}
    ridge = PatternRidgeClassifier(random_state=0)
    seconds["PatternRidge, fit, s"] = _seconds(lambda: ridge.fit(X, y, groups=groups))
    scaled = ridge.scaler_.transform(X)
    seconds["of these, features, s"] = _seconds(lambda: ridge.features_.fit_transform(scaled))
    sets = [
        tuple(m for m in range(5) if code >> m & 1)
        for code in range(1, 2 ** len(data.panel.schema))
    ]
    seconds["31 models, s"] = _seconds(lambda: [ridge.models_.model(s) for s in sets])
    short: dict[str, Any] = {"max_epochs": 2} if settings.quick else {}
    fusion = FusionClassifier(random_state=0, **short)
    seconds["Fusion, fit, s"] = _seconds(lambda: fusion.fit(X, y))
    return seconds


def _window(settings: Settings) -> dict[str, Any]:
    """One window of DSADS by a fitted model, its set of sensors met before, one thread."""
    from ..estimators import PatternRidgeClassifier

    data, folds = load_data("dsads", settings.data_home)
    train = folds[0].train[::12]
    ridge = PatternRidgeClassifier(random_state=0, n_threads=1, form="primal")
    ridge.fit(data.panel[train], data.y[train], groups=data.groups[train])
    test = data.panel[folds[0].test]
    times = []
    for i in range(_N_WINDOWS):
        window = test[i : i + 1]
        times.append(_seconds(partial(ridge.predict_proba, window)))
    result = np.quantile(1e3 * np.array(times[5:]), (0.1, 0.5, 0.9))
    return dict(zip(("window, ms, 10 %", "median", "90 %"), result.tolist(), strict=True))


def _many(settings: Settings) -> dict[str, Any]:
    """Hydraulic machine: three blocks with 17 sensors hidden at .4, nearly as many sets as rows."""
    from ..estimators import PatternRidgeClassifier

    data, _ = load_data("hydraulic_valve", settings.data_home)
    blocks = np.unique(data.groups)[::4]
    test = np.flatnonzero(np.isin(data.groups, blocks))
    train = np.setdiff1d(np.arange(len(data)), test)[:: 6 if settings.quick else 1]
    ridge = PatternRidgeClassifier(random_state=0, n_threads=1)
    ridge.fit(data.panel[train], data.y[train], groups=data.groups[train])
    hidden = hide(data.panel[test[: 40 if settings.quick else None]], 0.4, 0)
    seconds = _seconds(lambda: ridge.predict_proba(hidden))
    n_sets = len(np.unique(hidden.available, axis=0))
    return {"rows": len(hidden), "sets of sensors": n_sets, "answered in, s": seconds}


def _large(settings: Settings) -> dict[str, Any]:
    """Synthetic rows of 5 modalities of 64 timepoints, made and learnt in pieces."""
    from ..estimators import PatternRidgeClassifier

    n_rows = 20_000 if settings.quick else settings.options["rows"]
    with peak_memory() as memory:
        ridge = PatternRidgeClassifier(random_state=0, form="primal", n_groups=4)
        start = time.perf_counter()
        for X, y in _pieces(n_rows):
            ridge.partial_fit(X, y, classes=np.arange(3))
        seconds = time.perf_counter() - start
        X, y = next(_pieces(2000, seed=1))
        score = ridge.score(X, y)
    return {"rows": n_rows, "fit, s": seconds, "peak, MB": memory.peak_mb, "accuracy": score}


def _pieces(n_rows: int, seed: int = 0) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    generator = np.random.default_rng(seed)
    time_axis = np.linspace(0, 1, 64, dtype=np.float32)
    for start in range(0, n_rows, 5000):
        n = min(5000, n_rows - start)
        y = generator.integers(3, size=n)
        wave = np.sin(2 * np.pi * (3 + y)[:, None] * time_axis + generator.random((n, 1)) * 6)
        noise = generator.standard_normal((5, n, 1, 64), dtype=np.float32)
        yield {f"m{m}": 2 * noise[m] + wave[:, None].astype(np.float32) for m in range(5)}, y


_PARTS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "solves": _solves,
    "window": _window,
    "many": _many,
    "large": _large,
}


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _run(settings: Settings) -> str:
    cells = [
        {"part": part, "seed": seed, "fold": "-", "quick": settings.quick}
        for part in settings.options["parts"]
        for seed in settings.seeds
    ]
    rows = run_cells(
        cells,
        lambda cell: [_PARTS[cell["part"]](settings)],
        table="pattern-speed",
        out=settings.out,
        isolate=settings.isolate,
    )
    parts = ["SHORTENED (--quick): not a result."] if settings.quick else []
    parts += failures(rows)
    fixed = {"part", "seed", "fold", "quick", "error"}
    for part in settings.options["parts"]:
        of_part = [row for row in rows if row["part"] == part and "error" not in row]
        names = [
            name for name in dict.fromkeys(n for row in of_part for n in row) if name not in fixed
        ]
        lines = [[name, *(f"{row[name]:.4g}" for row in of_part)] for name in names]
        runs = [f"run {row['seed']}" for row in of_part]
        parts.append(f"{part}: {_PARTS[part].__doc__}")
        if lines:
            parts.append(markdown(["", *runs], lines))
    return page(parts)


TABLE = Table(
    summary="what PatternRidge costs: fits, one live window, many sets of sensors, many rows",
    run=_run,
    seeds=(0, 1, 2),
    arguments=_arguments,
)
