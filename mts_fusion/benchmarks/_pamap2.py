"""Table ``pamap2``: four fusion strategies over LSTM encoders, as the fusion report compares them.

The same table can be computed on DSADS and Stress-Predict.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from ..panel import Panel, PanelLike
from ..transforms._base import PanelTransformer
from ._classification import classify, cost_table, notices, score_table
from ._data import load_data
from ._folds import Data, Fold
from ._methods import CLASSIFIERS, choose
from ._protocol import Method, evaluate_classifier
from ._tables import Settings, Table, markdown, mean_and_spread, page, summarise

__all__ = ["TABLE", "SlowestClock"]

_FRACTIONS = (0.0, 0.2, 0.4)
_STRATEGIES = ("early", "late", "hybrid", "uncertainty")
_DATASETS = ("pamap2", "dsads", "dsads_small", "stress_predict")
_PUBLISHED = {
    "early, published": (".955", "-", "-"),
    "late, published": (".953", "-", "-"),
    "hybrid, published": (".961", "-", "-"),
}
_MEANINGS = {
    "random": (
        "Windows split at random, as published. Where they overlap, nearly every test window "
        "shares its seconds with windows that were trained on, and everywhere its person: the "
        "figures tell how well a method remembers, not how well it does on a new person."
    ),
    "people": "Subjects held out: how well it does on a new person.",
}


class SlowestClock(PanelTransformer):
    """Temporal alignment by dropping rows: only the times at which every sensor has a value remain.

    That is what the rows of a merged table without NaN are: all modalities on the clock of the
    slowest one, or at the times of an irregular one, and nothing where one of them lacks anything.
    """

    def fit(self, X: PanelLike, y: Any = None) -> Self:
        """Learn the schema.

        Parameters
        ----------
        X : Panel or what ``as_panel`` takes
            Samples of modalities with rates; one of them may have times instead.
        y : None
            Ignored.

        Returns
        -------
        SlowestClock
            Itself.
        """
        self._check_fit(X)
        return self

    def transform(self, X: PanelLike) -> Panel:
        """The rows that remain.

        Parameters
        ----------
        X : Panel or what ``as_panel`` takes
            Samples of modalities with rates; one of them may have times instead.

        Returns
        -------
        Panel
            All modalities at the lowest rate, or at the times of the irregular one; NaN at the
            times that were dropped.

        Raises
        ------
        ValueError
            If several modalities have no rate.
        """
        panel = self._check_transform(X)
        rates = {m.name: m.rate for m in panel.schema if m.rate is not None}
        others = [name for name in panel.schema.names if name not in rates]
        irregular = [times for name in others if (times := panel.times[name]) is not None]
        if len(others) > 1 or len(irregular) < len(others):
            raise ValueError(
                f"Rows are aligned by rates, or by the times of one modality; of {others} the "
                "rates are unknown. Give them."
            )
        times = irregular[0] if irregular else _ticks(panel, min(rates.values()))
        values = {}
        for m in panel.schema:
            x = panel.values[m.name]
            if m.name in rates:
                at = np.round(np.nan_to_num(times, nan=-1.0) * rates[m.name]).astype(int)  # (n, L)
                inside = (at >= 0) & (at < x.shape[2])
                x = np.take_along_axis(x, np.where(inside, at, 0)[:, None], axis=2)
                x = np.where(inside[:, None], x, np.nan)
            values[m.name] = x
        complete = np.all([~np.isnan(x).any(axis=1) for x in values.values()], axis=0)  # (n, L)
        kept = {name: np.where(complete[:, None], x, np.nan) for name, x in values.items()}
        if irregular:
            return Panel(kept, times=dict.fromkeys(kept, times))
        return Panel(kept, rates=dict.fromkeys(kept, min(rates.values())))


def _ticks(panel: Panel, rate: float) -> NDArray[np.float64]:
    """Times (n, L) of a clock that ends with the shortest modality."""
    seconds = min(m.n_timepoints / m.rate for m in panel.schema if m.rate is not None)
    ticks = np.arange(int(np.floor(seconds * rate + 1e-6))) / rate
    return np.broadcast_to(ticks, (len(panel), len(ticks)))


def _fusion(strategy: str, epochs: int | None, *, seed: int, quick: bool) -> Any:
    """The settings of the report."""
    from ..estimators import FusionClassifier

    return FusionClassifier(
        strategy=strategy,
        encoder="lstm",
        d_model=128,
        n_heads=4,
        dropout=0.1,
        modality_dropout=0.1,
        lr=1e-3,
        weight_decay=1e-4,
        label_smoothing=0.0,
        max_epochs=epochs or (2 if quick else "auto"),
        random_state=seed,
        verbose=0,
    )


def _aligned(strategy: str, epochs: int | None, *, seed: int, quick: bool) -> Any:
    return make_pipeline(SlowestClock(), _fusion(strategy, epochs, seed=seed, quick=quick))


def _methods(epochs: int | None) -> dict[str, Method]:
    return {
        **{f"{name}, LSTM": Method(partial(_fusion, name, epochs)) for name in _STRATEGIES},
        "early, LSTM, rows with gaps dropped": Method(partial(_aligned, "early", epochs)),
        "ExtraTrees on summaries": CLASSIFIERS["ExtraTrees on summaries"],
        "Maestro": CLASSIFIERS["Maestro"],
        "PatternRidge": CLASSIFIERS["PatternRidge"],
    }


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", choices=_DATASETS, default="pamap2", help="default: pamap2")
    parser.add_argument("--splits", nargs="+", choices=list(_MEANINGS), help="default: both")
    parser.add_argument("--epochs", type=int, help="epochs of the LSTMs, for a shortened run")
    parser.add_argument("--folds", type=int, help="folds of people to compute; default: all")


def _folds(data: Data, people: Sequence[Fold], split: str) -> list[Fold]:
    if split == "people":
        return list(people)
    n_test = round(0.15 * len(data))
    # As many to train on as where people are held out, so that the splits differ in nothing else.
    n_train = min(len(people[0].train), len(data) - n_test)
    train, test = train_test_split(
        np.arange(len(data)), train_size=n_train, test_size=n_test, stratify=data.y, random_state=0
    )
    return [Fold("random", np.sort(train), np.sort(test))]


def _run(settings: Settings) -> str:
    name = settings.options["dataset"]
    data, people = load_data(name, settings.data_home)
    people = people[: settings.options["folds"] or len(people)]
    epochs = settings.options["epochs"]
    there_are = _methods(epochs)
    methods = choose(there_are, settings.methods, [*there_are][:6])
    names = list(methods)
    parts = [
        f"{name}, seeds {list(settings.seeds)}: each of {len(data.panel.schema)} modalities hidden "
        "with probability p; mean (sd over folds, sd over seeds)."
    ]
    if epochs is not None:
        parts.append(f"SHORTENED (--epochs {epochs}): an LSTM has at least 12 and 600 steps.")
    shortened = "" if epochs is None else f"-{epochs}-epochs"
    for split in settings.options["splits"] or list(_MEANINGS):
        rows = classify(
            f"pamap2-{name}-{split}{shortened}",
            data,
            _folds(data, people, split),
            methods,
            _FRACTIONS,
            settings,
            evaluate=partial(evaluate_classifier, by_sensors=True),
        )
        published = _PUBLISHED if (name, split) == ("pamap2", "random") else None
        parts += [
            _MEANINGS[split],
            *notices(rows, settings),
            score_table(rows, names, "accuracy", _FRACTIONS, published=published),
            *(score_table(rows, names, column, _FRACTIONS) for column in ("macro_f1", "ece")),
            "Without the temperature:",
            score_table(rows, names, "ece_plain", _FRACTIONS),
            *_sensor_tables(rows, names, data.panel.schema.names),
            cost_table(rows, names),
        ]
    return page(parts)


def _sensor_tables(
    rows: Sequence[dict[str, Any]], names: Sequence[str], sensors: Sequence[str]
) -> list[str]:
    """Accuracy by the set of sensors, importances and attention."""
    rows = [row for row in rows if "error" not in row]
    sets = list(dict.fromkeys(row["sensors"] for row in rows if "sensors" in row))
    accuracy = summarise(
        [row for row in rows if "sensors" in row], ["method", "sensors"], "sensors_accuracy"
    )
    importance = summarise(
        [row for row in rows if "importance" in row], ["method", "modality"], "importance"
    )
    tables = [
        markdown(
            ["accuracy with these sensors alone", *names],
            [[s, *(mean_and_spread(accuracy.get((name, s))) for name in names)] for s in sets],
        ),
        markdown(
            ["importance (Shapley value of accuracy)", *sensors],
            [
                [name, *(mean_and_spread(importance.get((name, s))) for s in sensors)]
                for name in names
            ],
        ),
    ]
    attention = summarise(
        [row for row in rows if "attention" in row], ["method", "modality", "source"], "attention"
    )
    for name in names:
        lines = [
            [target, *(mean_and_spread(attention.get((name, target, s))) for s in sensors)]
            for target in sensors
        ]
        if any((name, target, s) in attention for target in sensors for s in sensors):
            tables.append(markdown([f"attention of {name}, to", *sensors], lines))
    return tables


TABLE = Table(
    summary="early, late, hybrid and uncertainty fusion over LSTMs, split at random and by people",
    run=_run,
    arguments=_arguments,
    seeds=(0,),
)
