"""Condition monitoring of hydraulic systems: load cycles of a minute, 17 sensors, five targets."""

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

__all__ = ["fetch_hydraulic"]

# No checksum: the publisher names none, and no copy of the whole file was at hand to take one.
_FILE = RemoteFile(
    name="condition+monitoring+of+hydraulic+systems.zip",
    url="https://archive.ics.uci.edu/static/public/447/condition+monitoring+of+hydraulic+systems.zip",
    patterns=("hydraulic*.zip", "condition_monitoring_of_hydraulic_systems*.zip"),
)
_SECONDS = 60  # of a load cycle
# Sensor -> what it measures, and its unit.
_SENSORS = {
    **{f"PS{i}": "pressure (bar)" for i in range(1, 7)},
    "EPS1": "motor power (W)",
    **{f"FS{i}": "volume flow (l/min)" for i in (1, 2)},
    **{f"TS{i}": "temperature (degrees Celsius)" for i in range(1, 5)},
    "VS1": "vibration (mm/s)",
    "CE": "cooling efficiency (%), virtual",
    "CP": "cooling power (kW), virtual",
    "SE": "efficiency factor (%)",
}
# Target -> published value -> name, in the order of the columns of profile.txt.
_TARGETS: dict[str, dict[int, str]] = {
    "cooler": {3: "close to total failure", 20: "reduced efficiency", 100: "full efficiency"},
    "valve": {73: "close to total failure", 80: "severe lag", 90: "small lag", 100: "optimal"},
    "pump": {0: "no leakage", 1: "weak leakage", 2: "severe leakage"},
    "accumulator": {
        90: "close to total failure",
        100: "severely reduced pressure",
        115: "slightly reduced pressure",
        130: "optimal pressure",
    },
    "stable": {0: "stable", 1: "may not have been stable yet"},
}
_DESCRIPTION = """\
Condition monitoring of hydraulic systems (UCI 447, CC BY 4.0): 2,205 load cycles of 60 seconds on a
test rig whose cooler, valve, pump and accumulator were made worse in steps. 17 sensors: pressures
and motor power (published at 100 Hz), volume flows (10 Hz), temperatures, vibration and virtual
sensors (1 Hz). Nothing is missing. Targets: condition of the four components, and whether the rig
had settled. The conditions change slowly from cycle to cycle, and so does the oil: cycles next to
each other are almost copies, so split by `groups`, blocks of neighbouring cycles.
Helwig, Pignanelli, Schuetze: Condition monitoring of a complex hydraulic system using multivariate
statistics. IEEE I2MTC 2015. https://doi.org/10.24432/C5CW21
"""


def fetch_hydraulic(
    *,
    data_home: str | os.PathLike[str] | None = None,
    target: str | None = "cooler",
    modalities: Collection[str] | None = None,
    block_size: int = 147,
    download: bool = True,
    cache: bool = False,
) -> Bunch:
    """Load cycles of a hydraulic rig as a Panel of 17 sensors, with the state of its components.

    Parameters
    ----------
    data_home : path or None, default=None
        Folder with ``condition+monitoring+of+hydraulic+systems.zip`` (or ``hydraulic*.zip``, also
        with a part of the cycles, or averaged to a lower rate), or the file. None means the
        environment variable ``MTS_FUSION_DATA``.
    target : {"cooler", "valve", "pump", "accumulator", "stable", "all"} or None, default="cooler"
        Which of the five targets to return. ``"all"`` or None returns all, as columns.
    modalities : collection of str or None, default=None
        Sensors to read, such as ``["PS1", "TS1"]``; None means all 17.
    block_size : int, default=147
        Neighbouring cycles in a group. Conditions change slowly, so a cycle held out must not have
        its neighbours in training; 147 divides the published 2,205 cycles into 15 blocks.
    download : bool, default=True
        Whether the file may be downloaded where it is not in ``data_home``.
    cache : bool, default=False
        Whether to keep the parsed arrays in ``data_home`` (about 400 MB of the published file).

    Returns
    -------
    Bunch
        ``data`` Panel of n cycles in their order, each sensor a modality of one channel named as
        its file; ``target`` int ndarray (n,), or (n, 5) of all, counting the published values of a
        target from 0 in increasing order; ``groups`` int ndarray (n,), the block of the cycle from
        0; ``conditions``, dict of int ndarray (n,), the published values (cooler and valve in
        percent, pump as a level, accumulator in bar); ``target_names``, the classes, or of all a
        dict of them by target; ``feature_names``, per modality what it measures; ``DESCR``.

    Raises
    ------
    FileNotFoundError
        If the file is missing and cannot be downloaded.
    ValueError
        If an option is unknown, a sensor is missing, or a file is damaged; the message names file
        and line.

    Notes
    -----
    The rate is inferred from the values of a cycle: 60 are 1 Hz, 600 are 10 Hz, 6000 are 100 Hz.

    References
    ----------
    .. [1] Helwig, Pignanelli, Schuetze, "Condition monitoring of a complex hydraulic system using
       multivariate statistics", IEEE I2MTC, 2015. https://doi.org/10.24432/C5CW21

    Examples
    --------
    >>> cycles = fetch_hydraulic(data_home="data", target="valve")  # doctest: +SKIP
    >>> cycles.target_names  # doctest: +SKIP
    ['close to total failure', 'severe lag', 'small lag', 'optimal']
    """
    check_types(fetch_hydraulic, locals())
    if target not in (None, "all", *_TARGETS):
        raise ValueError(f"target is one of {list(_TARGETS)}, 'all' or None, got {target!r}.")
    unknown = [name for name in modalities or () if name not in _SENSORS]
    if unknown or (modalities is not None and not len(modalities)):
        raise ValueError(
            f"modalities has {unknown or 'no name'}; the sensors are {list(_SENSORS)}."
        )
    if not block_size >= 1:
        raise ValueError(f"block_size is at least 1, got {block_size}.")
    names = [name for name in _SENSORS if modalities is None or name in modalities]
    path = find_file("fetch_hydraulic", _FILE, data_home, download=download)
    arrays = cached_arrays(
        lambda: _parse(Archive(path), names),
        [path],
        home=get_data_home(data_home),
        name=f"hydraulic {names if modalities else 'all'}",
        cache=cache,
    )
    profile = arrays.pop("profile")
    conditions = dict(zip(_TARGETS, profile.T, strict=True))
    codes = {name: np.searchsorted(list(_TARGETS[name]), y) for name, y in conditions.items()}
    classes = {name: list(of_target.values()) for name, of_target in _TARGETS.items()}
    one = target is not None and target != "all"
    return Bunch(
        data=Panel(
            {name: values[:, None] for name, values in arrays.items()},  # (n, L) -> (n, 1, L)
            rates={name: values.shape[1] / _SECONDS for name, values in arrays.items()},
            channels={name: [_SENSORS[name]] for name in arrays},
        ),
        target=codes[str(target)] if one else np.stack(list(codes.values()), axis=1),
        groups=np.arange(len(profile)) // block_size,
        conditions=conditions,
        target_names=classes[str(target)] if one else classes,
        feature_names={name: [_SENSORS[name]] for name in names},
        DESCR=_DESCRIPTION,
    )


def _parse(archive: Archive, names: list[str]) -> dict[str, NDArray[Any]]:
    """Values (n, L) float32 of each sensor, and the profile (n, 5) int."""
    files = {key: name for (key,), name in archive.match(r"(\w+)\.txt").items()}
    lacking = [name for name in (*names, "profile") if name not in files]
    if lacking:
        raise ValueError(f"{archive.path} lacks {[f'{name}.txt' for name in lacking]}.")
    arrays = {"profile": _parse_profile(archive, files["profile"])}
    n_cycles = len(arrays["profile"])
    for name in names:
        text = archive.read(files[name]).replace(b"\r", b"")
        n_columns = len(text.partition(b"\n")[0].split())
        if n_columns == 0 or n_columns % _SECONDS:
            raise ValueError(
                f"{files[name]}, line 1: 60, 600 or 6000 values of a cycle (1, 10 or 100 Hz) are "
                f"wanted, got {n_columns}. The file may be damaged."
            )
        table = numbers(text, n_columns, files[name], first_line=1)
        if len(table) != n_cycles:
            raise ValueError(
                f"{files[name]} has {len(table)} rows; {n_cycles} are wanted, as in "
                f"{files['profile']}. The file may be damaged."
            )
        arrays[name] = table.astype(np.float32)
    return arrays


def _parse_profile(archive: Archive, file: str) -> NDArray[Any]:
    """Published values of the five targets, (n, 5) int."""
    table = numbers(archive.read(file), len(_TARGETS), file, first_line=1)
    for column, (name, grades) in enumerate(_TARGETS.items()):
        bad = np.flatnonzero(~np.isin(table[:, column], list(grades)))
        if len(bad):
            raise ValueError(
                f"{file}, line {bad[0] + 1}: the {name} is one of {list(grades)}, got "
                f"{table[bad[0], column]:g}. The file may be damaged."
            )
    return table.astype(np.int64)
