"""C-MAPSS: simulated turbofan engines that run to failure; how many cycles are left."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ..panel import Panel
from ..panel._arguments import check_types
from ._cache import Archive, RemoteFile, find_file
from ._numbers import numbers

__all__ = ["fetch_cmapss"]

# No checksum: the publisher names none, and no copy of the whole file was at hand to take one.
_FILE = RemoteFile(
    name="CMAPSSData.zip",
    url="https://data.nasa.gov/docs/legacy/CMAPSSData.zip",
    patterns=("cmapss*.zip", "*Turbofan*.zip"),
)
# The columns of a file after unit and cycle, in their order.
_COLUMNS = (
    *("altitude", "mach", "TRA"),
    *("T2", "T24", "T30", "T50", "P2", "P15", "P30", "Nf", "Nc", "epr", "Ps30", "phi", "NRf"),
    *("NRc", "BPR", "farB", "htBleed", "Nf_dmd", "PCNfR_dmd", "W31", "W32"),
)
_MODALITIES: dict[str, tuple[str, ...]] = {
    "settings": ("altitude", "mach", "TRA"),
    "temperature": ("T2", "T24", "T30", "T50"),
    "pressure": ("P2", "P15", "P30", "Ps30", "epr"),
    "speed": ("Nf", "Nc", "NRf", "NRc", "Nf_dmd", "PCNfR_dmd"),
    "flow": ("phi", "BPR", "farB", "htBleed"),
    "coolant": ("W31", "W32"),
}
_SUBSETS = ("FD001", "FD002", "FD003", "FD004")
_DESCRIPTION = """\
C-MAPSS turbofan engines (NASA, work of the US government): simulated engines that run until they
fail, a row a flight (a cycle): three operating settings and 21 sensors, with noise. Nothing is
missing. FD001: 100 engines at sea level, one kind of fault. Each sample is a window of neighbouring
cycles; windows of one engine overlap, so split by `groups`. Target: cycles left after the last of
the window, usually capped, as an engine that is still healthy does not show when it will fail.
Saxena, Goebel, Simon, Eklund: Damage propagation modeling for aircraft engine run-to-failure
simulation. PHM 2008. https://doi.org/10.1109/PHM.2008.4711414
"""


def fetch_cmapss(
    *,
    data_home: str | os.PathLike[str] | None = None,
    subset: str = "FD001",
    n_cycles: int = 30,
    step: int = 1,
    max_life: float | None = 125.0,
    download: bool = True,
) -> Bunch:
    """Windows of engines that run to failure as a Panel, with the cycles that are left.

    Parameters
    ----------
    data_home : path or None, default=None
        Folder with ``CMAPSSData.zip`` (or ``cmapss*.zip``, ``*Turbofan*.zip``), or the file. None
        means the environment variable ``MTS_FUSION_DATA``.
    subset : {"FD001", "FD002", "FD003", "FD004"}, default="FD001"
        Which of the four simulations. Its engines that run to failure are read,
        ``train_FD001.txt``; the publisher's test engines are not.
    n_cycles : int, default=30
        Cycles in a window.
    step : int, default=1
        Cycles from one window of an engine to the next. Windows are laid from the failure
        backwards, so the last one always ends in the engine's last cycle.
    max_life : float or None, default=125.0
        Largest target in cycles, for which longer ones are taken; None leaves them.
    download : bool, default=True
        Whether the file may be downloaded where it is not in ``data_home``.

    Returns
    -------
    Bunch
        ``data`` Panel of n windows of ``n_cycles`` timepoints, in the order of engine and cycle;
        ``target`` float ndarray (n,), the cycles left after the window, 0 at the failure;
        ``groups`` int ndarray (n,), the engine; ``cycle`` int ndarray (n,), the last cycle of the
        window; ``target_names``; ``feature_names``, per modality its channels; ``DESCR``.

    Raises
    ------
    FileNotFoundError
        If the file is missing and cannot be downloaded.
    ValueError
        If an option is out of range, or the file is damaged; the message names file and line.

    Notes
    -----
    The clock counts cycles, not seconds: the rate of 1.0 is one value per cycle. The modalities
    are ``settings`` (3 channels), ``temperature`` (4), ``pressure`` (5), ``speed`` (6), ``flow``
    (4, fuel flow and ratios) and ``coolant`` (2). An engine with fewer cycles than a window has one
    window, NaN at its beginning, so that every window ends where its target begins.

    References
    ----------
    .. [1] Saxena, Goebel, Simon, Eklund, "Damage propagation modeling for aircraft engine
       run-to-failure simulation", PHM, 2008. https://doi.org/10.1109/PHM.2008.4711414

    Examples
    --------
    >>> engines = fetch_cmapss(data_home="data", step=10)  # doctest: +SKIP
    >>> engines.data.schema.names  # doctest: +SKIP
    ('settings', 'temperature', 'pressure', 'speed', 'flow', 'coolant')
    """
    check_types(fetch_cmapss, locals())
    if subset not in _SUBSETS:
        raise ValueError(f"subset is one of {list(_SUBSETS)}, got {subset!r}.")
    for name, given in (("n_cycles", n_cycles), ("step", step)):
        if not given >= 1:
            raise ValueError(f"{name} is at least 1, got {given}.")
    if max_life is not None and not max_life > 0:
        raise ValueError(f"max_life is above 0, or None for no cap, got {max_life}.")
    path = find_file("fetch_cmapss", _FILE, data_home, download=download)
    table = _parse(Archive(path), subset)
    unit, cycle = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    last = _last_rows(unit)
    left = cycle[last][np.searchsorted(last, np.arange(len(table)))] - cycle
    # Every step-th row before a failure ends a window, if there are enough cycles before it.
    ends = np.flatnonzero((left % step == 0) & ((cycle >= n_cycles) | (left == 0)))
    rows = ends[:, None] + np.arange(1 - n_cycles, 1)  # (n, L)
    before = cycle[ends][:, None] + np.arange(1 - n_cycles, 1) < 1  # of an engine too short
    sensors = table[:, 2:].astype(np.float32)
    values = {}
    for name, channels in _MODALITIES.items():
        columns = [_COLUMNS.index(channel) for channel in channels]
        windows = sensors[:, columns][np.maximum(rows, 0)].swapaxes(1, 2)  # (n, C, L)
        values[name] = np.where(before[:, None], np.float32(np.nan), windows)
    names = {name: list(channels) for name, channels in _MODALITIES.items()}
    target = left[ends].astype(np.float64)
    return Bunch(
        data=Panel(values, rates=dict.fromkeys(values, 1.0), channels=names),
        target=target if max_life is None else np.minimum(target, max_life),
        groups=unit[ends],
        cycle=cycle[ends],
        target_names=["remaining life (cycles)"],
        feature_names=names,
        DESCR=_DESCRIPTION,
    )


def _parse(archive: Archive, subset: str) -> NDArray[Any]:
    """Rows (R, 26): unit, cycle, settings and sensors; units and cycles are whole and in order."""
    name = archive.match(rf"train_{subset}\.txt").get(())
    if name is None:
        raise ValueError(f"{archive.path} lacks train_{subset}.txt.")
    table = numbers(archive.read(name), 2 + len(_COLUMNS), name, first_line=1)
    if not len(table):
        raise ValueError(f"{name} has no row. The file may be damaged.")
    unit, cycle = table[:, 0], table[:, 1]
    begins = np.diff(unit, prepend=0) != 0
    wanted = np.where(begins, 1, 1 + np.concatenate([[0], cycle[:-1]]))
    bad = np.flatnonzero((cycle != wanted) | (np.diff(unit, prepend=0) < 0) | (unit % 1 != 0))
    if len(bad):
        row = bad[0]
        raise ValueError(
            f"{name}, line {row + 1}: cycle {wanted[row]:g} of an engine is wanted, engines one "
            f"after the other, got engine {unit[row]:g}, cycle {cycle[row]:g}. The file may be "
            "damaged."
        )
    return table


def _last_rows(unit: NDArray[Any]) -> NDArray[np.intp]:
    """The last row of each unit."""
    return np.append(np.flatnonzero(np.diff(unit)), len(unit) - 1)
