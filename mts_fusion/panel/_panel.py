"""Panel: samples of several modalities, each with its own channels, length and clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ._align import aligned_parts, has_value, joined_parts, matches
from ._arguments import check_types
from ._checks import (
    check_channels,
    check_ids,
    check_key,
    check_observed,
    check_rate,
    check_timed,
    check_times,
    check_values,
)
from ._dates import dates_to_seconds
from ._out import PanelOutput
from ._schema import Modality, Schema, Vocabulary

__all__ = ["Panel"]


class Panel(PanelOutput):
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
        Dates count from the first one of the sample, over all its modalities.
    rates : dict of str to float or None, default=None
        Sampling rates in Hz of the modalities with regular clocks.
    vocabularies : dict of str to Vocabulary or None, default=None
        The symbols of the modalities that hold tokens.
    observed : dict of str to bool array of shape (n, C, L) or None, default=None
        What was really measured, where this differs from what ``values`` tells: an imputer fills
        the values and hands the mask on. By default, what is neither NaN nor the missing token.
    channels : dict of str to sequence of str or None, default=None
        Names of the channels of each modality.
    sample_ids : array of shape (n,), default=None
        A name for each sample; None where they have none.

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
    sample_ids : array of shape (n,) or None
        The names of the samples.

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

    _ids: np.ndarray | None = None

    def __init__(
        self,
        values: Mapping[str, Any],
        *,
        times: Mapping[str, Any] | None = None,
        rates: Mapping[str, float | None] | None = None,
        vocabularies: Mapping[str, Vocabulary | None] | None = None,
        observed: Mapping[str, Any] | None = None,
        channels: Mapping[str, Sequence[str] | None] | None = None,
        sample_ids: Any = None,
    ) -> None:
        check_types(Panel.__init__, locals())
        parts = {
            "times": dict(times or {}),
            "rates": dict(rates or {}),
            "vocabularies": dict(vocabularies or {}),
            "observed": dict(observed or {}),
            "channels": dict(channels or {}),
        }
        for what, given in parts.items():
            unknown = [name for name in given if name not in values]
            if unknown:
                raise ValueError(
                    f"{what} names {unknown}, but the modalities are {list(values)}. "
                    "Remove them or add their values."
                )
        parts["times"] = dates_to_seconds(parts["times"])
        self._values: dict[str, np.ndarray] = {}
        self._times: dict[str, np.ndarray | None] = {}
        self._carried: dict[str, np.ndarray | None] = {}
        self._derived: dict[str, np.ndarray] = {}
        modalities = []
        for name, given in values.items():
            array = check_values(name, given, parts["vocabularies"].get(name))
            first = next(iter(self._values.values()), array)
            if len(array) != len(first):
                raise ValueError(
                    f"Modality {name!r} has {len(array)} samples, but "
                    f"{next(iter(values))!r} has {len(first)}. Give each sample a row of NaN where "
                    "the modality is absent."
                )
            modalities.append(self._add(name, array, parts))
        self.schema = Schema(tuple(modalities))
        self._n = len(next(iter(self._values.values())))
        self._ids = check_ids(sample_ids, self._n)
        check_timed(self._times, self._observed)

    def _add(self, name: str, array: np.ndarray, parts: dict[str, dict[str, Any]]) -> Modality:
        """Keep one modality, and say what it is."""
        times, rate = parts["times"].get(name), check_rate(name, parts["rates"].get(name))
        modality = Modality(
            name,
            n_channels=array.shape[1],
            n_timepoints=array.shape[2],
            rate=rate,
            vocabulary=parts["vocabularies"].get(name),
            irregular=times is not None,
            channels=check_channels(name, parts["channels"].get(name)),
        )
        self._values[name] = array
        self._times[name] = check_times(name, times, array)
        if times is not None and rate is not None:
            raise ValueError(
                f"Modality {name!r} came with both times and a rate. Give the rate of a "
                "regular clock or the times of an irregular one."
            )
        self._carried[name] = check_observed(name, parts["observed"].get(name), array)
        return modality

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
            self._derived[name] = has_value(self.schema[name], self._values[name])
        return self._derived[name]

    @property
    def available(self) -> np.ndarray:
        """Whether anything of each modality was observed, bool ``(n, M)``."""
        return np.stack([self._observed(name).any((1, 2)) for name in self.schema.names], axis=1)

    @property
    def sample_ids(self) -> np.ndarray | None:
        """The name of each sample, ``(n,)``; None where they have none."""
        return self._ids

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and modalities."""
        return self._n, len(self.schema)

    def __len__(self) -> int:
        return self._n

    # Rows

    def __getitem__(self, key: Any) -> Panel:
        rows = check_key(key, self._n)
        return self._map(lambda array: array[rows])

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
        new._ids = None if self._ids is None else change(self._ids)
        return new

    def concat(self, *others: Panel) -> Panel:
        """The samples of this panel, then those of the others.

        Parameters
        ----------
        *others : Panel
            Panels of the same schema. Shorter modalities are padded with NaN; channels are
            brought into the order of their names. Sample ids are kept if all panels have them.

        Returns
        -------
        Panel
            A new panel.

        Raises
        ------
        ValueError
            If a schema differs, or one panel carries times and another none.
        """
        parts = [self]
        for other in others:
            if not isinstance(other, Panel):
                raise TypeError(f"Panels are wanted, got {other!r}. Convert it with as_panel(...).")
            both = set(other.schema.names) == set(self.schema.names)
            part = (
                other.align(self.schema)
                if both and self.schema.names == other.schema.names
                else other
            )
            self.schema.check_matches(part.schema, owner="The first panel")
            parts.append(part)
        return Panel(**joined_parts(parts))

    # Modalities

    def select(self, names: str | Sequence[str]) -> Panel:
        """Only the modalities named, in that order.

        Parameters
        ----------
        names : str or list of str
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
        check_types(Panel.select, locals())
        names = [names] if isinstance(names, str) else list(names)
        new = object.__new__(Panel)
        new.schema = Schema(tuple(self.schema[name] for name in names))
        new._values = {name: self._values[name] for name in names}
        new._times = {name: self._times[name] for name in names}
        new._carried = {name: self._carried[name] for name in names}
        new._derived = {name: self._derived[name] for name in names if name in self._derived}
        new._n, new._ids = self._n, self._ids
        return new

    def drop(self, names: str | Sequence[str]) -> Panel:
        """All modalities but those named.

        Parameters
        ----------
        names : str or list of str
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
        check_types(Panel.drop, locals())
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            self.schema[name]
        return self.select([name for name in self.schema.names if name not in names])

    def align(self, schema: Schema) -> Panel:
        """The modalities and channels of ``schema``, in its order; absent ones are silent.

        Parameters
        ----------
        schema : Schema
            What is wanted, usually ``estimator.schema_``.

        Returns
        -------
        Panel
            NaN stands for each modality, and each named channel, that this panel lacks. A rate
            that is unknown here, or the same up to ``RATE_TOLERANCE``, is that of the schema;
            a regular clock becomes times, and times that lie on a regular clock a rate, where the
            schema has the other. Numbers of timepoints stay.

        Raises
        ------
        ValueError
            If this panel has a modality or a channel that the schema has not.
        """
        check_types(Panel.align, locals())
        unknown = [name for name in self.schema.names if name not in schema]
        if unknown:
            raise ValueError(
                f"The schema has {list(schema.names)}, but this panel has {unknown} too. "
                f"Leave them out with X.drop({unknown})."
            )
        if matches(schema, self.schema):
            return self
        return Panel(**aligned_parts(self, schema))

    def replace(
        self,
        *,
        values: Mapping[str, Any] | None = None,
        times: Mapping[str, Any] | None = None,
        rates: Mapping[str, float | None] | None = None,
        vocabularies: Mapping[str, Vocabulary | None] | None = None,
        observed: Mapping[str, Any] | None = None,
        channels: Mapping[str, Sequence[str] | None] | None = None,
        sample_ids: Any = None,
    ) -> Panel:
        """The same panel with some of its parts exchanged.

        Parameters
        ----------
        values, times, rates, vocabularies, observed, channels : dict, default=None
            New parts by modality; what is not named stays. New values of a modality drop the mask
            that was carried for it, unless ``observed`` names it too, and the names of its
            channels where their number is another.
        sample_ids : array of shape (n,), default=None
            New names of the samples; None keeps the old ones.

        Returns
        -------
        Panel
            A new panel.

        Raises
        ------
        ValueError
            If the parts do not fit together.
        """
        check_types(Panel.replace, locals())
        carried = {k: v for k, v in self._carried.items() if k not in (values or {})}
        changed = {
            name
            for name, array in (values or {}).items()
            if name in self.schema and np.shape(array)[1:2] != (self.schema[name].n_channels,)
        }
        schema = self.schema
        names = {m.name: None if m.name in changed else m.channels for m in schema}
        return Panel(
            {**self._values, **(values or {})},
            times={**self._times, **(times or {})},
            rates={**{m.name: m.rate for m in schema}, **(rates or {})},
            vocabularies={**{m.name: m.vocabulary for m in schema}, **(vocabularies or {})},
            observed={**carried, **(observed or {})},
            channels={**names, **(channels or {})},
            sample_ids=self._ids if sample_ids is None else sample_ids,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_derived": {}}  # derived masks are cheap to make again
