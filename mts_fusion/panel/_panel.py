"""Panel: samples of several modalities, each with its own channels, length and clock."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ._frames import as_frame, multiindex_frame, nested_frame, sample_frames
from ._schema import Modality, Schema, Vocabulary

__all__ = ["Panel"]

TOKEN_DTYPE = np.int16


class Panel:
    """Samples of a multimodal time series, with everything that is missing marked as such.

    A panel slices like an array along its samples, so scikit-learn can split it. Its arrays are
    never changed in place; every method that changes something gives a new panel.

    Parameters
    ----------
    values : dict of str to array of shape (n, C, L)
        The numbers of each modality, NaN where missing, or its integer tokens. C and L may differ
        between modalities. A shorter sample is padded with NaN at its end.
    times : dict of str to array of shape (n, L) or None, default=None
        Times in seconds of the modalities with irregular clocks, increasing, NaN where padded.
    rates : dict of str to float or None, default=None
        Sampling rates in Hz of the modalities with regular clocks.
    vocabularies : dict of str to Vocabulary or None, default=None
        The symbols of the modalities that hold tokens.
    observed : dict of str to bool array of shape (n, C, L) or None, default=None
        What was really measured, where this differs from what ``values`` tells: an imputer fills
        the values and hands the mask on. By default, what is neither NaN nor the missing token.

    Attributes
    ----------
    schema : Schema
        Names, channels, lengths, rates and vocabularies.
    values, times, observed : dict
        The arrays by modality. ``times`` holds None for a regular clock.
    shape : tuple of (n, M)
        Number of samples and of modalities.
    available : bool array of shape (n, M)
        Whether anything of a modality was observed in a sample.

    Raises
    ------
    TypeError
        If the values of a modality are not numbers.
    ValueError
        If arrays do not fit together, a value is infinite, a token is unknown, or times decrease.

    Examples
    --------
    >>> import numpy as np
    >>> panel = Panel({"acc": np.zeros((8, 3, 100)), "temp": np.full((8, 1, 4), np.nan)},
    ...               rates={"acc": 25.0, "temp": 1.0})
    >>> panel[:5].shape
    (5, 2)
    >>> panel.available[0]
    array([ True, False])
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        *,
        times: Mapping[str, Any] | None = None,
        rates: Mapping[str, float | None] | None = None,
        vocabularies: Mapping[str, Vocabulary | None] | None = None,
        observed: Mapping[str, Any] | None = None,
    ) -> None:
        times, rates = dict(times or {}), dict(rates or {})
        vocabularies, observed = dict(vocabularies or {}), dict(observed or {})
        for what, given in [
            ("times", times),
            ("rates", rates),
            ("vocabularies", vocabularies),
            ("observed", observed),
        ]:
            unknown = [name for name in given if name not in values]
            if unknown:
                raise ValueError(
                    f"{what} names {unknown}, but the modalities are {list(values)}. "
                    "Remove them or add their values."
                )
        self._values: dict[str, np.ndarray] = {}
        self._times: dict[str, np.ndarray | None] = {}
        self._carried: dict[str, np.ndarray | None] = {}
        modalities = []
        n: int | None = None
        for name, given in values.items():
            array = _check_values(name, given, vocabularies.get(name))
            if n is not None and len(array) != n:
                raise ValueError(
                    f"Modality {name!r} has {len(array)} samples, but "
                    f"{next(iter(values))!r} has {n}. Give each sample a row of NaN where the "
                    "modality is absent."
                )
            n = len(array)
            modalities.append(
                Modality(
                    name,
                    n_channels=array.shape[1],
                    n_timepoints=array.shape[2],
                    rate=None if rates.get(name) is None else float(rates[name]),  # type: ignore[arg-type]
                    vocabulary=vocabularies.get(name),
                    irregular=times.get(name) is not None,
                )
            )
            self._values[name] = array
            self._times[name] = _check_times(name, times.get(name), array)
            if self._times[name] is not None and rates.get(name) is not None:
                raise ValueError(
                    f"Modality {name!r} came with both times and a rate. Give the rate of a "
                    "regular clock or the times of an irregular one."
                )
            self._carried[name] = _check_observed(name, observed.get(name), array)
        self.schema = Schema(tuple(modalities))
        self._n = int(n or 0)
        self._derived: dict[str, np.ndarray] = {}
        for name, clock in self._times.items():
            if clock is not None and (np.isnan(clock)[:, None] & self._observed(name)).any():
                raise ValueError(
                    f"Modality {name!r} has observed values where its times are NaN. Give their "
                    "times, or mark the values as missing with NaN."
                )

    # What it holds

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Values by modality, ``(n, C, L)``: float32 with NaN, or int16 tokens."""
        return dict(self._values)

    @property
    def times(self) -> dict[str, np.ndarray | None]:
        """Times in seconds by modality, ``(n, L)``; None for a regular clock."""
        return dict(self._times)

    @property
    def observed(self) -> dict[str, np.ndarray]:
        """Whether each value was measured, by modality, bool ``(n, C, L)``."""
        return {name: self._observed(name) for name in self.schema.names}

    def _observed(self, name: str) -> np.ndarray:
        carried = self._carried[name]
        if carried is not None:
            return carried
        if name not in self._derived:
            values, vocabulary = self._values[name], self.schema[name].vocabulary
            self._derived[name] = (
                ~np.isnan(values) if vocabulary is None else values != vocabulary.missing
            )
        return self._derived[name]

    @property
    def available(self) -> np.ndarray:
        """Whether anything of each modality was observed, bool ``(n, M)``."""
        return np.stack([self._observed(name).any((1, 2)) for name in self.schema.names], axis=1)

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and modalities."""
        return self._n, len(self.schema)

    def __len__(self) -> int:
        return self._n

    # Rows

    def __getitem__(self, key: Any) -> Panel:
        if isinstance(key, tuple):
            if len(key) != 2 or key[1] is not Ellipsis:
                raise IndexError(
                    "A panel is sliced along its samples only; choose modalities with "
                    "X.select([...])."
                )
            key = key[0]
        if isinstance(key, str):
            raise IndexError(
                f"A panel is sliced along its samples; use X.select([{key!r}]) for the modality, "
                f"X.values[{key!r}] for its array."
            )
        if isinstance(key, (int, np.integer)):
            if not -self._n <= key < self._n:
                raise IndexError(f"Sample {key} of a panel with {self._n} samples.")
            key = slice(int(key) % self._n, int(key) % self._n + 1)
        elif not isinstance(key, slice):
            key = np.asarray(key)
            if key.size == 0:
                key = key.astype(np.intp)
        return self._map(lambda array: array[key])

    def __iter__(self) -> Iterator[Panel]:
        return (self[i] for i in range(self._n))

    def _map(self, change: Any) -> Panel:
        """The same modalities with every array changed alike along the samples."""
        new = object.__new__(Panel)
        new.schema = self.schema
        new._values = {k: change(v) for k, v in self._values.items()}
        new._times = {k: None if v is None else change(v) for k, v in self._times.items()}
        new._carried = {k: None if v is None else change(v) for k, v in self._carried.items()}
        new._derived = {k: change(v) for k, v in self._derived.items()}
        new._n = len(next(iter(new._values.values())))
        return new

    def concat(self, *others: Panel) -> Panel:
        """The samples of this panel, then those of the others.

        Parameters
        ----------
        *others : Panel
            Panels of the same schema. Shorter modalities are padded with NaN.

        Returns
        -------
        Panel
            A new panel.

        Raises
        ------
        ValueError
            If a schema differs, or one panel carries times and another none.
        """
        parts = [self, *others]
        for other in others:
            self.schema.check_matches(other.schema, owner="The first panel")
        values, times, observed = {}, {}, {}
        for modality in self.schema:
            name = modality.name
            length = max(part.schema[name].n_timepoints for part in parts)
            fill = np.nan if modality.vocabulary is None else modality.vocabulary.missing
            values[name] = np.concatenate([_pad(p._values[name], length, fill) for p in parts])
            clocks = [clock for part in parts if (clock := part._times[name]) is not None]
            if clocks:
                times[name] = np.concatenate([_pad(c, length, np.nan) for c in clocks])
            if any(part._carried[name] is not None for part in parts):
                observed[name] = np.concatenate(
                    [_pad(part._observed(name), length, False) for part in parts]
                )
        return Panel(
            values,
            times=times,
            rates={m.name: m.rate for m in self.schema},
            vocabularies={m.name: m.vocabulary for m in self.schema},
            observed=observed,
        )

    # Modalities

    def select(self, names: Sequence[str]) -> Panel:
        """Only the modalities named, in that order.

        Parameters
        ----------
        names : list of str
            At least one.

        Returns
        -------
        Panel
            A new panel on the same arrays.

        Raises
        ------
        KeyError
            If a name is unknown.
        ValueError
            If none is left, or a name stands twice.
        """
        names = [names] if isinstance(names, str) else list(names)
        new = object.__new__(Panel)
        new.schema = Schema(tuple(self.schema[name] for name in names))
        new._values = {name: self._values[name] for name in names}
        new._times = {name: self._times[name] for name in names}
        new._carried = {name: self._carried[name] for name in names}
        new._derived = {name: self._derived[name] for name in names if name in self._derived}
        new._n = self._n
        return new

    def drop(self, names: Sequence[str]) -> Panel:
        """All modalities but those named.

        Parameters
        ----------
        names : list of str
            Modalities to leave out.

        Returns
        -------
        Panel
            A new panel on the same arrays.

        Raises
        ------
        KeyError
            If a name is unknown.
        ValueError
            If none is left.
        """
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            self.schema[name]
        return self.select([name for name in self.schema.names if name not in names])

    def align(self, schema: Schema) -> Panel:
        """The modalities of ``schema``, in its order; those this panel lacks are silent.

        Parameters
        ----------
        schema : Schema
            What is wanted, usually ``estimator.schema_``.

        Returns
        -------
        Panel
            A new panel, with NaN for the whole of each modality added.

        Raises
        ------
        ValueError
            If this panel has a modality that the schema has not.
        """
        unknown = [name for name in self.schema.names if name not in schema]
        if unknown:
            raise ValueError(
                f"The schema has {list(schema.names)}, but this panel has {unknown} too. "
                f"Leave them out with X.drop({unknown})."
            )
        values: dict[str, np.ndarray] = {}
        for m in schema:
            if m.name in self.schema:
                values[m.name] = self._values[m.name]
            elif m.vocabulary is None:
                shape = (self._n, m.n_channels, m.n_timepoints)
                values[m.name] = np.full(shape, np.nan, np.float32)
            else:
                shape = (self._n, m.n_channels, m.n_timepoints)
                values[m.name] = np.full(shape, m.vocabulary.missing, TOKEN_DTYPE)
        here = [self.schema[m.name] if m.name in self.schema else m for m in schema]  # noqa: SIM401
        never = {
            m.name: np.full((self._n, m.n_timepoints), np.nan)
            for m in schema
            if m.irregular and m.name not in self.schema
        }
        return Panel(
            values,
            times={**{k: v for k, v in self._times.items() if v is not None}, **never},
            rates={m.name: m.rate for m in here},
            vocabularies={m.name: m.vocabulary for m in here},
            observed={k: v for k, v in self._carried.items() if v is not None},
        )

    def replace(
        self,
        *,
        values: Mapping[str, Any] | None = None,
        times: Mapping[str, Any] | None = None,
        rates: Mapping[str, float | None] | None = None,
        vocabularies: Mapping[str, Vocabulary | None] | None = None,
        observed: Mapping[str, Any] | None = None,
    ) -> Panel:
        """The same panel with some of its parts exchanged.

        Parameters
        ----------
        values, times, rates, vocabularies, observed : dict, default=None
            New parts by modality; what is not named stays. New values of a modality drop the mask
            that was carried for it, unless ``observed`` names it too.

        Returns
        -------
        Panel
            A new panel.

        Raises
        ------
        ValueError
            If the parts do not fit together.
        """
        carried = {k: v for k, v in self._carried.items() if k not in (values or {})}
        return Panel(
            {**self._values, **(values or {})},
            times={**self._times, **(times or {})},
            rates={**{m.name: m.rate for m in self.schema}, **(rates or {})},
            vocabularies={
                **{m.name: m.vocabulary for m in self.schema},
                **(vocabularies or {}),
            },
            observed={**carried, **(observed or {})},
        )

    # Out

    def to_dict(self) -> dict[str, np.ndarray]:
        """The values by modality.

        Returns
        -------
        dict of str to array of shape (n, C, L)
            float32 with NaN, or int16 tokens.
        """
        return self.values

    def to_numpy3d(self) -> np.ndarray:
        """All channels in one array, modality after modality.

        Returns
        -------
        array of shape (n, sum of C, L)
            float32 with NaN.

        Raises
        ------
        ValueError
            If the modalities have different lengths: nothing is resampled in silence.
        """
        lengths = {m.name: m.n_timepoints for m in self.schema}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"One array needs one length, but the modalities have {lengths} timepoints. "
                "Resample them first, or use to_dict()."
            )
        return np.concatenate(
            [self._values[name].astype(np.float32, copy=False) for name in self.schema.names],
            axis=1,
        )

    def to_sktime(self, mtype: str = "pd-multiindex") -> Any:
        """The panel as one of sktime's panel types.

        Parameters
        ----------
        mtype : {"pd-multiindex", "nested_univ", "df-list", "numpy3D"}, default="pd-multiindex"
            All but ``"numpy3D"`` keep the names, as columns ``(modality, channel)``.

        Returns
        -------
        DataFrame, list of DataFrame or array
            What sktime calls ``mtype``. Padding at the end of a sample is kept as NaN.

        Raises
        ------
        ValueError
            If ``mtype`` is unknown, or the modalities have different lengths and ``mtype`` is
            not ``"nested_univ"``.
        """
        if mtype == "numpy3D":
            return self.to_numpy3d()
        if mtype == "nested_univ":
            return nested_frame(self._values)
        if mtype in ("pd-multiindex", "df-list"):
            columns = [(m.name, str(c)) for m in self.schema for c in range(m.n_channels)]
            make = multiindex_frame if mtype == "pd-multiindex" else sample_frames
            return make(self.to_numpy3d(), columns)
        raise ValueError(
            f"mtype={mtype!r} is unknown; choose one of 'pd-multiindex', 'nested_univ', "
            "'df-list', 'numpy3D'."
        )

    # How it shows itself

    def describe(self) -> Any:
        """A row for each modality: channels, length, rate, what is missing, level and spread.

        Returns
        -------
        DataFrame
            Indexed by modality. ``missing_fraction`` counts values, ``absent_fraction`` samples
            in which the modality is wholly silent; ``mean`` and ``std`` are of what was observed.
        """
        rows: dict[str, list[Any]] = {key: [] for key in _COLUMNS}
        available = self.available
        for column, modality in enumerate(self.schema):
            seen = self._values[modality.name][self._observed(modality.name)]
            total = self._values[modality.name].size
            number = modality.vocabulary is None and seen.size
            rows["channels"].append(modality.n_channels)
            rows["timepoints"].append(modality.n_timepoints)
            rows["rate_hz"].append(np.nan if modality.rate is None else modality.rate)
            rows["missing_fraction"].append(1 - seen.size / total if total else np.nan)
            rows["absent_fraction"].append(1 - available[:, column].mean() if self._n else np.nan)
            rows["mean"].append(seen.mean(dtype=float) if number else np.nan)
            rows["std"].append(seen.std(dtype=float) if number else np.nan)
        return as_frame(rows, index=list(self.schema.names), index_name="modality")

    def _table(self) -> list[list[str]]:
        rows = []
        for m in self.schema:
            observed = self._observed(m.name)
            missing = f"{1 - observed.mean():.1%}" if observed.size else "-"
            clock = "irregular" if self._times[m.name] is not None else "-"
            rate = clock if m.rate is None else f"{m.rate:g} Hz"
            kind = "numbers" if m.vocabulary is None else f"{m.vocabulary.size} symbols"
            rows.append([m.name, str(m.n_channels), str(m.n_timepoints), rate, kind, missing])
        return rows

    def __repr__(self) -> str:
        head = ["modality", "channels", "length", "rate", "values", "missing"]
        rows = [head, *self._table()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(width) if i in (0, 4) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return f"Panel of {self._n} samples\n" + "\n".join(lines)

    def _repr_html_(self) -> str:
        head = ["modality", "channels", "length", "rate", "values", "missing"]
        cells = "".join(f"<th>{name}</th>" for name in head)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._table()
        )
        return (
            f"<table><caption>Panel of {self._n} samples</caption>"
            f"<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The values ``(n, C, L)`` of the one modality; a panel of several is no array."""
        if len(self.schema) > 1:
            raise TypeError(
                f"A panel of the modalities {list(self.schema.names)} is not one array. Use "
                "X.values[name] for one of them, or X.to_numpy3d() if all have one length."
            )
        array = self._values[self.schema.names[0]]
        return np.array(array, dtype=dtype, copy=True) if copy else np.asarray(array, dtype=dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_derived": {}}  # derived masks are cheap to make again


_COLUMNS = [
    "channels",
    "timepoints",
    "rate_hz",
    "missing_fraction",
    "absent_fraction",
    "mean",
    "std",
]


def _check_values(name: str, given: Any, vocabulary: Vocabulary | None) -> np.ndarray:
    array = np.asarray(given)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"Modality {name!r} holds {array.dtype} values; numbers are wanted. "
            "Encode text or categories as numbers first."
        )
    if array.ndim != 3:
        raise ValueError(
            f"Modality {name!r} has shape {array.shape}; (samples, channels, timepoints) is "
            "wanted. Use as_panel(...) for other shapes."
        )
    if vocabulary is not None:
        if array.dtype.kind == "f":
            raise TypeError(
                f"Modality {name!r} has a vocabulary, so integer tokens are wanted, but its "
                f"values are {array.dtype}. Remove the vocabulary or tokenize the values."
            )
        known = [*range(1, vocabulary.size + 1), vocabulary.missing]
        if array.size and not min(known) <= array.min() <= array.max() <= max(known):
            raise ValueError(
                f"Modality {name!r} has tokens from {array.min()} to {array.max()}, but its "
                f"vocabulary has the symbols 1 to {vocabulary.size} and {vocabulary.missing} "
                "for missing."
            )
        return array.astype(TOKEN_DTYPE, copy=False)
    with np.errstate(over="ignore"):
        values = array.astype(np.float32, copy=False)
    if np.isinf(values).any():
        sample, channel, _ = np.argwhere(np.isinf(values))[0]
        raise ValueError(
            f"Modality {name!r} has infinite values in float32 (first in sample {sample}, channel "
            f"{channel}). Finite numbers or NaN are wanted: mark them as missing with "
            "np.where(np.isinf(x), np.nan, x), or rescale values beyond 3e38."
        )
    return values


def _check_times(name: str, given: Any, values: np.ndarray) -> np.ndarray | None:
    if given is None:
        return None
    times = np.asarray(given, dtype=np.float64)
    wanted = (values.shape[0], values.shape[2])
    if times.shape != wanted:
        raise ValueError(
            f"The times of modality {name!r} have shape {times.shape}; {wanted}, one time a "
            "sample and timepoint, is wanted."
        )
    if np.isinf(times).any():
        raise ValueError(f"The times of modality {name!r} are infinite somewhere. Use NaN to pad.")
    padded = np.isnan(times)
    if (padded[:, :-1] & ~padded[:, 1:]).any():
        raise ValueError(
            f"The times of modality {name!r} have NaN before the end of a sample; NaN is for "
            "padding at the end. Remove those timepoints."
        )
    if (np.diff(times, axis=1) < 0).any():
        sample = int(np.argwhere(np.diff(times, axis=1) < 0)[0, 0])
        raise ValueError(
            f"The times of modality {name!r} decrease in sample {sample}. Sort its timepoints."
        )
    return times


def _check_observed(name: str, given: Any, values: np.ndarray) -> np.ndarray | None:
    if given is None:
        return None
    observed = np.asarray(given)
    if observed.dtype != bool or observed.shape != values.shape:
        raise ValueError(
            f"observed of modality {name!r} is {observed.dtype} of shape {observed.shape}; bool "
            f"of shape {values.shape} is wanted."
        )
    if values.dtype.kind == "f" and (np.isnan(values) & observed).any():
        raise ValueError(
            f"Modality {name!r} is NaN where observed says it was measured. Clear observed there."
        )
    return observed


def _pad(array: np.ndarray, length: int, fill: Any) -> np.ndarray:
    width = [(0, 0)] * (array.ndim - 1) + [(0, length - array.shape[-1])]
    return array if length == array.shape[-1] else np.pad(array, width, constant_values=fill)
