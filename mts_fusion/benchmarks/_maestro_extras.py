"""What table ``maestro`` has besides scores: costs at the paper's size, a search, pre-training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..panel import Panel
from ._cells import run_cells
from ._data import load_data
from ._folds import subsample
from ._protocol import hide
from ._tables import Settings, failures, markdown, mean_and_spread, summarise

__all__ = ["attention_costs", "pretraining", "search"]

Cell = dict[str, Any]
Row = dict[str, Any]

_CHANNELS = (3, 1, 1, 1, 1, 3, 1, 1, 1, 1)  # of WESAD in the paper: 10 modalities, 14 channels
_N_TIMEPOINTS, _BATCH = 256, 32  # 128 symbols; the samples whose operations the paper counts
_PARAMETERS = ("attention_budget", "n_experts")
_GRID: dict[str, list[Any]] = {"attention_budget": [0.0, 1.0, "learnt", "inf"], "n_experts": [1, 4]}
_N_SEARCHED, _N_FOLDS, _HIDDEN = 300, 2, 0.4
_LEVEL = 0.01
# Epochs and tokens a modality of each fit of the search, which has many.
_SHORT: dict[str, Any] = {"max_epochs": 20, "max_tokens": 16, "n_estimators": 1}
# Every which window is labelled, learnt from without its label, and tested; epochs of each.
_PRETRAINING = {
    "label_step": 20,
    "window_step": 4,
    "test_step": 5,
    "pretraining_epochs": 60,
    "epochs": 80,
}
_QUICK = {
    "label_step": 60,
    "window_step": 60,
    "test_step": 60,
    "pretraining_epochs": 1,
    "epochs": 1,
}
_LABELLED_PEOPLE = (1, 2, 4)
_FEATURES = ("statistics", "multirocket")


def attention_costs(
    variants: Mapping[str, tuple[Mapping[str, Any], str]], settings: Settings
) -> list[str]:
    """Parameters and MMAC of the preset at its WESAD size, beside those of the paper.

    Parameters
    ----------
    variants : dict of str to (dict, str)
        Name of a row to changed parameters of the preset and the published MMAC of a batch of 32.
    settings : Settings
        Of the run.

    Returns
    -------
    list of str
        Paragraphs and a table.
    """
    cells = [{"method": name, "batch": _BATCH} for name in variants]

    def work(cell: Cell) -> list[Row]:
        from ..estimators import MaestroClassifier
        from ..inspection import model_costs

        rng = np.random.default_rng(0)
        shapes = {f"m{i}": (_BATCH, c, _N_TIMEPOINTS) for i, c in enumerate(_CHANNELS)}
        panel = Panel({name: rng.normal(size=shape) for name, shape in shapes.items()})
        model = MaestroClassifier.from_paper("wesad", random_state=0)
        model[-1].set_params(**variants[cell["method"]][0], max_epochs=1, validation_fraction=0.0)
        model[-1].set_params(patience=None)
        model.fit(panel[:4], np.arange(4) % 3)
        total = model_costs(model, panel).iloc[-1]
        return [{"parameters": int(total["parameters"]), "macs": _BATCH * float(total["macs"])}]

    rows = run_cells(cells, work, table="maestro-costs", out=settings.out, isolate=settings.isolate)
    lines = [
        [
            row["method"],
            f"{row['parameters'] / 1e6:.2f}",
            f"{row['macs'] / 1e6:.0f}",
            variants[row["method"]][1],
        ]
        for row in rows
        if "error" not in row
    ]
    return [
        "Costs at the paper's WESAD size, a batch of 32 predicted: 10 modalities, 14 channels, 128 "
        "symbols each. Ours counts every matrix product; the released code counts its layers, not "
        "the products of attention.",
        *failures(rows),
        markdown(["attention", "parameters, M", "MMAC", "published MMAC"], lines),
    ]


def search(settings: Settings) -> list[str]:
    """A grid search over budgets and experts on some windows of DSADS.

    Parameters
    ----------
    settings : Settings
        Of the run.

    Returns
    -------
    list of str
        Paragraphs and a table.
    """
    data, folds = load_data("dsads", settings.data_home)
    n_searched = 60 if settings.quick else _N_SEARCHED
    train = subsample(folds[0], data, max(1, round(len(folds[0].train) / n_searched))).train
    short = {**_SHORT, "max_epochs": 1} if settings.quick else _SHORT
    cells = [
        {"rows": len(train), "folds": _N_FOLDS, "seed": seed, **short} for seed in settings.seeds
    ]

    def work(cell: Cell) -> list[Row]:
        from sklearn.model_selection import GridSearchCV, GroupKFold

        from ..estimators import MaestroClassifier

        # Tokens of the series alone: beside fixed features they can hardly be told from them.
        model = MaestroClassifier(feature_tokens=(), random_state=cell["seed"], **short)
        grid = {
            name: [float(value) if value == "inf" else value for value in values]
            for name, values in _GRID.items()
        }
        found = GridSearchCV(
            model, grid, scoring=_scores_of, cv=GroupKFold(_N_FOLDS), refit=False, n_jobs=1
        )
        found.fit(data.panel[train], data.y[train], groups=data.groups[train])
        results = found.cv_results_
        return [
            {
                **{name: str(choice[name]) for name in _PARAMETERS},
                **{
                    f"split{k}_{name}": float(results[f"split{k}_test_{name}"][i])
                    for k in range(_N_FOLDS)
                    for name in ("complete", "hidden")
                },
            }
            for i, choice in enumerate(results["params"])
        ]

    rows = run_cells(
        cells, work, table="maestro-search", out=settings.out, isolate=settings.isolate
    )
    done = [row for row in rows if "error" not in row]
    parts = [
        f"Grid search over budgets and experts: {len(train)} windows of DSADS, {_N_FOLDS} folds of "
        f"subjects, seeds {list(settings.seeds)}, {short['max_epochs']} epochs, one network with "
        f"tokens of the series alone; macro-F1 of the folds, complete and with modalities hidden "
        f"with probability {_HIDDEN:g}.",
        *failures(rows),
    ]
    return [*parts, *_search_table(done)] if done else parts


def _scores_of(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    """Macro-F1 with everything and with sensors hidden."""
    from sklearn.metrics import f1_score

    panels = {"complete": X, "hidden": hide(X, _HIDDEN, 0)}
    return {
        name: float(f1_score(y, estimator.predict(panel), average="macro"))
        for name, panel in panels.items()
    }


def _search_table(rows: list[Row]) -> list[str]:
    """The table of the search, and whether the choices differ by more than folds and seeds do."""
    keys = list(dict.fromkeys(tuple(row[name] for name in _PARAMETERS) for row in rows))
    scores = {
        name: np.array(
            [
                [
                    row[f"split{k}_{name}"]
                    for row in rows
                    if tuple(row[p] for p in _PARAMETERS) == key
                    for k in range(_N_FOLDS)
                ]
                for key in keys
            ]
        )
        for name in ("complete", "hidden")
    }  # (choices, splits)
    lines = [
        [*key, *(" ".join(f"{s:.3f}" for s in scores[name][i]) for name in scores)]
        for i, key in enumerate(keys)
    ]
    sentences = []
    for name, table in scores.items():
        between, p_value = _analysis_of_variance(table)
        word = "matter" if p_value < _LEVEL else "cannot be told apart"
        sentences.append(
            f"{name}: best and worst choice differ by {between:.3f} (p = {p_value:.2g} in an "
            f"analysis of variance over folds and seeds): budgets and experts {word}."
        )
    return [markdown([*_PARAMETERS, *scores], lines), *sentences]


def _analysis_of_variance(table: NDArray[np.float64]) -> tuple[float, float]:
    """Range of the means of choices ``(choices, splits)``, and p if they were all equal."""
    from scipy.stats import f

    n_choices, n_splits = table.shape
    # What a split has for all choices is not the choice: a two-way analysis without interaction.
    within = table - table.mean(0)
    means = within.mean(1)
    rest = ((within - means[:, None]) ** 2).sum() / ((n_choices - 1) * (n_splits - 1))
    ratio = n_splits * (means**2).sum() / (n_choices - 1) / max(rest, np.finfo(float).tiny)
    p_value = f.sf(ratio, n_choices - 1, (n_choices - 1) * (n_splits - 1))
    return float(np.ptp(means)), float(p_value)


def pretraining(settings: Settings) -> list[str]:
    """Macro-F1 on DSADS by the number of labelled people, with and without pre-training.

    Parameters
    ----------
    settings : Settings
        Of the run.

    Returns
    -------
    list of str
        Paragraphs and a table.
    """
    data, folds = load_data("dsads", settings.data_home)
    fold = folds[0]
    sizes = _QUICK if settings.quick else _PRETRAINING
    few = subsample(fold, data, sizes["label_step"]).train
    cells = [{"seed": seed, **sizes} for seed in settings.seeds]

    def work(cell: Cell) -> list[Row]:
        from ..estimators import MaestroClassifier, MaestroPretrainer

        seed = cell["seed"]
        windows = subsample(fold, data, cell["window_step"]).train
        test = subsample(fold, data, cell["test_step"]).test
        settings_of: dict[str, Any] = {"n_estimators": 1, "batch_size": 32, "calibration": None}
        model = MaestroClassifier(
            **settings_of, max_epochs=cell["epochs"], random_state=seed, device="cpu"
        )
        pretrainer = MaestroPretrainer(
            estimator=model.set_params(feature_tokens=()),
            max_epochs=cell["pretraining_epochs"],
            random_state=seed,
        ).fit(data.panel[windows], groups=data.groups[windows])
        rows = []
        for n_people in _LABELLED_PEOPLE:
            of_people = np.isin(data.groups[few], np.unique(data.groups[few])[:n_people])
            labelled = few[of_people]
            for name, tokens in {"series": (), "series and features": _FEATURES}.items():
                for pretrained in (None, pretrainer.network_):
                    model.set_params(feature_tokens=tokens, pretrained=pretrained)
                    model.fit(data.panel[labelled], data.y[labelled])
                    scores = _scores_of(model, data.panel[test], data.y[test])
                    start = "pre-trained" if pretrained else "from scratch"
                    rows.append({"method": f"{name}, {start}", "people": n_people, **scores})
        return rows

    rows = run_cells(
        cells, work, table="maestro-pretraining", out=settings.out, isolate=settings.isolate
    )
    done = [row for row in rows if "error" not in row]
    lines = []
    for name in dict.fromkeys(row["method"] for row in done):
        line = [name]
        for n_people in _LABELLED_PEOPLE:
            for column in ("complete", "hidden"):
                entries = summarise(done, ["method", "people"], column)
                line.append(mean_and_spread(entries.get((name, n_people))))
        lines.append(line)
    head = [f"{n} labelled, {c}" for n in _LABELLED_PEOPLE for c in ("complete", "hidden")]
    return [
        "Pre-training on windows of the four training people of DSADS without labels, then "
        f"training on {len(few) // 4} labelled windows of each of 1, 2 or 4 of them, seeds "
        f"{list(settings.seeds)}; macro-F1 on two new people, complete and with modalities hidden "
        f"with probability {_HIDDEN:g}; mean (-, sd over seeds).",
        *failures(rows),
        markdown(["tokens", *head], lines),
    ]
