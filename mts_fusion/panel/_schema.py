"""What a panel is made of, without the data: modalities, vocabularies and their order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ._arguments import check_types

__all__ = ["RATE_TOLERANCE", "Modality", "Schema", "Vocabulary", "same_rate"]

# Tokens are int16.
_MAX_SYMBOLS = 32_767

RATE_TOLERANCE = 1e-3
"""Two rates are one sensor's if they differ by at most this fraction: clocks are never exact."""


@dataclass(frozen=True)
class Vocabulary:
    """The symbols of a tokenised modality.

    Parameters
    ----------
    size : int
        Number of ordered symbols, numbered ``1 .. size``.
    missing : int, default=0
        The symbol of a segment that was not observed.
    breakpoints : tuple of float or None, default=None
        The ``size - 1`` increasing bounds between the symbols, in normalised units. None where
        they differ from channel to channel.
    centers : tuple of float or None, default=None
        The value of each symbol ``1 .. size``, in normalised units.

    Raises
    ------
    ValueError
        If ``size`` is below 1, or a tuple has another length than ``size`` asks for.

    Examples
    --------
    >>> Vocabulary(4, breakpoints=(-0.67, 0.0, 0.67)).n_tokens
    5
    """

    size: int
    missing: int = 0
    breakpoints: tuple[float, ...] | None = None
    centers: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_types(Vocabulary, vars(self))
        if self.size < 1:
            raise ValueError(f"A vocabulary needs at least 1 symbol, got size={self.size}.")
        if self.size > _MAX_SYMBOLS:
            raise ValueError(
                f"A vocabulary has at most {_MAX_SYMBOLS:,} symbols, got size={self.size}."
            )
        if self.breakpoints is not None and len(self.breakpoints) != self.size - 1:
            raise ValueError(
                f"A vocabulary of {self.size} symbols has {self.size - 1} breakpoints, "
                f"got {len(self.breakpoints)}."
            )
        if self.centers is not None and len(self.centers) != self.size:
            raise ValueError(
                f"A vocabulary of {self.size} symbols has {self.size} centers, "
                f"got {len(self.centers)}."
            )

    @property
    def n_tokens(self) -> int:
        """Number of symbols with the missing one."""
        return self.size + 1


@dataclass(frozen=True)
class Modality:
    """One stream of a panel: a sensor, or a group of channels that fail together.

    Parameters
    ----------
    name : str
        Its name, unique in the schema.
    n_channels : int
        Channels C.
    n_timepoints : int
        Timepoints L of the longest sample.
    rate : float or None, default=None
        Sampling rate in Hz. None where it is unknown or the times are irregular.
    vocabulary : Vocabulary or None, default=None
        The symbols of the values; None where the values are numbers.
    irregular : bool, default=False
        Whether each sample has its own times.
    channels : tuple of str or None, default=None
        The name of each channel, each once. None where the channels have no names; such a modality
        matches any other of as many channels.

    Raises
    ------
    TypeError
        If the name of the modality or of a channel is not a string.
    ValueError
        If there is no channel or no timepoint, the rate is not a positive number, or the names of
        the channels are not one each.

    Examples
    --------
    >>> Modality("acc", n_channels=3, n_timepoints=125, rate=25.0).duration_seconds
    5.0
    """

    name: str
    n_channels: int
    n_timepoints: int
    rate: float | None = None
    vocabulary: Vocabulary | None = None
    irregular: bool = False
    channels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(
                f"The name of a modality is a string, got {self.name!r}. Rename it with str(...)."
            )
        check_types(Modality, {**vars(self), "channels": None}, f" of modality {self.name!r}")
        if self.n_channels < 1 or self.n_timepoints < 1:
            raise ValueError(
                f"Modality {self.name!r} has {self.n_channels} channels and {self.n_timepoints} "
                "timepoints; it needs at least one of each. Leave the modality out instead."
            )
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise ValueError(
                f"Modality {self.name!r} has rate={self.rate!r} Hz; a rate is a positive number, "
                "or None where it is unknown."
            )
        if self.channels is not None:
            self._check_channels(self.channels)

    def _check_channels(self, names: tuple[str, ...]) -> None:
        if not isinstance(names, (tuple, list)):
            raise TypeError(
                f"channels of modality {self.name!r} is a tuple of names, got {names!r}."
            )
        wrong = [name for name in names if not isinstance(name, str)]
        if wrong:
            raise TypeError(
                f"The name of a channel is a string, but modality {self.name!r} has {wrong[0]!r}. "
                "Rename it with str(...)."
            )
        if len(names) != self.n_channels or len(set(names)) < len(names):
            raise ValueError(
                f"Modality {self.name!r} has {self.n_channels} channels, but their names are "
                f"{list(names)}; each channel has one name of its own."
            )

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The names of the channels; their numbers from 0 where they have none."""
        return self.channels or tuple(str(channel) for channel in range(self.n_channels))

    @property
    def duration_seconds(self) -> float | None:
        """Length of the longest sample in seconds; None where the rate is unknown."""
        return None if self.rate is None else self.n_timepoints / self.rate


@dataclass(frozen=True)
class Schema:
    """The modalities of a panel, in order.

    Parameters
    ----------
    modalities : tuple of Modality
        At least one, each name once.

    Raises
    ------
    ValueError
        If there is no modality or a name stands twice.

    Examples
    --------
    >>> schema = Schema((Modality("acc", 3, 100), Modality("temp", 1, 4)))
    >>> schema.names
    ('acc', 'temp')
    >>> schema["temp"].n_timepoints
    4
    """

    modalities: tuple[Modality, ...]

    def __post_init__(self) -> None:
        check_types(Schema, vars(self))
        if not self.modalities:
            raise ValueError("A panel needs at least one modality, got none.")
        names = [modality.name for modality in self.modalities]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"Each modality has its own name, but {', '.join(map(repr, twice))} "
                f"stands more than once in {names}. Rename one of them."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(modality.name for modality in self.modalities)

    def __len__(self) -> int:
        return len(self.modalities)

    def __iter__(self) -> Iterator[Modality]:
        return iter(self.modalities)

    def __getitem__(self, name: str) -> Modality:
        for modality in self.modalities:
            if modality.name == name:
                return modality
        raise KeyError(f"No modality {name!r}; the panel has {list(self.names)}.")

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def with_vocabularies(self, vocabularies: dict[str, Vocabulary | None]) -> Schema:
        """The same modalities with other vocabularies.

        Parameters
        ----------
        vocabularies : dict of str to Vocabulary or None
            The new vocabulary of each modality named; the others keep theirs.

        Returns
        -------
        Schema
            A new schema.
        """
        check_types(Schema.with_vocabularies, locals())
        if unknown := [name for name in vocabularies if name not in self]:
            raise ValueError(f"vocabularies names {unknown}, but there are {list(self.names)}.")
        return Schema(
            tuple(
                replace(m, vocabulary=vocabularies[m.name]) if m.name in vocabularies else m
                for m in self.modalities
            )
        )

    def __str__(self) -> str:
        rows = [
            f"{m.name}: {m.n_channels} channels x {m.n_timepoints} timepoints"
            + (f" ({', '.join(m.channels)})" if m.channels is not None else "")
            + (f" at {m.rate:g} Hz" if m.rate is not None else "")
            + (f", {m.vocabulary.size} symbols" if m.vocabulary is not None else "")
            for m in self.modalities
        ]
        return "\n".join(rows)

    def check_matches(self, other: Schema, *, owner: str = "the estimator") -> None:
        """Raise unless ``other`` holds the same modalities, in order.

        The number of timepoints may differ: windows of another length are the same sensors.

        Parameters
        ----------
        other : Schema
            The schema that came, to be held against this one, which was seen in fit.
        owner : str, default="the estimator"
            Who asks, for the message.

        Raises
        ------
        ValueError
            If a modality is absent, unknown or elsewhere in the order, or if its channels, rate
            (by more than ``RATE_TOLERANCE``) or vocabulary differ, or only one of both has times
            of its own. The message names it. Channels without names match any of that number.
        """
        check_types(Schema.check_matches, locals())
        absent = [name for name in self.names if name not in other]
        unknown = [name for name in other.names if name not in self]
        if absent or unknown or self.names != other.names:
            what = []
            if absent:
                what.append(f"without {absent}")
            if unknown:
                what.append(f"with {unknown}")
            if not what:
                what.append(f"in the order {list(other.names)}")
            if absent and unknown:
                way_out = f"Rename {unknown}, or leave them out with X.drop({unknown})."
            elif absent:
                way_out = "Add silent ones with X.align(schema)."
            else:
                way_out = f"Select them with X.select({list(self.names)})."
            raise ValueError(
                f"{owner} was fitted on the modalities {list(self.names)}, "
                f"but X came {' and '.join(what)}. {way_out}"
            )
        for wanted, got in zip(self, other, strict=True):
            _check_modality(wanted, got)


def same_rate(first: float | None, second: float | None) -> bool:
    """Whether two rates, in Hz, are one up to ``RATE_TOLERANCE``; None is the same as None only."""
    if first is None or second is None:
        return first is second
    return abs(first - second) <= RATE_TOLERANCE * max(first, second)


def _check_modality(wanted: Modality, got: Modality) -> None:
    """Raise unless ``got`` may be the modality seen in fit, but for its number of timepoints."""
    if wanted.n_channels != got.n_channels:
        raise ValueError(
            f"Modality {wanted.name!r} has {got.n_channels} channels, but "
            f"{wanted.n_channels} were seen in fit. Give the same channels, "
            f"with NaN where one is silent.{_transposed(wanted, got)}"
        )
    if wanted.channels != got.channels and None not in (wanted.channels, got.channels):
        raise ValueError(
            f"Modality {wanted.name!r} has the channels {list(got.channel_names)}, but "
            f"{list(wanted.channel_names)} were seen in fit. X.align(schema) brings known channels "
            "into that order; rename or leave out the others."
        )
    if wanted.vocabulary != got.vocabulary:
        raise ValueError(
            f"Modality {wanted.name!r} came with {_says(got.vocabulary)}, but "
            f"{_says(wanted.vocabulary)} was seen in fit. Pass X through the same "
            "tokenizer, in one Pipeline."
        )
    if wanted.rate is not None and got.irregular:
        raise ValueError(
            f"Modality {wanted.name!r} came with times that do not tick at {_hertz(wanted.rate)}, "
            f"which was seen in fit. as_panel(X, rates={{{wanted.name!r}: {wanted.rate:g}}}) takes "
            "them as entries of that clock; otherwise resample it."
        )
    if not same_rate(wanted.rate, got.rate):
        raise ValueError(
            f"Modality {wanted.name!r} has rate {_hertz(got.rate)}, but "
            f"{_hertz(wanted.rate)} was seen in fit. Resample it, or give the same rate."
        )
    if wanted.irregular != got.irregular:
        came, known = ("with", "none") if got.irregular else ("without", "some")
        raise ValueError(
            f"Modality {wanted.name!r} came {came} times of its own, but {known} were seen "
            "in fit. Give times in both or in neither (NaN where nothing was measured)."
        )


def _transposed(wanted: Modality, got: Modality) -> str:
    if got.n_timepoints != wanted.n_channels:
        return ""
    return (
        f" Its {got.n_timepoints} timepoints look like the channels: (samples, channels, "
        "timepoints) is the order of the axes, as X.transpose(0, 2, 1) gives it."
    )


def _says(vocabulary: Vocabulary | None) -> str:
    return "numbers" if vocabulary is None else f"a vocabulary of {vocabulary.size} symbols"


def _hertz(rate: float | None) -> str:
    return "unknown" if rate is None else f"{rate:g} Hz"
