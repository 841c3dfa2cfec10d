"""PAMAP2: three motion sensors and a heart-rate belt, 12 activities, 9 subjects."""

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

__all__ = ["fetch_pamap2"]

# No checksum: the publisher names none, and no copy of the file was at hand to take one.
_FILE = RemoteFile(
    name="pamap2+physical+activity+monitoring.zip",
    url="https://archive.ics.uci.edu/static/public/231/pamap2+physical+activity+monitoring.zip",
    patterns=("PAMAP2_Dataset*.zip", "pamap2*.zip", "PAMAP2_Dataset"),
)
_RATE, _N_COLUMNS = 100.0, 54
_ACTIVITIES = {
    1: "lying",
    2: "sitting",
    3: "standing",
    4: "walking",
    5: "running",
    6: "cycling",
    7: "Nordic walking",
    12: "ascending stairs",
    13: "descending stairs",
    16: "vacuum cleaning",
    17: "ironing",
    24: "rope jumping",
}
# Columns of the three units, counted from 0; each has the same 17 channels.
_UNITS = {"hand": 3, "chest": 20, "ankle": 37}
_CHANNELS = (
    "temperature",
    *(f"acc16_{axis}" for axis in "xyz"),
    *(f"acc6_{axis}" for axis in "xyz"),
    *(f"gyro_{axis}" for axis in "xyz"),
    *(f"mag_{axis}" for axis in "xyz"),
    *(f"orientation_{i}" for i in range(4)),
)
_DESCRIPTION = """\
PAMAP2 Physical Activity Monitoring (UCI 231, CC BY 4.0), protocol part: 9 subjects (101 to 109), 12
activities. Inertial units at hand, chest and ankle at 100 Hz, each with temperature (degrees
Celsius), two accelerometers (m/s2, range 16 g and 6 g), gyroscope (rad/s), magnetometer
(microtesla) and orientation (4 numbers which the publisher calls invalid); heart rate (1/min) at
about 9 Hz. Gaps of the wireless units are NaN. Transient seconds (activity 0) have no label.
Reiss, Stricker: Introducing a new benchmarked dataset for activity monitoring. ISWC 2012.
https://doi.org/10.24432/C5NW2H
"""


def fetch_pamap2(
    *,
    data_home: str | os.PathLike[str] | None = None,
    window_seconds: float = 1.0,
    step_seconds: float | None = 0.5,
    min_share: float = 0.5,
    orientation: bool = True,
    heart_rate: str = "irregular",
    subjects: Collection[int] | None = None,
    download: bool = True,
    cache: bool = False,
) -> Bunch:
    """Windows of the PAMAP2 protocol as a Panel, with activity and subject.

    Parameters
    ----------
    data_home : path or None, default=None
        Folder with ``pamap2+physical+activity+monitoring.zip`` or ``PAMAP2_Dataset.zip``, or the
        file. None means the environment variable ``MTS_FUSION_DATA``.
    window_seconds : float, default=1.0
        Duration of a window in seconds: 100 timepoints of the motion sensors.
    step_seconds : float or None, default=0.5
        Time from one window to the next; None means ``window_seconds``.
    min_share : float, default=0.5
        Share of a window that its activity has to have; transient seconds count as none.
    orientation : bool, default=True
        Whether the four channels of orientation, which the publisher calls invalid, are kept:
        17 channels a unit or 13.
    heart_rate : {"irregular", "grid"}, default="irregular"
        ``"irregular"``: the values that are there, with their times. ``"grid"``: at 100 Hz as in
        the file, nine of ten NaN.
    subjects : collection of int or None, default=None
        The subjects to read, 101 to 109; None means all that are in the file.
    download : bool, default=True
        Whether the file may be downloaded where it is not in ``data_home``.
    cache : bool, default=False
        Whether to keep the parsed recordings in ``data_home`` (about 70 MB a subject).

    Returns
    -------
    Bunch
        ``data`` Panel with the modalities ``hand``, ``chest``, ``ankle`` and ``heart_rate``;
        ``target`` int ndarray (n,), 0 to 11; ``groups`` int ndarray (n,), the subject;
        ``target_names``; ``feature_names``, per modality its channels; ``DESCR``.

    Raises
    ------
    FileNotFoundError
        If the file is missing and cannot be downloaded.
    ValueError
        If ``heart_rate`` is neither, the file lacks a subject, or is damaged.

    See Also
    --------
    segment : What makes the windows.

    References
    ----------
    .. [1] Reiss, Stricker, "Introducing a new benchmarked dataset for activity monitoring", ISWC
       2012. https://doi.org/10.24432/C5NW2H

    Examples
    --------
    >>> pamap2 = fetch_pamap2(data_home="data")  # doctest: +SKIP
    >>> pamap2.data.schema["hand"].n_timepoints  # doctest: +SKIP
    100
    """
    check_types(fetch_pamap2, locals())
    check_windows(window_seconds, step_seconds, min_share)
    if heart_rate not in ("irregular", "grid"):
        raise ValueError(f"heart_rate is 'irregular' or 'grid', got {heart_rate!r}.")
    path = find_file("fetch_pamap2", _FILE, data_home, download=download)
    wanted = None if subjects is None else sorted(set(subjects))
    arrays = cached_arrays(
        lambda: _parse(Archive(path), wanted),
        [path],
        home=get_data_home(data_home),
        name=f"pamap2 {wanted or 'all'}",
        cache=cache,
    )
    available = arrays["subjects"].tolist()
    channels = list(_CHANNELS if orientation else _CHANNELS[:-4])
    recordings, labels = {}, {}
    for subject in available:
        times, values = arrays[f"{subject} times"], arrays[f"{subject} values"]
        activity = arrays[f"{subject} activity"]
        # Columns of `values`: heart rate, then the units.
        recordings[subject] = {
            unit: (times, values[:, first - 2 : first - 2 + len(channels)])
            for unit, first in _UNITS.items()
        }
        recordings[subject]["heart_rate"] = (times, values[:, 0])
        code = np.searchsorted(list(_ACTIVITIES), activity).clip(max=len(_ACTIVITIES) - 1)
        labelled = np.isin(activity, list(_ACTIVITIES))
        labels[subject] = (times, np.where(labelled, code, np.nan))
    names = {**dict.fromkeys(_UNITS, channels), "heart_rate": ["heart_rate"]}
    panel, y, groups = segment(
        recordings,
        channels=names,
        window_seconds=window_seconds,
        step_seconds=step_seconds,
        label=labels,
        min_share=min_share,
        rates={
            **dict.fromkeys(_UNITS, _RATE),
            "heart_rate": _RATE if heart_rate == "grid" else None,
        },
    )
    return Bunch(
        data=panel,
        target=y.astype(np.int64),
        groups=groups,
        target_names=list(_ACTIVITIES.values()),
        feature_names=names,
        DESCR=_DESCRIPTION,
    )


def _parse(archive: Archive, subjects: list[int] | None) -> dict[str, NDArray[Any]]:
    """Per subject times (T,), activity (T,) and values (T, 52): heart rate, then the units."""
    files = {
        int(key): name for (key,), name in archive.match(r"Protocol/subject(\d+)\.dat").items()
    }
    lacking = [subject for subject in (subjects or files) if subject not in files]
    if lacking or not files:
        raise ValueError(
            f"{archive.path} holds the subjects {sorted(files)}; {lacking or 'at least one'} is "
            "wanted. Files are looked for as Protocol/subject101.dat."
        )
    chosen = sorted(files) if subjects is None else subjects
    arrays: dict[str, NDArray[Any]] = {"subjects": np.array(chosen)}
    for subject in chosen:
        table = numbers(archive.read(files[subject]), _N_COLUMNS, files[subject])
        arrays[f"{subject} times"] = table[:, 0]
        arrays[f"{subject} activity"] = table[:, 1].astype(np.int16)
        arrays[f"{subject} values"] = table[:, 2:].astype(np.float32)
    return arrays
