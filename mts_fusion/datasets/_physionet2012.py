"""PhysioNet/CinC Challenge 2012: 48 hours in intensive care, irregular; who died in hospital."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ..panel import Panel
from ..panel._arguments import check_types
from ._cache import Archive, RemoteFile, cached_arrays, find_file, get_data_home
from ._numbers import numbers

__all__ = ["fetch_physionet2012"]

_URL = "https://physionet.org/files/challenge-2012/1.0.0/"
_HOURS = 48
_DESCRIPTORS = ("Age", "Gender", "Height", "ICUType")
_ICU_TYPES = ("coronary", "cardiac_surgery", "medical", "surgical")
# The 37 variables of the challenge by organ or system; pH is a blood gas, drawn with them.
_ORGANS: dict[str, tuple[str, ...]] = {
    "cardiovascular": (
        "HR",
        "SysABP",
        "DiasABP",
        "MAP",
        "NISysABP",
        "NIDiasABP",
        "NIMAP",
        "TroponinI",
        "TroponinT",
    ),
    "respiratory": ("RespRate", "SaO2", "FiO2", "PaO2", "PaCO2", "pH", "MechVent"),
    "neurological": ("GCS",),
    "renal": ("Urine", "BUN", "Creatinine"),
    "metabolic": ("Glucose", "Lactate", "HCO3", "Na", "K", "Mg"),
    "hepatic": ("ALT", "AST", "ALP", "Bilirubin", "Albumin", "Cholesterol"),
    "haematological": ("HCT", "WBC", "Platelets"),
    "general": ("Temp", "Weight"),
}
_VARIABLES = tuple(name for names in _ORGANS.values() for name in names)
# What CSDI and its successors impute: all but a constant flag and the weight.
_CSDI_VARIABLES = tuple(v for v in _VARIABLES if v not in ("MechVent", "Weight"))
_OUTCOMES = ("SAPS-I", "SOFA", "Length_of_stay", "Survival", "In-hospital_death")
# Added to the number of a parameter, so that no number in a file is taken for one.
_CODE = 1_000_000
_DESCRIPTION = """\
PhysioNet/Computing in Cardiology Challenge 2012 (ODC-BY 1.0): the first 48 hours of stays of
adults in intensive care (4,000 a set), 37 variables at irregular times and general descriptors.
Target: death in hospital (14 % of set A). What is unknown (-1 in the files, of any variable) is
NaN; implausible values (a temperature of -17.8) are left as they are. Each stay is another patient.
Silva, Moody, Scott, Celi, Mark: Predicting in-hospital mortality of ICU patients: The
PhysioNet/Computing in Cardiology Challenge 2012. https://doi.org/10.13026/7v1e-9p21
"""


def fetch_physionet2012(
    *,
    data_home: str | os.PathLike[str] | None = None,
    subset: str = "a",
    grouping: str = "organ",
    variables: str | Collection[str] = "all",
    hourly: bool = False,
    static: bool = True,
    download: bool = True,
    cache: bool = False,
) -> Bunch:
    """Intensive-care stays as a Panel of irregular modalities, with death in hospital.

    Parameters
    ----------
    data_home : path or None, default=None
        Folder with ``set-a.zip`` (or ``*set-a*.zip``) and ``Outcomes-a.txt`` (or
        ``*Outcomes-a*.txt``). None means the environment variable ``MTS_FUSION_DATA``.
    subset : {"a", "b", "c"}, default="a"
        Set of the challenge.
    grouping : {"organ", "variable", "single"}, default="organ"
        Modalities: 8 organ systems (cardiovascular, respiratory, neurological, renal, metabolic,
        hepatic, haematological, general), one per variable, or a single one called ``"stay"``.
    variables : {"all", "csdi"} or collection of str, default="all"
        The variables to keep: all 37; the 35 of CSDI's protocol (without ``Weight`` and
        ``MechVent``); or those named.
    hourly : bool, default=False
        False keeps the times, in seconds since admission. True gives 48 timepoints, one an hour,
        each with the last value in the hour, as in CSDI's protocol.
    static : bool, default=True
        Whether the descriptors are a modality ``"static"`` of one timepoint: age (years), gender
        (1 male), height (cm), and one channel for each of four types of intensive care unit.
    download : bool, default=True
        Whether the files may be downloaded where they are not in ``data_home``.
    cache : bool, default=False
        Whether to keep the parsed rows in ``data_home`` (about 30 MB).

    Returns
    -------
    Bunch
        ``data`` Panel of n stays; ``target`` int ndarray (n,), 1 for death in hospital; ``groups``
        int ndarray (n,), the RecordID; ``outcomes``, dict of ndarray (n,): ``SAPS-I``, ``SOFA``,
        ``Length_of_stay`` (days), ``Survival`` (days, -1 if unknown), ``In-hospital_death``;
        ``target_names``; ``feature_names``, per modality its channels; ``DESCR``.

    Raises
    ------
    FileNotFoundError
        If a file is missing and cannot be downloaded.
    ValueError
        If an option is unknown, a stay has no outcome, or a file is damaged or holds a parameter
        that is no variable of the challenge; the message names file and line.

    Notes
    -----
    Where a variable has several values at one time, the last one in the file counts.

    References
    ----------
    .. [1] Silva et al., "Predicting in-hospital mortality of ICU patients: The
       PhysioNet/Computing in Cardiology Challenge 2012". https://doi.org/10.13026/7v1e-9p21
    .. [2] Tashiro et al., "CSDI", NeurIPS 2021. https://arxiv.org/abs/2107.03502

    Examples
    --------
    >>> stays = fetch_physionet2012(data_home="data")  # doctest: +SKIP
    >>> stays.data.times["renal"].shape[0] == len(stays.target)  # doctest: +SKIP
    True
    """
    check_types(fetch_physionet2012, locals())
    if subset not in ("a", "b", "c"):
        raise ValueError(f"subset is 'a', 'b' or 'c', got {subset!r}.")
    modalities = _modalities(grouping, variables)
    home = get_data_home(data_home)
    sources = [
        find_file("fetch_physionet2012", file, home, download=download) for file in _files(subset)
    ]
    rows = cached_arrays(
        lambda: _parse(Archive(sources[0]), sources[1].read_bytes()),
        sources,
        home=home,
        name=f"physionet2012 {subset}",
        cache=cache,
    )
    record = rows["record"]  # (n,) sorted RecordIDs
    values: dict[str, NDArray[Any]] = {}
    times: dict[str, NDArray[Any]] = {}
    rates: dict[str, float | None] = {}
    for name, of_modality in modalities.items():
        entries = _entries(rows, of_modality)
        if hourly:
            values[name] = _on_the_hour(*entries, len(record), len(of_modality))
            rates[name] = 1 / 3600
        else:
            values[name], times[name] = _irregular(*entries, len(record), len(of_modality))
    names: dict[str, list[str]] = {name: list(modalities[name]) for name in modalities}
    if static:
        values["static"] = _static(rows["descriptors"])
        names["static"] = ["Age", "Gender", "Height", *(f"ICUType_{t}" for t in _ICU_TYPES)]
    outcomes = {name: rows["outcomes"][:, i] for i, name in enumerate(_OUTCOMES)}
    return Bunch(
        data=Panel(values, times=times, rates=rates, channels=names),
        target=outcomes["In-hospital_death"],
        groups=record,
        outcomes=outcomes,
        target_names=["survived", "died in hospital"],
        feature_names=names,
        DESCR=_DESCRIPTION,
    )


def _files(subset: str) -> tuple[RemoteFile, RemoteFile]:
    # No checksums: no list of the publisher's was at hand to take them from.
    stays, outcomes = f"set-{subset}.zip", f"Outcomes-{subset}.txt"
    return (
        RemoteFile(stays, _URL + stays, patterns=(f"*set-{subset}*.zip",)),
        RemoteFile(outcomes, _URL + outcomes, patterns=(f"*{outcomes}",)),
    )


def _modalities(grouping: str, variables: str | Collection[str]) -> dict[str, tuple[str, ...]]:
    """Variables of each modality."""
    if isinstance(variables, str):
        sets = {"all": _VARIABLES, "csdi": _CSDI_VARIABLES}
        if variables not in sets:
            raise ValueError(f"variables is 'all', 'csdi' or a list of names, got {variables!r}.")
        kept: tuple[str, ...] = sets[variables]
    else:
        unknown = [name for name in variables if name not in _VARIABLES]
        if unknown or not len(variables):
            raise ValueError(
                f"variables has {unknown or 'no name'}; the variables are {list(_VARIABLES)}."
            )
        kept = tuple(name for name in _VARIABLES if name in variables)
    if grouping == "organ":
        groups: Mapping[str, tuple[str, ...]] = _ORGANS
    elif grouping == "variable":
        groups = {name: (name,) for name in kept}
    elif grouping == "single":
        groups = {"stay": kept}
    else:
        raise ValueError(f"grouping is 'organ', 'variable' or 'single', got {grouping!r}.")
    chosen = {name: tuple(v for v in members if v in kept) for name, members in groups.items()}
    return {name: members for name, members in chosen.items() if members}


def _parse(archive: Archive, outcomes: bytes) -> dict[str, NDArray[Any]]:
    """Rows of all stays as columns: stay, minute, variable, value; and their descriptors.

    The names of the variables become numbers before the text is parsed, so that all of the some
    million rows are parsed in one step.
    """
    files = {int(key): name for (key,), name in archive.match(r"(\d+)\.txt").items()}
    if not files:
        raise ValueError(
            f"{archive.path} holds no stay; files such as set-a/132539.txt are wanted."
        )
    header = b"Time,Parameter,Value"
    texts = []
    for stay, name in sorted(files.items()):
        text = archive.read(name).strip()
        if not text.startswith(header):
            raise ValueError(f"{name} does not start with {header.decode()!r}; it may be damaged.")
        # A row of ours marks where a stay begins; that of the file is a repetition.
        texts.append(b"00:00,RecordID,%d\n" % stay + text[len(header) :].strip())
    joined = b"\n" + b"\n".join(texts).replace(b"\r", b"") + b"\n"
    codes = {name: i for i, name in enumerate((*_VARIABLES, *_DESCRIPTORS))}
    codes["RecordID"] = -1
    codes[""] = -2  # a few rows of the sets B and C have no parameter
    for name, code in codes.items():
        joined = joined.replace(b",%s," % name.encode(), b",%d," % (_CODE + code))
    try:
        table = numbers(joined.replace(b":", b","), 4, str(archive.path))
        whole = np.isfinite(table[:, :2]).all() and np.isin(
            table[:, 2], _CODE + np.array(list(codes.values()))
        )
    except ValueError:
        whole = np.array(False)
    if not whole.all():
        _name_the_damaged(archive, [files[stay] for stay in sorted(files)], list(codes))
    hour, minute, variable, value = table.T
    variable = variable - _CODE
    stays = np.array(sorted(files))
    marker = variable == -1
    stay = np.searchsorted(stays, value[marker])[np.cumsum(marker) - 1]
    descriptors = np.full((len(stays), len(_DESCRIPTORS)), np.nan, dtype=np.float32)
    is_descriptor = variable >= len(_VARIABLES)
    column = (variable[is_descriptor] - len(_VARIABLES)).astype(int)
    descriptors[stay[is_descriptor], column] = value[is_descriptor]
    descriptors[descriptors < 0] = np.nan
    measured = (variable >= 0) & ~is_descriptor
    measured &= value != -1
    measured &= ~((variable == _VARIABLES.index("Weight")) & (value <= 0))
    return {
        "record": stays,
        "descriptors": descriptors,
        "outcomes": _parse_outcomes(outcomes, stays),
        "stay": stay[measured].astype(np.int32),
        "minute": (60 * hour + minute)[measured].astype(np.int32),
        "variable": variable[measured].astype(np.int16),
        "value": value[measured].astype(np.float32),
    }


def _name_the_damaged(archive: Archive, files: list[str], parameters: list[str]) -> None:
    row_of = re.compile(rb"\d+:\d+,([^,]*),([^,]*)")
    for file in files:
        for line, row in enumerate(archive.read(file).splitlines(), start=1):
            if line == 1 or not row.strip():
                continue
            match = row_of.fullmatch(row.strip())
            try:
                float(match[2] if match else "")
            except ValueError:
                raise ValueError(
                    f"{file}, line {line}: a row such as 00:07,HR,73 is wanted, got "
                    f"{row.decode('utf-8', 'replace')!r}. The file may be damaged."
                ) from None
            if match and (name := match[1].decode("utf-8", "replace")) not in parameters:
                raise ValueError(
                    f"{file}, line {line}: {name!r} is no parameter of the challenge. The file may "
                    f"be damaged; the parameters are {[n for n in parameters if n]}."
                )
    raise ValueError(f"{archive.path} may be damaged: not every row could be read.")


def _parse_outcomes(text: bytes, stays: NDArray[Any]) -> NDArray[Any]:
    """Outcomes (n, 5) int of the stays, in their order."""
    header, _, rows = text.replace(b"\r", b"").strip().partition(b"\n")
    if header.decode().split(",") != ["RecordID", *_OUTCOMES]:
        raise ValueError(f"The outcomes start with {header[:80]!r}; RecordID,... is wanted.")
    what = "The file of outcomes"
    table = numbers(rows, 1 + len(_OUTCOMES), what, first_line=2)
    bad = np.argwhere(~np.isfinite(table))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{what}, line {row + 2}: {('RecordID', *_OUTCOMES)[column]} is a number, got "
            f"{table[row, column]:g}. The file may be damaged."
        )
    table = table.astype(np.int64)
    order = np.argsort(table[:, 0])
    index = np.searchsorted(table[order, 0], stays).clip(max=len(table) - 1)
    table = table[order][index]
    lacking = stays[table[:, 0] != stays]
    if len(lacking):
        raise ValueError(f"{len(lacking)} stays have no outcome, the first is {lacking[0]}.")
    return table[:, 1:]


def _entries(
    rows: Mapping[str, NDArray[Any]], variables: tuple[str, ...]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Stay, minute, channel and value of the rows of some variables, sorted by stay and time."""
    channel_of = np.full(len(_VARIABLES), -1)
    channel_of[[_VARIABLES.index(name) for name in variables]] = np.arange(len(variables))
    channel = channel_of[rows["variable"]]
    kept = np.flatnonzero(channel >= 0)
    kept = kept[
        np.lexsort((rows["minute"][kept], rows["stay"][kept]))
    ]  # stable: the last stays last
    return rows["stay"][kept], rows["minute"][kept], channel[kept], rows["value"][kept]


def _irregular(
    stay: NDArray[Any],
    minute: NDArray[Any],
    channel: NDArray[Any],
    value: NDArray[Any],
    n: int,
    n_channels: int,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values (n, C, L) and times (n, L) in seconds; one timepoint per minute with any value."""
    new_stay = np.diff(stay, prepend=-1) != 0
    new_time = new_stay | (np.diff(minute, prepend=-1) != 0)
    timepoint = np.cumsum(new_time) - 1  # over all stays
    first = np.zeros(n, dtype=np.int64)
    first[stay[new_stay]] = timepoint[new_stay]
    position = timepoint - first[stay]  # within the stay
    length = int(position.max(initial=0)) + 1
    values = np.full((n, n_channels, length), np.nan, dtype=np.float32)
    values[stay, channel, position] = value  # of equal positions the last one wins
    times = np.full((n, length), np.nan)
    times[stay, position] = 60.0 * minute
    return values, times


def _on_the_hour(
    stay: NDArray[Any],
    minute: NDArray[Any],
    channel: NDArray[Any],
    value: NDArray[Any],
    n: int,
    n_channels: int,
) -> NDArray[Any]:
    """Values (n, C, 48): the last one of each hour; what was measured at 48:00 has none."""
    inside = minute < 60 * _HOURS
    values = np.full((n, n_channels, _HOURS), np.nan, dtype=np.float32)
    values[stay[inside], channel[inside], minute[inside] // 60] = value[inside]
    return values


def _static(descriptors: NDArray[Any]) -> NDArray[Any]:
    """Age, gender, height and the type of unit as 0 and 1: (n, 7, 1)."""
    icu = descriptors[:, 3:]
    one_hot = np.where(np.isnan(icu), np.nan, icu == np.arange(1, 5))
    return np.concatenate([descriptors[:, :3], one_hot], axis=1)[:, :, None].astype(np.float32)
