"""Daily and Sports Activities: five motion sensors, 19 activities, 8 subjects."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ..panel import Panel
from ..panel._arguments import check_types
from ._cache import Archive, RemoteFile, cached_arrays, find_file, get_data_home
from ._numbers import numbers

__all__ = ["fetch_dsads"]

# No checksum: the publisher names none, and no copy of the whole file was at hand to take one.
_FILE = RemoteFile(
    name="daily+and+sports+activities.zip",
    url="https://archive.ics.uci.edu/static/public/256/daily+and+sports+activities.zip",
    patterns=("dsads*.zip", "daily_and_sports_activities*.zip"),
)
_POSITIONS = ("torso", "right_arm", "left_arm", "right_leg", "left_leg")
_SENSORS = ("acc", "gyro", "mag")
_RATE, _N_TIMEPOINTS, _N_COLUMNS = 25.0, 125, 45
_ACTIVITIES = (
    "sitting",
    "standing",
    "lying on back",
    "lying on right side",
    "ascending stairs",
    "descending stairs",
    "standing in an elevator",
    "moving around in an elevator",
    "walking in a parking lot",
    "walking on a treadmill, flat",
    "walking on a treadmill, 15 degrees",
    "running on a treadmill",
    "exercising on a stepper",
    "exercising on a cross trainer",
    "cycling, horizontal position",
    "cycling, vertical position",
    "rowing",
    "jumping",
    "playing basketball",
)
_DESCRIPTION = """\
Daily and Sports Activities (UCI 256, CC BY 4.0). Each of 8 subjects did 19 activities for 5
minutes, cut into 60 segments of 5 seconds. Units at 5 positions of the body, each with
accelerometer (m/s2), gyroscope (rad/s) and magnetometer (normalised to the field of the earth),
x, y and z, at 25 Hz. Nothing is missing. Segments of one subject and activity follow each other:
split by `groups`.
Altun, Barshan, Tuncel: Comparative study on classifying human activities with miniature inertial
and magnetic sensors. Pattern Recognition 43 (2010). https://doi.org/10.24432/C5C59F
"""


def fetch_dsads(
    *,
    data_home: str | os.PathLike[str] | None = None,
    modalities: str = "position",
    subjects: Collection[int] | None = None,
    download: bool = True,
    cache: bool = False,
) -> Bunch:
    """Daily and Sports Activities as a Panel of body positions, with activity and subject.

    Parameters
    ----------
    data_home : path or None, default=None
        Folder with ``daily+and+sports+activities.zip`` (or ``dsads*.zip``, also with a part of the
        subjects), or the file. None means the environment variable ``MTS_FUSION_DATA``.
    modalities : {"position", "sensor"}, default="position"
        ``"position"``: 5 modalities of 9 channels, ``torso``, ``right_arm``, ...; ``"sensor"``: 15
        modalities of 3 channels, ``torso_acc``, ``torso_gyro``, ``torso_mag``, ...
    subjects : collection of int or None, default=None
        The subjects to read, 1 to 8; None means all that are in the file.
    download : bool, default=True
        Whether the file may be downloaded where it is not in ``data_home``.
    cache : bool, default=False
        Whether to keep the parsed arrays in ``data_home`` (about 21 MB a subject).

    Returns
    -------
    Bunch
        ``data`` Panel of n segments of 125 timepoints at 25 Hz; ``target`` int ndarray (n,), 0 to
        18; ``groups`` int ndarray (n,), the subject; ``target_names``; ``feature_names``, per
        modality the names of its channels; ``DESCR``. Rows are in order of activity, subject and
        segment.

    Raises
    ------
    FileNotFoundError
        If the file is missing and cannot be downloaded.
    ValueError
        If ``modalities`` is neither, the file lacks a subject, or a segment is damaged.

    References
    ----------
    .. [1] Altun, Barshan, Tuncel, "Comparative study on classifying human activities with miniature
       inertial and magnetic sensors", Pattern Recognition 43, 2010.
       https://doi.org/10.24432/C5C59F

    Examples
    --------
    >>> dsads = fetch_dsads(data_home="data")  # doctest: +SKIP
    >>> dsads.data.schema.names  # doctest: +SKIP
    ('torso', 'right_arm', 'left_arm', 'right_leg', 'left_leg')
    """
    check_types(fetch_dsads, locals())
    if modalities not in ("position", "sensor"):
        raise ValueError(f"modalities is 'position' or 'sensor', got {modalities!r}.")
    path = find_file("fetch_dsads", _FILE, data_home, download=download)
    wanted = None if subjects is None else sorted(set(subjects))
    arrays = cached_arrays(
        lambda: _parse(Archive(path), wanted),
        [path],
        home=get_data_home(data_home),
        name=f"dsads {wanted or 'all'}",
        cache=cache,
    )
    values, names = {}, {}
    for p, position in enumerate(_POSITIONS):
        columns = arrays["values"][:, 9 * p : 9 * p + 9]  # (n, 9, L)
        axes = [f"{sensor}_{axis}" for sensor in _SENSORS for axis in "xyz"]
        if modalities == "position":
            values[position], names[position] = columns, axes
            continue
        for s, sensor in enumerate(_SENSORS):
            values[f"{position}_{sensor}"] = columns[:, 3 * s : 3 * s + 3]
            names[f"{position}_{sensor}"] = axes[3 * s : 3 * s + 3]
    return Bunch(
        data=Panel(values, rates=dict.fromkeys(values, _RATE), channels=names),
        target=arrays["activity"] - 1,
        groups=arrays["subject"],
        target_names=list(_ACTIVITIES),
        feature_names=names,
        DESCR=_DESCRIPTION,
    )


def _parse(archive: Archive, subjects: list[int] | None) -> dict[str, NDArray[Any]]:
    """Values (n, 45, 125) float32, activity and subject (n,)."""
    files = {
        (int(a), int(p), int(s)): name
        for (a, p, s), name in archive.match(r"a(\d+)/p(\d+)/s(\d+)\.txt").items()
    }
    available = sorted({p for _, p, _ in files})
    lacking = [p for p in (subjects or available) if p not in available]
    if lacking or not files:
        raise ValueError(
            f"{archive.path} holds the subjects {available}; {lacking or 'at least one'} is "
            "wanted. Files are looked for as data/a01/p1/s01.txt."
        )
    keys = sorted(key for key in files if subjects is None or key[1] in subjects)
    values = np.empty((len(keys), _N_COLUMNS, _N_TIMEPOINTS), dtype=np.float32)
    # About a subject's activity at a time: one call of the parser for 60 files, little memory.
    for start in range(0, len(keys), 60):
        chunk = keys[start : start + 60]
        texts = [archive.read(files[key]) for key in chunk]
        try:
            table = numbers(b"\n".join(texts), _N_COLUMNS, "")
            whole = len(table) == len(chunk) * _N_TIMEPOINTS
        except ValueError:
            whole = False
        if not whole:
            _name_the_damaged([files[key] for key in chunk], texts)
        # (segments, L, C) -> (segments, C, L)
        values[start : start + 60] = table.reshape(-1, _N_TIMEPOINTS, _N_COLUMNS).swapaxes(1, 2)
    activity, subject, _ = np.array(keys).T
    return {"values": values, "activity": activity, "subject": subject}


def _name_the_damaged(names: list[str], texts: list[bytes]) -> None:
    for name, text in zip(names, texts, strict=True):
        n_rows = len(numbers(text, _N_COLUMNS, name))
        if n_rows != _N_TIMEPOINTS:
            raise ValueError(
                f"{name} has {n_rows} rows; {_N_TIMEPOINTS} are wanted. The file may be damaged."
            )
