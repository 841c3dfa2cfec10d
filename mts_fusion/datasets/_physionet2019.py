"""PhysioNet/CinC Challenge 2019: hours in intensive care, mostly unmeasured; who gets sepsis."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ..panel import Panel
from ..panel._arguments import check_types
from ._cache import Archive, RemoteFile, cached_arrays, find_file, get_data_home
from ._numbers import numbers

__all__ = ["fetch_physionet2019"]

_URL = "https://archive.physionet.org/users/shared/challenge-2019/"
# What is measured by the hour, by kind; lactate is listed with the chemistry.
_KINDS: dict[str, tuple[str, ...]] = {
    "vitals": ("HR", "O2Sat", "Temp", "SBP", "MAP", "DBP", "Resp", "EtCO2"),
    "blood_gas": ("BaseExcess", "HCO3", "FiO2", "pH", "PaCO2", "SaO2"),
    "chemistry": (
        "AST",
        "BUN",
        "Alkalinephos",
        "Calcium",
        "Chloride",
        "Creatinine",
        "Bilirubin_direct",
        "Glucose",
        "Lactate",
        "Magnesium",
        "Phosphate",
        "Potassium",
        "Bilirubin_total",
        "TroponinI",
    ),
    "haematology": ("Hct", "Hgb", "PTT", "WBC", "Fibrinogen", "Platelets"),
}
_DESCRIPTORS = ("Age", "Gender", "Unit1", "Unit2", "HospAdmTime")
_VARIABLES = tuple(name for names in _KINDS.values() for name in names)
# The columns of a file are in this order.
_COLUMNS = (*_VARIABLES, *_DESCRIPTORS, "ICULOS", "SepsisLabel")
_FIRST_OF_B = 100_000  # patients of hospital B have numbers from here on
_CHUNK = 256  # patients parsed in one call: about 2 MB of text
_DESCRIPTION = """\
PhysioNet/Computing in Cardiology Challenge 2019 (CC BY 4.0): adults in intensive care in two
hospitals (A: 20,336 patients, B: 20,000), a row an hour of 8 vital signs and 26 laboratory values,
of which most are not measured in most hours, and descriptors of the patient. Target: whether
sepsis (Sepsis-3) begins at any time of the record (8.8 % of A). The publisher's label is 1 from six
hours before the onset, and the record of a patient with sepsis has at most ten rows from the
first label of 1; so the hours given here may hold the onset or end before it, and the length of a
record depends on the target. To predict ahead, take fewer hours and leave out by `onset`. Each
sample is another patient.
Reyna, Josef, Jeter, Shashikumar, Westover, Nemati, Clifford, Sharma: Early prediction of sepsis
from clinical data: the PhysioNet/Computing in Cardiology Challenge 2019. Critical Care Medicine 48
(2020). https://doi.org/10.13026/v64v-d857
"""


def fetch_physionet2019(
    *,
    data_home: str | os.PathLike[str] | None = None,
    hospitals: str | Collection[str] | None = None,
    n_hours: int | None = 60,
    static: bool = True,
    download: bool = True,
    cache: bool = False,
) -> Bunch:
    """Hours in intensive care as a Panel of irregular modalities, with sepsis of the patient.

    Parameters
    ----------
    data_home : path or None, default=None
        Folder with ``training_setA.zip``, ``training_setB.zip`` or both (or
        ``*training_setA*.zip``, ...; or unpacked folders), or one such file. None means the
        environment variable ``MTS_FUSION_DATA``.
    hospitals : str or collection of {"A", "B"} or None, default=None
        The hospitals to read. None means those whose files are in ``data_home``; where there are
        none, both.
    n_hours : int or None, default=60
        Rows to keep of each patient, from the first on; a row is an hour. None keeps all (up to
        336), of which most are padding: 95 % of the patients of A have 58 or fewer.
    static : bool, default=True
        Whether the descriptors are a modality ``"descriptors"`` of one timepoint: age (years),
        gender (1 male), medical and surgical unit (0 or 1), and the time of the admission to
        hospital (hours after that to the unit, so mostly negative), as in the first row.
    download : bool, default=True
        Whether files may be downloaded where they are not in ``data_home``.
    cache : bool, default=False
        Whether to keep the parsed rows in ``data_home`` (about 100 MB a hospital).

    Returns
    -------
    Bunch
        ``data`` Panel of n patients; ``target`` int ndarray (n,), 1 if the label is 1 in any row of
        the whole record; ``groups`` int ndarray (n,), the number of the patient; ``hospital`` str
        ndarray (n,), ``"A"`` or ``"B"``; ``onset`` ndarray (n,), seconds since the admission to the
        unit at which the label becomes 1, up to six hours before sepsis, NaN if it never does;
        ``target_names``; ``feature_names``, per modality its channels; ``DESCR``.

    Raises
    ------
    FileNotFoundError
        If a file is missing and cannot be downloaded.
    ValueError
        If an option is unknown, or a file is damaged; the message names file and line.

    Notes
    -----
    The modalities are ``vitals`` (8 channels), ``blood_gas`` (6), ``chemistry`` (14),
    ``haematology`` (6) and ``descriptors`` (5). A modality has a timepoint for each hour in which
    any of its channels was measured. Times are seconds since the admission to the unit: the first
    hour is 0. About a third of the records begin later than that. ``ICULOS``, the hour, is the
    clock and no channel.

    References
    ----------
    .. [1] Reyna et al., "Early prediction of sepsis from clinical data: the PhysioNet/Computing in
       Cardiology Challenge 2019", Critical Care Medicine 48, 2020.
       https://doi.org/10.13026/v64v-d857

    Examples
    --------
    >>> patients = fetch_physionet2019(data_home="data")  # doctest: +SKIP
    >>> patients.data.schema.names  # doctest: +SKIP
    ('vitals', 'blood_gas', 'chemistry', 'haematology', 'descriptors')
    """
    check_types(fetch_physionet2019, locals())
    if hospitals is not None and (not len(hospitals) or set(hospitals) - {"A", "B"}):
        raise ValueError(f"hospitals has 'A', 'B' or both, got {list(hospitals)}.")
    if n_hours is not None and not n_hours >= 1:
        raise ValueError(f"n_hours is at least 1, or None for all, got {n_hours}.")
    home = get_data_home(data_home)
    sources = _find(home, hospitals, download)
    rows = cached_arrays(
        lambda: _parse(sources, hospitals, n_hours),
        sources,
        home=home,
        name=f"physionet2019 {hospitals and sorted(set(hospitals))} {n_hours}",
        cache=cache,
    )
    patients = rows["patient"]  # (n,) sorted
    values: dict[str, NDArray[Any]] = {}
    times: dict[str, NDArray[Any]] = {}
    names: dict[str, list[str]] = {}
    for name, of_kind in _KINDS.items():
        first = _VARIABLES.index(of_kind[0])
        columns = rows["values"][:, first : first + len(of_kind)]
        values[name], times[name] = _measured(rows["row_of"], rows["hour"], columns, len(patients))
        names[name] = list(of_kind)
    if static:
        values["descriptors"] = rows["descriptors"][:, :, None]
        names["descriptors"] = list(_DESCRIPTORS)
    return Bunch(
        data=Panel(values, times=times, channels=names),
        target=(~np.isnan(rows["onset"])).astype(np.int64),
        groups=patients,
        hospital=np.where(patients < _FIRST_OF_B, "A", "B"),
        onset=rows["onset"],
        target_names=["no sepsis", "sepsis"],
        feature_names=names,
        DESCR=_DESCRIPTION,
    )


def _find(home: Path, hospitals: Collection[str] | None, download: bool) -> list[Path]:
    """Files of the hospitals wanted; of those that are there, where nothing else is said."""
    files = {
        # No checksums: no list of the publisher's was at hand to take them from.
        letter: RemoteFile(
            f"training_set{letter}.zip",
            f"{_URL}training_set{letter}.zip",
            patterns=(f"*training_set{letter}*.zip",),
        )
        for letter in ("A", "B")
    }
    loader = "fetch_physionet2019"
    if hospitals is not None:
        paths = [find_file(loader, files[h], home, download=download) for h in sorted(hospitals)]
    else:
        paths = []
        for file in files.values():
            try:
                paths.append(find_file(loader, file, home, download=False))
            except FileNotFoundError:
                continue
        if not paths:
            paths = [find_file(loader, file, home, download=download) for file in files.values()]
    return list(dict.fromkeys(paths))  # data_home may itself be the one file of both


def _parse(
    sources: list[Path], hospitals: Collection[str] | None, n_hours: int | None
) -> dict[str, NDArray[Any]]:
    """Rows of all patients, one after the other, and the descriptors of each patient."""
    wanted = {"A", "B"} if hospitals is None else set(hospitals)
    files: dict[int, tuple[Archive, str]] = {}
    for path in sources:
        archive = Archive(path)
        for (key,), name in archive.match(r"p(\d+)\.psv").items():
            if ("A" if int(key) < _FIRST_OF_B else "B") in wanted:
                files[int(key)] = (archive, name)
    if not files:
        raise ValueError(
            f"{[str(path) for path in sources]} hold no patient of the hospitals {sorted(wanted)}; "
            "files such as training_setA/p000001.psv are wanted."
        )
    patients = sorted(files)
    kept: dict[str, list[NDArray[Any]]] = {"values": [], "hour": [], "row_of": []}
    of_patient: dict[str, list[NDArray[Any]]] = {"descriptors": [], "onset": []}
    for start in range(0, len(patients), _CHUNK):
        chunk = [files[patient] for patient in patients[start : start + _CHUNK]]
        table, length = _parse_chunk(chunk)
        first = np.cumsum(length) - length
        row_of = np.repeat(np.arange(len(chunk)), length)
        hour, label = table[:, -2], table[:, -1]
        septic = np.flatnonzero(label == 1)
        onset = np.full(len(chunk), np.nan)
        onset[row_of[septic[::-1]]] = 3600.0 * (hour[septic[::-1]] - 1)  # the earliest wins
        of_patient["onset"].append(onset)
        of_patient["descriptors"].append(table[first, len(_VARIABLES) : -2].astype(np.float32))
        keep = np.arange(len(table)) - first[row_of] < (n_hours or np.inf)
        kept["values"].append(table[keep, : len(_VARIABLES)].astype(np.float32))
        kept["hour"].append(hour[keep].astype(np.int32) - 1)
        kept["row_of"].append((start + row_of[keep]).astype(np.int32))
    parts = {**kept, **of_patient}
    return {"patient": np.array(patients), **{k: np.concatenate(v) for k, v in parts.items()}}


def _parse_chunk(
    files: list[tuple[Archive, str]],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows of some patients (R, 41) and the number of rows of each."""
    header = "|".join(_COLUMNS).encode()
    texts = []
    for archive, name in files:
        first, _, rows = archive.read(name).replace(b"\r", b"").partition(b"\n")
        if first.strip() != header or not rows.strip():
            raise ValueError(
                f"{name}, line {2 if first.strip() == header else 1}: the columns "
                f"{_COLUMNS[0]}|...|{_COLUMNS[-1]} and at least one row are wanted. The file may "
                "be damaged."
            )
        texts.append(rows.strip().replace(b"|", b","))
    try:
        table = numbers(b"\n".join(texts), len(_COLUMNS), "", first_line=1)
        length = np.array([text.count(b"\n") + 1 for text in texts])
        whole = length.sum() == len(table)
    except ValueError:
        whole = False
    tables = [table] if whole else []
    if not whole:  # blank lines, or a damaged file, which this names
        tables = [
            numbers(text, len(_COLUMNS), name, first_line=2)
            for (_, name), text in zip(files, texts, strict=True)
        ]
        table, length = np.concatenate(tables), np.array([len(part) for part in tables])
    first = np.cumsum(length) - length
    row_of = np.repeat(np.arange(len(files)), length)
    hour, label = table[:, -2], table[:, -1]
    backwards = np.diff(hour, prepend=0) <= 0
    backwards[first] = ~(hour[first] >= 1)
    bad = np.flatnonzero(backwards | ~np.isfinite(hour) | ~np.isin(label, (0, 1)))
    if len(bad):
        row = bad[0]
        raise ValueError(
            f"{files[row_of[row]][1]}, line {row - first[row_of[row]] + 2}: an hour (ICULOS) of 1 "
            f"or more that increases and a SepsisLabel of 0 or 1 are wanted, got {hour[row]:g} and "
            f"{label[row]:g}. The file may be damaged."
        )
    return table, length


def _measured(
    row_of: NDArray[Any], hour: NDArray[Any], columns: NDArray[Any], n: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values (n, C, L) and times (n, L) in seconds of the hours in which anything was measured."""
    measured = np.flatnonzero(~np.isnan(columns).all(axis=1))
    sample = row_of[measured]
    count = np.bincount(sample, minlength=n)
    position = np.arange(len(measured)) - (np.cumsum(count) - count)[sample]
    length = max(1, int(count.max(initial=0)))
    values = np.full((n, columns.shape[1], length), np.nan, dtype=np.float32)
    values[sample, :, position] = columns[measured]
    times = np.full((n, length), np.nan)
    times[sample, position] = 3600.0 * hour[measured]
    return values, times
