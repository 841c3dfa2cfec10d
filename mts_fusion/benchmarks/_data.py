"""The data sets of the tables, each with its folds: a dict, name -> loader."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from ..datasets import (
    fetch_cmapss,
    fetch_dsads,
    fetch_hydraulic,
    fetch_pamap2,
    fetch_physionet2012,
    fetch_physionet2019,
    fetch_stress_predict,
    fetch_wesad,
)
from ..panel import Panel
from ..transforms import ModalityGrouper, mask_panel
from ._dsads_variants import as_actions, as_gestures, as_phone
from ._folds import Data, Fold, hold_every_nth_group_out, leave_groups_out, subsample

__all__ = ["DATA", "load_data"]

# Windows left to train on in the small version of DSADS.
_N_SMALL = 400


def load_data(name: str, data_home: str | None) -> tuple[Data, list[Fold]]:
    """A data set and its folds.

    Parameters
    ----------
    name : str
        A key of ``DATA``.
    data_home : path or None
        Folder of the publishers' files.

    Returns
    -------
    data : Data
        Samples, classes 0 .. K-1 (or numbers) and groups.
    folds : list of Fold
        Subjects (engines, blocks of neighbours) held out where there are some.
    """
    return DATA[name](data_home)


def _dsads(data_home: str | None) -> tuple[Data, list[Fold]]:
    bunch = fetch_dsads(data_home=data_home)
    data = Data("dsads", bunch.data, bunch.target, bunch.groups)
    return data, leave_groups_out(data.groups, 2)


def _dsads_small(data_home: str | None) -> tuple[Data, list[Fold]]:
    """DSADS with about 400 windows to train on; the test parts are whole."""
    data, folds = _dsads(data_home)
    data = Data("dsads_small", data.panel, data.y, data.groups)
    step = len(folds[0].train) // _N_SMALL
    return data, [Fold(f.name, subsample(f, data, max(1, step)).train, f.test) for f in folds]


def _stress_predict(data_home: str | None) -> tuple[Data, list[Fold]]:
    """Windows of 30 s that do not overlap, five streams; a sixth of the subjects held out."""
    bunch = fetch_stress_predict(data_home=data_home, window_seconds=30.0, step_seconds=None)
    data = Data("stress_predict", bunch.data, bunch.target, bunch.groups)
    n_subjects = len(np.unique(data.groups))
    return data, leave_groups_out(data.groups, max(1, round(n_subjects / 6)))


def _physionet2012(data_home: str | None) -> tuple[Data, list[Fold]]:
    """Stays by organ system, at their own times; five folds with equal shares of deaths."""
    bunch = fetch_physionet2012(data_home=data_home)
    data = Data("physionet2012", bunch.data, bunch.target, bunch.groups)
    splitter = StratifiedKFold(5, shuffle=True, random_state=0)
    folds = [
        Fold(str(i), train, test)
        for i, (train, test) in enumerate(splitter.split(np.zeros(len(data)), data.y))
    ]
    return data, folds


def _pamap2(data_home: str | None) -> tuple[Data, list[Fold]]:
    """Windows of 1 s every half second; two subjects held out at a time."""
    bunch = fetch_pamap2(data_home=data_home)
    data = Data("pamap2", bunch.data, bunch.target, bunch.groups)
    return data, leave_groups_out(data.groups, 2)


def _pamap2_random(data_home: str | None) -> tuple[Data, list[Fold]]:
    """The same windows split at random, 15 % of them for the test: it leaks."""
    data, _ = _pamap2(data_home)
    rows = np.arange(len(data))
    train, test = train_test_split(rows, test_size=0.15, stratify=data.y, random_state=0)
    data = Data("pamap2_random", data.panel, data.y, data.groups)
    return data, [Fold("random", np.sort(train), np.sort(test))]


def _wesad(data_home: str | None) -> tuple[Data, list[Fold]]:
    """Windows of 60 s that do not overlap, chest at 70 Hz, three conditions; three subjects out."""
    bunch = fetch_wesad(data_home=data_home, chest_rate=70)
    data = Data("wesad", bunch.data, bunch.target, bunch.groups)
    return data, leave_groups_out(data.groups, 3)


def _sepsis(data_home: str | None) -> tuple[Data, list[Fold]]:
    """Patients by their first 60 hours; five random splits 80/10/10 with equal shares of sepsis.

    The hours may hold the onset, and records of septic patients end soon after it: scores here
    compare methods and are none of an early warning.

    The tenth for validation is in neither part: an estimator of ours holds out of the 80 what it
    needs, so that no method sees more than another.
    """
    bunch = fetch_physionet2019(data_home=data_home)
    data = Data("sepsis", bunch.data, bunch.target, bunch.groups)
    return data, _five_splits(data)


def _physionet2012_splits(data_home: str | None) -> tuple[Data, list[Fold]]:
    """Stays by organ system; five random splits 80/10/10 with equal shares of deaths."""
    data, _ = _physionet2012(data_home)
    data = Data("physionet2012_splits", data.panel, data.y, data.groups)
    return data, _five_splits(data)


def _five_splits(data: Data) -> list[Fold]:
    """Random splits 80/10/10, stratified. The tenth for validation is in neither part."""
    folds = []
    for seed in range(5):
        train, rest = train_test_split(
            np.arange(len(data)), test_size=0.2, stratify=data.y, random_state=seed
        )
        _, test = train_test_split(rest, test_size=0.5, stratify=data.y[rest], random_state=seed)
        folds.append(Fold(str(seed), np.sort(train), np.sort(test)))
    return folds


def _hydraulic(target: str, data_home: str | None) -> tuple[Data, list[Fold]]:
    """Load cycles; every third block of 147 neighbouring cycles held out.

    The conditions change in long runs: one of the cooler lasts some five blocks, and within it the
    others come in the same order. Five blocks and three folds have no common factor (nor have the
    four blocks of a copy that lacks a fifth), so every class is in each training part.
    """
    bunch = fetch_hydraulic(data_home=data_home, target=target)
    data = Data(f"hydraulic_{target}", bunch.data, bunch.target, bunch.groups)
    return data, hold_every_nth_group_out(data.groups, 3)


def _engines(data_home: str | None) -> tuple[Data, list[Fold]]:
    """Remaining life of engines in cycles, up to 125, from 30 cycles; a fifth of them held out."""
    bunch = fetch_cmapss(data_home=data_home)
    data = Data("engines", bunch.data, bunch.target, bunch.groups)
    return data, hold_every_nth_group_out(data.groups, 5)


def _basic_motions(data_home: str | None) -> tuple[Data, list[Fold]]:
    """40 + 40 recordings of accelerometer and gyroscope, bundled with sktime."""
    groups = {"acc": [0, 1, 2], "gyro": [3, 4, 5]}
    return _uea("BasicMotions", "basic_motions", groups, {"acc": 10.0, "gyro": 10.0})


def _japanese_vowels(data_home: str | None) -> tuple[Data, list[Fold]]:
    """270 + 370 utterances of nine speakers, bundled with sktime, of unequal length.

    Its twelve coefficients come from one microphone; taking them as three modalities of four gives
    sensors that can fail.
    """
    groups = {"low": [0, 1, 2, 3], "middle": [4, 5, 6, 7], "high": [8, 9, 10, 11]}
    return _uea("JapaneseVowels", "japanese_vowels", groups, None)


def _japanese_vowels_gaps(data_home: str | None) -> tuple[Data, list[Fold]]:
    """The same with blocks hidden, 30 % of the timepoints: something for an imputer to fill."""
    data, folds = _japanese_vowels(data_home)
    panel = mask_panel(data.panel, pattern="block", fraction=0.3, seed=0)
    return Data("japanese_vowels_gaps", panel, data.y, data.groups), folds


def _uea(
    archive_name: str,
    name: str,
    groups: dict[str, list[int]],
    rates: dict[str, float | None] | None,
) -> tuple[Data, list[Fold]]:
    """A data set that comes as a training and a test part, which are its one fold."""
    from ..interop.sktime import load_uea

    parts = [load_uea(archive_name, split=split) for split in ("train", "test")]
    panels = [part.data for part in parts]
    grouper = ModalityGrouper(groups, rates=rates)
    train, test = (grouper.fit_transform(_pad(panel, panels)) for panel in panels)
    y = np.unique(np.concatenate([part.target for part in parts]), return_inverse=True)[1]
    rows = np.arange(len(y))
    fold = Fold("given", rows[: len(train)], rows[len(train) :])
    return Data(name, train.concat(test), y, rows), [fold]


def _pad(panel: Panel, panels: list[Panel]) -> Panel:
    """NaN at the end up to the longest of all panels."""
    values = {}
    for modality in panel.schema:
        longest = max(other.schema[modality.name].n_timepoints for other in panels)
        padding = ((0, 0), (0, 0), (0, longest - modality.n_timepoints))
        values[modality.name] = np.pad(panel.values[modality.name], padding, constant_values=np.nan)
    return Panel(values)


DATA: dict[str, Callable[[str | None], tuple[Data, list[Fold]]]] = {
    "dsads": _dsads,
    "dsads_small": _dsads_small,
    "dsads_phone": lambda data_home: as_phone(*_dsads(data_home)),
    "dsads_actions": lambda data_home: as_actions(*_dsads(data_home)),
    "dsads_gestures": lambda data_home: as_gestures(*_dsads(data_home)),
    "stress_predict": _stress_predict,
    "physionet2012": _physionet2012,
    "physionet2012_splits": _physionet2012_splits,
    "sepsis": _sepsis,
    **{
        f"hydraulic_{target}": partial(_hydraulic, target)
        for target in ("cooler", "valve", "pump", "accumulator")
    },
    "engines": _engines,
    "pamap2": _pamap2,
    "wesad": _wesad,
    "pamap2_random": _pamap2_random,
    "basic_motions": _basic_motions,
    "japanese_vowels": _japanese_vowels,
    "japanese_vowels_gaps": _japanese_vowels_gaps,
}
