"""Bars and log lines of fits, predictions and inspections."""

import inspect
import logging
import multiprocessing
import re
import threading
from functools import partial

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from tqdm.auto import tqdm

import mts_fusion
from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import (
    ConditionalDiffusionImputer,
    GaussianProcessImputer,
    MaestroClassifier,
    PatternRidgeClassifier,
    RocketFeatures,
    TraceClassifier,
)
from mts_fusion.inspection import modality_subsets
from mts_fusion.runs import _progress, advance, fitting, phase, predicting, run

SMALL = {"d_model": 8, "n_heads": 2, "max_epochs": 2, "device": "cpu", "random_state": 0}
IMPUTER = ConditionalDiffusionImputer(**{**SMALL, "max_epochs": 1}, n_layers=1, n_steps=1)


@pytest.fixture(scope="module")
def X():
    return make_panel_classification(30, modalities={"acc": (2, 8.0), "hr": (1, 4.0)}, n_classes=2)[
        0
    ]


@pytest.fixture(scope="module")
def y():
    return np.tile([0, 1], 15)


@pytest.fixture(scope="module")
def ridge(X, y):
    return PatternRidgeClassifier(n_groups=2, n_threads=1, random_state=0).fit(X, y)


def _bars(text):
    """What the bars in a text are called, in order."""
    names = re.findall(r"([^\r\n]*?): +\d+%\|", text)
    return list(dict.fromkeys(names))


def _events(caplog):
    return [(record.progress["path"], record.progress["event"]) for record in caplog.records]


@pytest.mark.parametrize(
    ("estimator", "phases"),
    [
        (
            MaestroClassifier(**{**SMALL, "max_epochs": 1}, n_estimators=2, verbose=1),
            ["features", "network 1 of 2", "network 2 of 2"],
        ),
        (PatternRidgeClassifier(n_groups=2, verbose=1), ["features", "kernels"]),
        pytest.param(
            PatternRidgeClassifier(kinds=("statistics",), head="boosting", verbose=True),
            ["features", "kernels", "trees"],
            marks=pytest.mark.slow,
        ),
        (GaussianProcessImputer(max_iter=3, verbose=1), ["steps"]),
        (RocketFeatures(n_groups=2, verbose=1), ["features"]),
        (
            TraceClassifier(**SMALL, imputer=IMPUTER, verbose=1),
            [
                "imputer: ConditionalDiffusionImputer.fit: network 1 of 1",
                "imputation: ConditionalDiffusionImputer: draws",
                "features",
                "network 1 of 1",
            ],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_bars_say_what_is_computed(estimator, phases, X, y, capsys, monkeypatch):
    monkeypatch.setattr(_progress, "_PREDICTION_DELAY_SECONDS", 0)
    estimator.fit(X[np.arange(30) > 0].replace(values=_with_a_gap(X[1:])), y[1:])

    out, err = capsys.readouterr()
    name = type(estimator).__name__
    assert out == ""
    assert _bars(err) == [f"{name}.fit: {one}" for one in phases]


def _with_a_gap(X):
    """Values of which one is missing, so that an imputer has something to do."""
    values = X.values["hr"].copy()
    values[0, 0, 0] = np.nan
    return {"hr": values}


def test_a_bar_over_epochs_shows_the_losses(X, y, capsys):
    MaestroClassifier(**SMALL, n_estimators=1, verbose=1).fit(X, y)

    assert re.search(r"network 1 of 1: 100%.* 2/2 .*train_loss=\d", capsys.readouterr().err)


def test_predictions_have_a_bar_only_if_they_take_seconds(ridge, X, capsys, monkeypatch):
    ridge.verbose = 1
    try:
        ridge.predict(X)
        quick = capsys.readouterr()
        monkeypatch.setattr(_progress, "_PREDICTION_DELAY_SECONDS", 0)
        monkeypatch.setattr("tqdm.auto.tqdm", partial(tqdm, mininterval=0))
        ridge.models_.models.clear()
        ridge.predict(X)
    finally:
        ridge.verbose = 0

    assert quick == ("", "")
    err = capsys.readouterr().err
    assert "PatternRidgeClassifier: prediction" in _bars(err)
    assert "models=1" in err


def test_an_inspection_shows_its_predictions(ridge, X, y, capsys):
    modality_subsets(ridge, X, y)
    assert capsys.readouterr() == ("", "")

    modality_subsets(ridge, X, y, verbose=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert _bars(err) == ["modality_subsets: predictions"]
    assert "3/3" in err


def test_every_function_is_quiet_by_default():
    loud = [
        f"{package}.{name}"
        for package in mts_fusion._PACKAGES
        for name in getattr(mts_fusion, package).__all__
        for one in _callables(getattr(getattr(mts_fusion, package), name))
        if _default(one) not in (0, inspect.Parameter.empty)
    ]

    assert loud == []


def _callables(one):
    members = [member for _, member in inspect.getmembers(one) if inspect.isroutine(member)]
    return [one, *members] if inspect.isclass(one) else [one]


def _default(function):
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return 0
    return parameters["verbose"].default if "verbose" in parameters else 0


def test_starts_and_ends_are_logged_whatever_verbose_is(X, y, caplog):
    with caplog.at_level(logging.INFO, logger="mts_fusion"):
        MaestroClassifier(**SMALL, n_estimators=1).fit(X, y).predict(X)

    fit = "MaestroClassifier.fit"
    assert _events(caplog) == [
        ((fit,), "start"),
        ((fit, "features"), "start"),
        ((fit, "features"), "end"),
        ((fit, "network 1 of 1"), "start"),
        ((fit, "network 1 of 1"), "end"),
        ((fit,), "end"),
    ]
    last = caplog.records[-1]
    assert last.name == "mts_fusion"
    assert re.fullmatch(
        r"MaestroClassifier.fit: finished in \d+\.\d\d s \(30 samples of acc, hr\)",
        last.getMessage(),
    )
    fields = last.progress
    assert (fields["n_samples"], fields["modalities"]) == (30, ["acc", "hr"])
    assert fields["seconds"] > caplog.records[2].progress["seconds"] > 0
    assert fields["error"] is None


def test_a_prediction_is_logged_for_debugging(ridge, X, caplog):
    with caplog.at_level(logging.DEBUG, logger="mts_fusion"):
        ridge.predict(X)

    name = "PatternRidgeClassifier"
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert ((name, "prediction", "features"), "end") in _events(caplog)
    assert _events(caplog)[-1] == ((name,), "end")


def test_what_a_fit_is_ended_by_is_logged(X, y, caplog):
    estimator = PatternRidgeClassifier(kinds=("timing",))

    with caplog.at_level(logging.INFO, logger="mts_fusion"), pytest.raises(ValueError, match="kin"):
        estimator.fit(X, y)

    assert caplog.records[-1].progress["error"] == "ValueError"
    assert "PatternRidgeClassifier.fit: ended by ValueError after" in caplog.text


def test_phases_of_phases_are_logged_for_debugging(X, caplog):
    info = caplog.at_level(logging.INFO, logger="mts_fusion")
    with info, run("outer", X, verbose=0), phase("coarse"):
        with phase("fine"):
            pass
        with run("fit inside", X, verbose=0), phase("own"):
            pass

    ends = [path for path, event in _events(caplog) if event == "end"]
    inside = ("outer", "coarse", "fit inside")
    assert ends == [(*inside, "own"), inside, ("outer", "coarse"), ("outer",)]


def test_a_bar_counts_its_own_phase_only(X, capsys):
    with run("outer", X, verbose=1), phase("some", 4):
        advance("others", 3)
        advance("some", 1)

    assert " 1/4 " in capsys.readouterr().err


def test_an_estimator_without_verbose_is_quiet_except_in_a_run_that_shows(X, capsys):
    class Old:
        """As one from a file of an earlier version."""

    with fitting(Old(), X), phase("some", 1):
        pass
    with predicting(Old(), X), phase("some", 1):
        pass
    assert capsys.readouterr() == ("", "")

    with run("outer", X, verbose=1), fitting(Old(), X), phase("some", 1):
        pass
    assert _bars(capsys.readouterr().err) == ["outer: Old.fit: some"]


def test_outside_of_a_run_nothing_is_shown_or_logged(caplog, capsys):
    with caplog.at_level(logging.DEBUG, logger="mts_fusion"), phase("some", 3):
        advance("some")

    assert caplog.records == []
    assert capsys.readouterr() == ("", "")


def _show(X):
    with run("worker", X, verbose=1), phase("some", 2):
        advance("some")


def test_threads_show_no_bars(X, capfd):
    worker = threading.Thread(target=_show, args=(X,))
    worker.start()
    worker.join()

    assert capfd.readouterr() == ("", "")


def test_processes_show_no_bars(X, capfd, monkeypatch):
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    _show(X)

    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_workers_of_joblib_show_no_bars(X, y, capfd):
    ridge = PatternRidgeClassifier(n_groups=2, verbose=1)

    cross_val_score(ridge, X, y, cv=2, n_jobs=2)

    assert "%|" not in capfd.readouterr().err


def test_no_one_hears_of_it_without_a_handler():
    handlers = logging.getLogger("mts_fusion").handlers

    assert any(isinstance(one, logging.NullHandler) for one in handlers)
    assert logging.getLogger("mts_fusion").level == logging.NOTSET
