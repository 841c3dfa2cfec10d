"""Stress-Predict: an hour of a wrist sensor per subject, each signal at its own rate."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ..panel._arguments import check_types
from ._cache import Archive, RemoteFile, cached_arrays, find_file, get_data_home
from ._numbers import numbers
from ._segment import check_windows, segment

__all__ = ["fetch_stress_predict"]

# No checksum: the archive of a branch is packed anew by the publisher's host.
_FILE = RemoteFile(
    name="Stress-Predict-Dataset-main.zip",
    url="https://github.com/italha-d/Stress-Predict-Dataset/archive/refs/heads/main.zip",
    patterns=("stress_predict*.zip", "Stress-Predict-Dataset*.zip", "Stress-Predict-Dataset"),
)
# Modality -> file, channels, unit of one count, names of the channels.
_SIGNALS: dict[str, tuple[str, int, float, tuple[str, ...]]] = {
    "bvp": ("BVP", 1, 1.0, ("bvp",)),
    "acc": ("ACC", 3, 1 / 64, ("x", "y", "z")),
    "eda": ("EDA", 1, 1.0, ("eda",)),
    "temp": ("TEMP", 1, 1.0, ("temp",)),
    "hr": ("HR", 1, 1.0, ("hr",)),
    "ibi": ("IBI", 1, 1.0, ("ibi",)),
}
_LABELS = "Improved_All_Combined_hr_rsp_binary.csv"
_DESCRIPTION = """\
Stress-Predict (MIT licence): 35 healthy volunteers wore an Empatica E4 for about an hour of three
tasks that cause stress (Stroop test, interview, hyperventilation) with rest between them. Blood
volume pulse (64 Hz), acceleration (g, 32 Hz), skin conductance (microsiemens, 4 Hz), skin
temperature (degrees Celsius, 4 Hz), heart rate (1/min, 1 Hz), intervals between beats (seconds,
irregular). Target: 0 rest, 1 stress, from labels per second; participant 1 has none and is left
out.
Iqbal et al.: Stress monitoring using wearable sensors: a pilot study and Stress-Predict dataset.
Sensors 22 (2022) 8135. https://doi.org/10.3390/s22218135
"""


def fetch_stress_predict(
    *,
    data_home: str | os.PathLike[str] | None = None,
    window_seconds: float = 30.0,
    step_seconds: float | None = 15.0,
    min_share: float = 0.5,
    modalities: Collection[str] = ("bvp", "acc", "eda", "temp", "hr"),
    subjects: Collection[int] | None = None,
    download: bool = True,
    cache: bool = False,
) -> Bunch:
    """Windows of the Stress-Predict recordings as a Panel, with stress or rest and the subject.

    Parameters
    ----------
    data_home : path or None, default=None
        Folder with ``Stress-Predict-Dataset-main.zip`` (or ``stress_predict*.zip``, also with a
        part of the subjects), or the file. None means the environment variable
        ``MTS_FUSION_DATA``.
    window_seconds : float, default=30.0
        Duration of a window in seconds.
    step_seconds : float or None, default=15.0
        Time from one window to the next; None means ``window_seconds``.
    min_share : float, default=0.5
        Share of the labelled seconds of a window that its label has to have.
    modalities : collection of str, default=("bvp", "acc", "eda", "temp", "hr")
        Signals to read. ``"ibi"``, the intervals between beats, is irregular.
    subjects : collection of int or None, default=None
        The subjects to read, 2 to 35; None means all that are in the file and have labels.
    download : bool, default=True
        Whether the file may be downloaded where it is not in ``data_home``.
    cache : bool, default=False
        Whether to keep the parsed recordings in ``data_home`` (about 3 MB a subject).

    Returns
    -------
    Bunch
        ``data`` Panel; ``target`` int ndarray (n,), 0 rest, 1 stress; ``groups`` int ndarray (n,),
        the subject; ``target_names``; ``feature_names``, per modality its channels; ``DESCR``,
        which also counts the seconds whose label is empty, if there are any: they have no label,
        and a window of nothing else is left out.

    Raises
    ------
    FileNotFoundError
        If the file is missing and cannot be downloaded.
    ValueError
        If a modality is unknown, the file lacks a subject or its labels, or is damaged, as by a
        label other than 0 and 1.

    See Also
    --------
    segment : What makes the windows.

    References
    ----------
    .. [1] Iqbal et al., "Stress monitoring using wearable sensors: a pilot study and Stress-Predict
       dataset", Sensors 22, 2022. https://doi.org/10.3390/s22218135

    Examples
    --------
    >>> stress = fetch_stress_predict(data_home="data")  # doctest: +SKIP
    >>> [m.rate for m in stress.data.schema]  # doctest: +SKIP
    [64.0, 32.0, 4.0, 4.0, 1.0]
    """
    check_types(fetch_stress_predict, locals())
    check_windows(window_seconds, step_seconds, min_share)
    unknown = [name for name in modalities if name not in _SIGNALS]
    if unknown or not len(modalities):
        raise ValueError(
            f"modalities has {unknown or 'no name'}; the signals are {list(_SIGNALS)}."
        )
    names = [name for name in _SIGNALS if name in modalities]
    path = find_file("fetch_stress_predict", _FILE, data_home, download=download)
    wanted = None if subjects is None else sorted(set(subjects))
    arrays = cached_arrays(
        lambda: _parse(Archive(path), names, wanted),
        [path],
        home=get_data_home(data_home),
        name=f"stress_predict {names} {wanted or 'all'}",
        cache=cache,
    )
    available = arrays["subjects"].tolist()
    recordings = {
        subject: {
            name: (arrays[f"{subject} {name} times"], arrays[f"{subject} {name} values"])
            for name in names
        }
        for subject in available
    }
    labels = {
        subject: (arrays[f"{subject} label times"], arrays[f"{subject} label values"])
        for subject in available
    }
    n_unlabelled = sum(int(np.isnan(entries).sum()) for _, entries in labels.values())
    panel, y, groups = segment(
        recordings,
        window_seconds=window_seconds,
        step_seconds=step_seconds,
        label=labels,
        min_share=min_share,
        channels={name: _SIGNALS[name][3] for name in names},
        rates={"ibi": None} if "ibi" in names else None,
    )
    return Bunch(
        data=panel,
        target=y.astype(np.int64),  # segment left out what is NaN
        groups=groups,
        target_names=["rest", "stress"],
        feature_names={name: list(_SIGNALS[name][3]) for name in names},
        DESCR=_DESCRIPTION
        + (
            f"{n_unlabelled} seconds here have no label and do not count.\n" if n_unlabelled else ""
        ),
    )


def _parse(
    archive: Archive, names: list[str], subjects: list[int] | None
) -> dict[str, NDArray[Any]]:
    """Times and values of each subject and signal, and of the labels."""
    labels = _parse_labels(archive)
    folders = {int(key) for (key, _) in archive.match(r"S(\d+)/(BVP|ACC|EDA|TEMP|HR|IBI)\.csv")}
    available = sorted(folders & set(labels))
    lacking = [subject for subject in (subjects or available) if subject not in available]
    if lacking or not available:
        raise ValueError(
            f"{archive.path} holds the labelled subjects {available}; {lacking or 'at least one'} "
            "is wanted. Files are looked for as Raw_data/S02/BVP.csv."
        )
    chosen = available if subjects is None else subjects
    arrays: dict[str, NDArray[Any]] = {"subjects": np.array(chosen)}
    for subject in chosen:
        times, values = labels[subject]
        arrays[f"{subject} label times"], arrays[f"{subject} label values"] = times, values
        for name in names:
            times, values = _parse_signal(archive, subject, name)
            arrays[f"{subject} {name} times"] = times
            arrays[f"{subject} {name} values"] = values
    return arrays


def _parse_labels(archive: Archive) -> dict[int, tuple[NDArray[Any], NDArray[Any]]]:
    """Times (T,) in seconds since 1970 and labels (T,), NaN if empty, of each participant."""
    files = archive.match(_LABELS.replace(".", r"\."))
    if not files:
        raise ValueError(f"{archive.path} lacks the labels, Processed_data/{_LABELS}.")
    header, _, rows = archive.read(files[()]).partition(b"\n")
    wanted = "Participant,HR,respr,Time(sec),Label"
    if header.decode("utf-8-sig").strip() != wanted:
        raise ValueError(f"{_LABELS} starts with {header[:80]!r}; {wanted!r} is wanted.")
    table = numbers(rows, 5, _LABELS, first_line=2)
    ok = np.isfinite(table[:, [0, 3]]).all(axis=1)  # participant and time
    ok &= np.isnan(table[:, 4]) | np.isin(table[:, 4], (0, 1))
    if not ok.all():
        row = np.flatnonzero(~ok)[0]
        raise ValueError(
            f"{_LABELS}, line {row + 2}: a participant, a time and a label of 0, 1 or nothing are "
            f"wanted, got {table[row, 0]:g}, {table[row, 3]:g} and {table[row, 4]:g}. The file may "
            "be damaged."
        )
    table = table[np.lexsort((table[:, 3], table[:, 0]))]
    participant, first = np.unique(table[:, 0].astype(int), return_index=True)
    blocks = np.split(table, first[1:])
    return {
        int(p): (block[:, 3], block[:, 4]) for p, block in zip(participant, blocks, strict=True)
    }


def _parse_signal(archive: Archive, subject: int, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Times (T,) in seconds since 1970 and values (T, C) float32 of one E4 export."""
    stem, n_channels, unit, _ = _SIGNALS[name]
    files = archive.match(rf"S0*{subject}/{stem}\.csv")
    if not files:  # a recording may lack a signal
        return np.empty(0), np.empty((0, n_channels), dtype=np.float32)
    file = files[()]
    content = archive.read(file).removeprefix(b"\xef\xbb\xbf")  # the mark some editors put first
    if not content.strip():  # a sensor that wrote nothing
        return np.empty(0), np.empty((0, n_channels), dtype=np.float32)
    first, _, rows = content.partition(b"\n")
    start = float(first.split(b",")[0])
    if name == "ibi":  # seconds since the start, interval
        table = numbers(rows, 2, file) if rows.strip() else np.empty((0, 2))
        return start + table[:, 0], table[:, 1:].astype(np.float32)
    second, _, rows = rows.partition(b"\n")
    rate = float(second.split(b",")[0])
    values = numbers(rows, n_channels, file)
    return start + np.arange(len(values)) / rate, (values * unit).astype(np.float32)
