"""WESAD: a chest belt and a wrist band in a laboratory of stress and amusement, 15 subjects."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ..panel._arguments import check_types
from ._array_pickle import read_array_pickle
from ._cache import Archive, RemoteFile, cached_arrays, find_file, get_data_home
from ._segment import check_windows, segment

__all__ = ["fetch_wesad"]

# No checksum: the publisher names none, and no copy of the file was at hand to take one.
_FILE = RemoteFile(
    name="WESAD.zip",
    url="https://uni-siegen.sciebo.de/s/HGdUkoNlW1Ub0Gx/download",
    patterns=("wesad*.zip", "WESAD*.zip"),
)
# Modality -> device and name in the file, rate in Hz, unit of one count, names of the channels.
_AXES = ("x", "y", "z")
_SIGNALS: dict[str, tuple[str, str, float, float, tuple[str, ...]]] = {
    "chest_acc": ("chest", "ACC", 700.0, 1.0, _AXES),
    "ecg": ("chest", "ECG", 700.0, 1.0, ("ecg",)),
    "emg": ("chest", "EMG", 700.0, 1.0, ("emg",)),
    "chest_eda": ("chest", "EDA", 700.0, 1.0, ("eda",)),
    "chest_temp": ("chest", "Temp", 700.0, 1.0, ("temp",)),
    "resp": ("chest", "Resp", 700.0, 1.0, ("resp",)),
    "wrist_acc": ("wrist", "ACC", 32.0, 1 / 64, _AXES),
    "bvp": ("wrist", "BVP", 64.0, 1.0, ("bvp",)),
    "wrist_eda": ("wrist", "EDA", 4.0, 1.0, ("eda",)),
    "wrist_temp": ("wrist", "TEMP", 4.0, 1.0, ("temp",)),
}
_CHEST_RATE = 700
_CONDITIONS = {"baseline": 1, "stress": 2, "amusement": 3, "meditation": 4}
# Labels come at 700 Hz; one in seventy tells where a condition begins to a tenth of a second.
_LABEL_STEP = 70
_DESCRIPTION = """\
WESAD, Wearable Stress and Affect Detection (UCI 465, for research): 15 subjects (2 to 17 without
12) in a laboratory. A RespiBAN on the chest at 700 Hz: acceleration (g), electrocardiogram and
electromyogram (mV), skin conductance (microsiemens), temperature (degrees Celsius), respiration
(%); an Empatica E4 on the wrist: acceleration (g, 32 Hz), blood volume pulse (64 Hz), skin
conductance (microsiemens, 4 Hz), temperature (degrees Celsius, 4 Hz). Both devices were
synchronised by the publisher. Conditions: baseline (reading), stress (Trier test), amusement
(videos), meditation; the rest of the time has no label.
Schmidt et al.: Introducing WESAD, a multimodal dataset for wearable stress and affect detection.
ICMI 2018. https://doi.org/10.1145/3242969.3242985
"""


def fetch_wesad(
    *,
    data_home: str | os.PathLike[str] | None = None,
    window_seconds: float = 60.0,
    step_seconds: float | None = None,
    min_share: float = 1.0,
    conditions: Collection[str] = ("baseline", "stress", "amusement"),
    modalities: Collection[str] | None = None,
    chest_rate: int = 700,
    subjects: Collection[int] | None = None,
    download: bool = True,
    cache: bool = False,
) -> Bunch:
    """Windows of the WESAD recordings as a Panel, with the condition and the subject.

    The publisher synchronised both devices in one pickle file a subject, which is read; a pickle
    can hold code, and any name in it but those of numpy arrays is refused.

    Parameters
    ----------
    data_home : path or None, default=None
        Folder with ``WESAD.zip`` (also with a part of the subjects) or the unpacked folder
        ``WESAD``, or one of them. None means the environment variable ``MTS_FUSION_DATA``.
    window_seconds : float, default=60.0
        Duration of a window in seconds.
    step_seconds : float or None, default=None
        Time from one window to the next; None means ``window_seconds``.
    min_share : float, default=1.0
        Share of a window that its condition has to have; time without a label counts as none.
    conditions : collection of str, default=("baseline", "stress", "amusement")
        The classes, in any order; ``"meditation"`` is the fourth. The time of others has no label.
    modalities : collection of str or None, default=None
        Signals to read; None means all ten: ``chest_acc``, ``ecg``, ``emg``, ``chest_eda``,
        ``chest_temp``, ``resp``, ``wrist_acc``, ``bvp``, ``wrist_eda``, ``wrist_temp``.
    chest_rate : int, default=700
        Rate in Hz of the signals of the chest, a divisor of 700. Below 700 each value is the mean
        of ``700 / chest_rate`` values. At 700 a window of 60 s has 42,000 timepoints.
    subjects : collection of int or None, default=None
        The subjects to read; None means all that are in the file.
    download : bool, default=True
        Whether the file may be downloaded where it is not in ``data_home``.
    cache : bool, default=False
        Whether to keep the parsed recordings in ``data_home``.

    Returns
    -------
    Bunch
        ``data`` Panel; ``target`` int ndarray (n,), the position in ``target_names``; ``groups``
        int ndarray (n,), the subject; ``target_names``; ``feature_names``, per modality its
        channels; ``DESCR``.

    Raises
    ------
    FileNotFoundError
        If the file is missing and cannot be downloaded.
    ValueError
        If a modality or condition is unknown, ``chest_rate`` does not divide 700, the file lacks a
        subject, is damaged, or holds anything but arrays.

    See Also
    --------
    segment : What makes the windows.

    References
    ----------
    .. [1] Schmidt et al., "Introducing WESAD, a multimodal dataset for wearable stress and affect
       detection", ICMI, 2018. https://doi.org/10.1145/3242969.3242985

    Examples
    --------
    >>> wesad = fetch_wesad(data_home="data", chest_rate=70)  # doctest: +SKIP
    >>> wesad.data.schema["ecg"].n_timepoints  # doctest: +SKIP
    4200
    """
    check_types(fetch_wesad, locals())
    check_windows(window_seconds, step_seconds, min_share)
    wanted = list(_SIGNALS) if modalities is None else list(modalities)
    for parameter, given, known in (
        ("modalities", wanted, list(_SIGNALS)),
        ("conditions", list(conditions), list(_CONDITIONS)),
    ):
        unknown = [name for name in given if name not in known]
        if unknown or not given:
            raise ValueError(f"{parameter} has {unknown or 'no name'}; there are {known}.")
    if chest_rate < 1 or _CHEST_RATE % chest_rate:
        raise ValueError(f"chest_rate is a divisor of {_CHEST_RATE} Hz, got {chest_rate!r}.")
    names = [name for name in _SIGNALS if name in wanted]
    classes = [name for name in _CONDITIONS if name in conditions]
    chosen = None if subjects is None else sorted(set(subjects))
    path = find_file("fetch_wesad", _FILE, data_home, download=download)
    arrays = cached_arrays(
        lambda: _parse(Archive(path), names, chosen, _CHEST_RATE // chest_rate),
        [path],
        home=get_data_home(data_home),
        name=f"wesad {names} {chest_rate} {chosen or 'all'}",
        cache=cache,
    )
    rates = {
        name: float(chest_rate) if _SIGNALS[name][0] == "chest" else _SIGNALS[name][2]
        for name in names
    }
    recordings, labels = {}, {}
    for subject in arrays["subjects"].tolist():
        recordings[subject] = {
            name: _on_clock(arrays[f"{subject} {name}"], rates[name]) for name in names
        }
        code = arrays[f"{subject} label"]
        target = np.full(len(code), np.nan)
        for k, condition in enumerate(classes):
            target[code == _CONDITIONS[condition]] = k
        labels[subject] = _on_clock(target, _CHEST_RATE / _LABEL_STEP)
    channels = {name: list(_SIGNALS[name][4]) for name in names}
    panel, y, groups = segment(
        recordings,
        window_seconds=window_seconds,
        step_seconds=step_seconds,
        label=labels,
        min_share=min_share,
        channels=channels,
        rates=rates,
    )
    return Bunch(
        data=panel,
        target=y.astype(np.int64),
        groups=groups,
        target_names=classes,
        feature_names=channels,
        DESCR=_DESCRIPTION,
    )


def _on_clock(values: NDArray[Any], rate: float) -> tuple[NDArray[np.float64], NDArray[Any]]:
    return np.arange(len(values)) / rate, values


def _parse(
    archive: Archive, names: list[str], subjects: list[int] | None, n_averaged: int
) -> dict[str, NDArray[Any]]:
    """Values (T, C) of each subject and signal in their units, and every 70th label."""
    files = {int(key): name for (key,), name in archive.match(r"S(\d+)\.pkl").items()}
    lacking = [subject for subject in (subjects or files) if subject not in files]
    if lacking or not files:
        raise ValueError(
            f"{archive.path} holds the subjects {sorted(files)}; {lacking or 'at least one'} is "
            "wanted. Files are looked for as WESAD/S2/S2.pkl."
        )
    chosen = sorted(files) if subjects is None else subjects
    arrays: dict[str, NDArray[Any]] = {"subjects": np.array(chosen)}
    for subject in chosen:
        file = files[subject]
        content = read_array_pickle(archive.read(file), file)
        for name in names:
            device, key, _, unit, channels = _SIGNALS[name]
            values = _signal(content, file, ("signal", device, key))
            if values.ndim != 2 or values.shape[1] != len(channels):
                raise ValueError(
                    f"{file}: {device} {key} has the shape {values.shape}; (timepoints, "
                    f"{len(channels)}) is wanted. The file may be damaged."
                )
            values = values * unit
            if device == "chest" and n_averaged > 1:
                n = len(values) // n_averaged
                values = values[: n * n_averaged].reshape(n, n_averaged, -1).mean(1)
            arrays[f"{subject} {name}"] = values.astype(np.float32)
        label = _signal(content, file, ("label",))
        arrays[f"{subject} label"] = label.astype(np.int16)[::_LABEL_STEP]
    return arrays


def _signal(content: Any, file: str, keys: tuple[str, ...]) -> NDArray[Any]:
    """The array under nested keys."""
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            raise ValueError(f"{file} has no {' '.join(keys)}; it may be another file.")
        content = content[key]
    if not isinstance(content, np.ndarray):
        raise ValueError(f"{file}: {' '.join(keys)} is no array; it may be another file.")
    return content
