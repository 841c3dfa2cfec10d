"""Table ``imputation-speed``: processor time to fill a stay, beside CSDI of PyPOTS."""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import crps_from_quantiles, mae_at_missing, quantiles_from_samples
from ..panel import Panel
from ..transforms import PanelScaler
from ._cells import run_cells
from ._costs import count_parameters, processor_seconds
from ._imputation import IMPUTERS, LEVELS, Hidden
from ._methods import choose
from ._physionet2012_imputation import hide, load_stays
from ._pypots import PyPOTSImputer
from ._tables import Settings, Table, failures, markdown, page

__all__ = ["TABLE"]

_FRACTION, _N_DRAWS, _REPEATS = 0.5, 20, 3
_ROUND = 16  # stays that a fast row fills at a time: ours come in batches of that many
_BASELINE, _OWN_CSDI, _OURS = "CSDI of PyPOTS", "CSDI", "Diffusion by steps"
_DEFAULT = "5 steps"  # of our imputer
_REQUIRED, _AIM, _LOSS = 8.0, 40.0, 0.01


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--train-seconds", type=int, default=3600, help="processor time to train each network"
    )
    parser.add_argument("--n-slow", type=int, default=8, help="stays that every row fills")
    parser.add_argument("--n-test", type=int, help="stays that ours fills too; default: all")


def _trained(method: str, train: Panel, seed: int, budget: float) -> tuple[Any, float, int]:
    """A network that took about ``budget`` seconds to train, those seconds, and its samples."""

    def make(n_epochs: int) -> Any:
        if method == _BASELINE:
            return PyPOTSImputer("CSDI", seconds=None, epochs=n_epochs, random_state=seed)
        return IMPUTERS[method].make(seed=seed, max_epochs=n_epochs)

    few = train[: 32 if method in (_BASELINE, _OWN_CSDI) else 512]
    a_sample = processor_seconds(lambda: make(1).fit(few)) / len(few)
    n_passes = budget / (a_sample * len(train))
    if n_passes < 1:
        train = train[: max(32, math.floor(n_passes * len(train)))]
    model = make(max(1, round(n_passes)))
    return model, processor_seconds(lambda: model.fit(train)), len(train)


def _errors(hidden: Hidden, draws: NDArray[Any]) -> dict[str, float]:
    quantiles = quantiles_from_samples(draws, LEVELS)
    median = quantiles[len(LEVELS) // 2]
    mae = mae_at_missing(hidden.truth, median, hidden.masked, average="entries")
    crps = crps_from_quantiles(hidden.truth, quantiles, hidden.masked, levels=LEVELS)
    return {"mae": float(mae), "crps": float(crps)}


def _part(hidden: Hidden, rows: slice) -> Hidden:
    return Hidden(hidden.data[rows], hidden.truth[rows], hidden.masked[rows])


def _measure(
    method: str, train: Panel, test: Hidden, *, seed: int, budget: float, n_slow: int
) -> list[dict[str, Any]]:
    """A row for each number of steps: time in repeats, errors on few stays and on all."""
    import torch

    torch.set_num_threads(1)
    model, fit_seconds, n_train = _trained(method, train, seed, budget)
    slow = method in (_BASELINE, _OWN_CSDI)
    settings: dict[str, dict[str, Any]] = {"50 steps": {}}
    if method != _BASELINE:
        settings = dict(IMPUTERS[method].settings)
    rows = []
    for setting, parameters in settings.items():
        if method == _BASELINE:

            def impute(panel: Panel) -> NDArray[Any]:
                return np.asarray(model.draws(panel, _N_DRAWS))
        else:
            model.set_params(n_samples=_N_DRAWS, **parameters)

            def impute(panel: Panel) -> NDArray[Any]:
                return np.stack([one.values["stay"] for one in model.sample(panel)])

        few = _part(test, slice(n_slow))
        milliseconds, result = [], []
        for repeat in range(_REPEATS):
            # The slow ones fill other stays in each round, the others the same ones each time.
            at = slice(repeat * n_slow // _REPEATS, (repeat + 1) * n_slow // _REPEATS)
            part = _part(test, at if slow else slice(max(n_slow, _ROUND)))
            start = time.process_time()
            result.append(impute(part.data))
            milliseconds.append(1e3 * (time.process_time() - start) / len(part.data))
        draws = np.concatenate(result, axis=1) if slow else result[-1][:, :n_slow]
        row = {"setting": setting, "ms": milliseconds, **_errors(few, draws)}
        if not slow:
            whole = _errors(test, impute(test.data))
            row |= {f"{key}_all": value for key, value in whole.items()}
        rows.append(row)
    costs = {
        "fit_seconds": fit_seconds,
        "n_train": n_train,
        "parameters": model.n_weights if method == _BASELINE else count_parameters(model),
    }
    return [{**row, **costs} for row in rows]


def _run(settings: Settings) -> str:
    options = settings.options
    budget = 2 if settings.quick else options.get("train_seconds", 3600)
    n_slow = 3 if settings.quick else options.get("n_slow", 8)
    n_test = 6 if settings.quick else options.get("n_test")
    methods: dict[str, str] = choose(
        {name: name for name in (_BASELINE, _OWN_CSDI, _OURS)}, settings.methods, [_BASELINE, _OURS]
    )
    panel, folds = load_stays(settings.data_home)
    train, test = (panel[rows] for rows in folds[0])
    scaler = PanelScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test[:n_test])

    def work(cell: dict[str, Any]) -> list[dict[str, Any]]:
        hidden = hide(test, _FRACTION, seed=cell["seed"])
        return _measure(
            cell["method"],
            train,
            hidden,
            seed=cell["seed"],
            budget=cell["train_seconds"],
            n_slow=cell["n_slow"],
        )

    cells = [
        {
            "method": name,
            "seed": seed,
            "train_seconds": budget,
            "n_slow": n_slow,
            "n_test": n_test,
            "quick": settings.quick,
        }
        for seed in settings.seeds
        for name in methods
    ]
    rows = run_cells(
        cells, work, table="imputation-speed", out=settings.out, isolate=settings.isolate
    )
    parts = [
        f"PhysioNet 2012, {_FRACTION:.0%} hidden, {_N_DRAWS} draws, one thread, each network "
        f"trained for about {budget} s of processor time, seeds {list(settings.seeds)}: processor "
        f"time a stay, median (least-most) of {_REPEATS} rounds a seed, ours of {_ROUND} stays; "
        f"errors on the same {n_slow} stays, and in brackets on all {len(test)}.",
        *(["SHORTENED (--quick): not a result."] if settings.quick else []),
        *failures(rows),
        *_text([row for row in rows if "error" not in row]),
    ]
    return page(parts)


def _three(number: float) -> str:
    """Three digits, and no exponent."""
    digits = 2 - math.floor(math.log10(abs(number))) if number else 0
    return f"{round(number, digits):.{max(digits, 0)}f}"


def _text(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The table, and what of it was wanted."""
    entries: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        entries.setdefault((row["method"], row["setting"]), []).append(row)

    def mean(key: tuple[str, str], column: str) -> float:
        result = [row[column] for row in entries.get(key, []) if column in row]
        return statistics.fmean(result) if result else float("nan")

    ms = {key: [x for row in of for x in row["ms"]] for key, of in entries.items()}
    slowest = (_BASELINE, "50 steps")
    lines = []
    for key in entries:
        middle = statistics.median(ms[key])
        times = statistics.median(ms[slowest]) / middle if slowest in ms else float("nan")
        errors = [
            f"{mean(key, c):.3f}" + (f" ({x:.4f})" if (x := mean(key, f"{c}_all")) == x else "")
            for c in ("mae", "crps")
        ]
        lines.append(
            [
                ", ".join(key),
                f"{_three(middle)} ({_three(min(ms[key]))}-{_three(max(ms[key]))})",
                "-" if math.isnan(times) else _three(times),
                *errors,
                f"{mean(key, 'fit_seconds'):.0f}",
                f"{mean(key, 'n_train'):.0f}",
                f"{mean(key, 'parameters') / 1e3:.0f}",
            ]
        )
    header = ["", "ms a stay", "times faster", "MAE", "CRPS", "fit, s", "trained on", "weights, k"]
    texts = [markdown(header, lines)] if lines else []
    for setting in (_DEFAULT, "1 steps"):
        key, full = (_OURS, setting), (_OURS, "50 steps")
        if key not in entries or slowest not in entries:
            continue
        times = statistics.median(ms[slowest]) / statistics.median(ms[key])
        more = [mean(key, c) / mean(full, c) - 1 for c in ("mae_all", "crps_all")]
        good = times >= _REQUIRED and max(more) <= _LOSS
        texts.append(
            f"Required, {setting}: {_REQUIRED:g} times faster than {_BASELINE}, errors at most "
            f"{_LOSS:.0%} above those of its own 50 steps; {'reached' if good else 'NOT reached'}: "
            f"{times:.0f} times (aim {_AIM:g}), MAE {more[0]:+.2%}, CRPS {more[1]:+.2%}."
        )
    return texts


TABLE = Table(
    summary="processor time to impute a stay of PhysioNet 2012, beside CSDI of PyPOTS",
    run=_run,
    seeds=(0,),
    arguments=_arguments,
)
