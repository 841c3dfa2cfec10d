"""Panels in a folder, read only as far as they are used."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._align import gather_timepoints, has_value, silence
from ._arguments import check_types
from ._checks import check_ids, check_key
from ._panel import Panel
from ._schema import Modality, Schema, Vocabulary

__all__ = ["DTYPES", "FORMAT", "HEADER", "PART_BYTES", "StoredPanel", "loaded_parts", "open_panel"]

PART_BYTES = 2**25
"""Values that are read at a time."""

FORMAT = 1
"""Version of the files, in their header."""

HEADER = "panel.json"
DTYPES = {"values": ("<f4", "<i2"), "times": ("<f8",), "observed": ("|b1",)}


class _Stored(NamedTuple):
    """An array in a file of its own, sample after sample."""

    path: Path
    dtype: str
    shape: tuple[int, ...]

    def read(self, rows: range | np.ndarray) -> np.ndarray:
        """Some samples: a view of the file for a range, otherwise a copy."""
        if 0 in self.shape:
            return np.empty((len(rows), *self.shape[1:]), self.dtype)
        array = np.asarray(np.memmap(self.path, self.dtype, "r", shape=self.shape))
        if isinstance(rows, range) and rows.step > 0:
            return array[rows.start : rows.stop : rows.step]
        return array[np.asarray(rows, np.intp)]


class _Lazy(Mapping[str, Any]):
    """An array by modality, read when it is asked for."""

    def __init__(self, names: Iterable[str], read: Callable[[str], Any]) -> None:
        self._names, self._read = dict.fromkeys(names), read

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class StoredPanel(Panel):
    """A panel whose arrays stay in a folder; made by :meth:`Panel.open`.

    Slices read nothing, and a pickle holds the path, not the data. What ``values``, ``times`` and
    ``observed`` give is read at each access, and not kept.
    """

    def __init__(
        self,
        folder: Path,
        schema: Schema,
        files: Mapping[str, Mapping[str, _Stored | None]],
        rows: range | np.ndarray,
        ids: np.ndarray | None,
    ) -> None:
        self.folder, self.schema = folder, schema
        self._files, self._rows = files, rows
        self._n, self._ids = len(rows), ids
        self._derived = {}
        self._values, self._times, self._carried = (  # type: ignore[assignment]
            _Lazy(schema.names, self._reader(what)) for what in DTYPES
        )
        self._present: np.ndarray | None = None
        self._function: Callable[[str, np.ndarray], np.ndarray] | None = None
        self._lengths: dict[str, int] = {}

    def _reader(self, what: str) -> Callable[[str], np.ndarray | None]:
        def read(name: str) -> np.ndarray | None:
            array = self._read(name, what)
            if array is None:
                return None
            if self._function is not None and what == "values":
                array = self._function(name, array)
            if name not in self._lengths:
                return array
            unset = {"values": silence(self.schema[name], ()), "times": np.nan, "observed": False}
            kept = self._any_observed(name)
            return gather_timepoints(array, kept, self._lengths[name], unset[what])

        return read

    def _read(self, name: str, what: str) -> np.ndarray | None:
        """An array as it is in its file; None if there is none."""
        file = self._files[name][what]
        return None if file is None else file.read(self._rows)

    def _any_observed(self, name: str) -> np.ndarray:
        """Timepoints ``(n, L)`` of the files at which anything was observed."""
        carried = self._read(name, "observed")
        if carried is None:
            carried = has_value(self.schema[name], np.asarray(self._read(name, "values")))
        return np.asarray(carried.any(1))

    def mapped(self, function: Callable[[str, np.ndarray], np.ndarray]) -> StoredPanel:
        """The same panel, the values of which pass through a function each time they are read.

        Parameters
        ----------
        function : callable
            From the name of a modality and values ``(n, C, L)`` to values of that shape, with NaN
            in the same places.

        Returns
        -------
        StoredPanel
            Nothing is read.
        """
        new = self._like(self.schema, self._rows, self._ids)
        new._function = function
        return new

    def shortened(self, lengths: Mapping[str, int]) -> StoredPanel:
        """The same panel without the timepoints at which nothing was observed.

        They are left out each time the arrays are read.

        Parameters
        ----------
        lengths : dict of str to int
            Timepoints of modalities with irregular times, at least those of which anything was
            observed in any sample. The others stay as they are.

        Returns
        -------
        StoredPanel
            Nothing is read.
        """
        modalities = [
            replace(m, n_timepoints=lengths.get(m.name, m.n_timepoints)) for m in self.schema
        ]
        new = self._like(Schema(tuple(modalities)), self._rows, self._ids)
        new._lengths, new._present = {**self._lengths, **lengths}, self._present
        return new

    def _like(
        self, schema: Schema, rows: range | np.ndarray, ids: np.ndarray | None
    ) -> StoredPanel:
        new = StoredPanel(self.folder, schema, self._files, rows, ids)
        new._function, new._lengths = self._function, self._lengths
        return new

    @property
    def values(self) -> Any:
        """Values by modality, ``(n, C, L)``, read at each access."""
        return self._values

    @property
    def times(self) -> Any:
        """Times in seconds by modality, ``(n, L)``, read at each access; None if regular."""
        return self._times

    @property
    def observed(self) -> Any:
        """Whether each value was measured, by modality, ``(n, C, L)``, made at each access."""
        return _Lazy(self.schema.names, self._observed)

    def _observed(self, name: str) -> np.ndarray:
        observed = super()._observed(name)
        self._derived.clear()
        return observed

    @property
    def available(self) -> np.ndarray:
        """Whether anything of each modality was observed, bool ``(n, M)``; kept."""
        if self._present is None:
            parts = [part.available for part in loaded_parts(self)]
            self._present = np.concatenate(parts)
        return self._present

    def __getitem__(self, key: Any) -> StoredPanel:
        rows = check_key(key, self._n)
        chosen = self._rows[rows] if isinstance(rows, slice) else np.asarray(self._rows)[rows]
        ids = None if self._ids is None else self._ids[rows]
        new = self._like(self.schema, chosen, ids)
        new._present = None if self._present is None else self._present[rows]
        return new

    def select(self, names: str | Sequence[str]) -> StoredPanel:
        """Only the modalities named, in that order; see :meth:`Panel.select`."""
        names = [names] if isinstance(names, str) else list(names)
        schema = Schema(tuple(self.schema[name] for name in names))
        return self._like(schema, self._rows, self._ids)

    def __reduce__(self) -> tuple[Any, ...]:
        where = str(self.folder.resolve())
        names = self.schema.names
        return _reopened, (where, self._rows, names, self._function, self._lengths)


def _reopened(
    folder: str,
    rows: range | np.ndarray,
    names: Sequence[str],
    function: Callable[[str, np.ndarray], np.ndarray] | None = None,
    lengths: Mapping[str, int] | None = None,
) -> StoredPanel:
    panel = open_panel(folder).select(names).shortened(lengths or {})
    panel._function = function
    if isinstance(rows, range) and rows.step > 0:
        return panel[rows.start : rows.stop : rows.step]
    return panel[np.asarray(rows, np.intp)]


def loaded_parts(X: Any) -> Iterator[Any]:
    """A stored panel in parts that fit into memory; anything else as it is.

    Parameters
    ----------
    X : Panel or other input
        n samples.

    Yields
    ------
    Panel or other input
        Consecutive samples; at least one part.
    """
    if not isinstance(X, StoredPanel):
        yield X
        return
    size = sum(4 * m.n_channels * m.n_timepoints for m in X.schema)
    step = max(1, PART_BYTES // max(size, 1))
    for start in range(0, max(len(X), 1), step):
        part = X[start : start + step]
        new = object.__new__(Panel)
        new.schema, new._n, new._ids = part.schema, part._n, part._ids
        new._values, new._times = dict(part._values), dict(part._times)
        new._carried = dict(part._carried)
        new._derived = {}
        yield new


def open_panel(folder: str | PathLike[str]) -> StoredPanel:
    """The panel of a folder; see :meth:`Panel.open`."""
    check_types(open_panel, locals())
    folder = Path(folder)
    header = _read_header(folder)
    try:
        schema = Schema(tuple(map(_modality, header["modalities"])))
        arrays, n = [dict(had) for had in header["arrays"]], range(header["n_samples"])
        ids = check_ids(header["sample_ids"], len(n))
        pairs = list(zip(schema, arrays, strict=True))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder / HEADER, error) from None
    files = {
        m.name: {what: _stored(folder, i, m, what, len(n), had) for what in DTYPES}
        for i, (m, had) in enumerate(pairs)
    }
    for m in schema:
        if files[m.name]["values"] is None:
            raise _damaged(folder / HEADER, f"modality {m.name!r} has no values")
    return StoredPanel(folder, schema, files, n, ids)


def _damaged(path: Path, why: object) -> ValueError:
    return ValueError(f"{path} is damaged: {why}. Copy the folder, or save the panel, again.")


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is not a saved panel, or saving it was interrupted: it has no {HEADER}. "
            "Save it again with panel.save(folder)."
        )
    try:
        header: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        newer = header["format"] > FORMAT
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None
    if newer:
        raise ValueError(
            f"{path} has format {header['format']}; this version of mts_fusion reads up to "
            f"{FORMAT}. Install a newer one."
        )
    return header


def _modality(given: dict[str, Any]) -> Modality:
    vocabulary = given.pop("vocabulary")
    if vocabulary is not None:
        vocabulary = Vocabulary(**{k: _tuple(v) for k, v in vocabulary.items()})
    return Modality(**{k: _tuple(v) for k, v in given.items()}, vocabulary=vocabulary)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _stored(
    folder: Path, i: int, m: Modality, what: str, n: int, had: dict[str, str]
) -> _Stored | None:
    if what not in had:
        return None
    path, dtype = folder / f"{i}.{what}.bin", had[what]
    if dtype not in DTYPES[what]:
        raise ValueError(f"{path} has type {dtype!r}; {what} are one of {DTYPES[what]}.")
    shape = (n, m.n_timepoints) if what == "times" else (n, m.n_channels, m.n_timepoints)
    if not path.is_file():
        raise FileNotFoundError(f"{path} of modality {m.name!r} is gone. Copy the folder again.")
    wanted, size = math.prod(shape) * np.dtype(dtype).itemsize, path.stat().st_size
    if size != wanted:
        raise ValueError(
            f"{path} has {size:,} bytes, {wanted:,} are wanted: it was cut or changed. Copy the "
            "whole folder again."
        )
    return _Stored(path, dtype, shape)
