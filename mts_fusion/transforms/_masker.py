"""MissingnessMasker and mask_panel: hide observed values, reproducibly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import ndtr, ndtri
from sklearn.utils import check_random_state

from mts_fusion.panel import Panel, PanelLike, Schema
from mts_fusion.panel._arguments import check_at_least, check_types

from ._base import PanelTransformer, by_modality, filled_masks
from ._draws import mix, sample_keys, uniform
from ._moments import sample_chunks

__all__ = ["MissingnessMasker", "mask_panel"]

_PATTERNS = ("modality", "block", "span", "point")
_PLACES = ("random", "start", "end")
_REDRAWS = 64


class MissingnessMasker(PanelTransformer):
    """Panels in which some of what was observed is hidden, as failing sensors would hide it.

    In a Pipeline it hides values both in ``fit`` and in ``predict``. To train on complete data and
    test with failures, use :func:`mask_panel`.

    Parameters
    ----------
    pattern : {"modality", "block", "span", "point"}, default="modality"
        What is hidden in a sample: ``"modality"``: whole modalities, each with probability
        ``fraction``. ``"block"``: in each modality one stretch of time, all channels together.
        ``"span"``: in each channel one stretch of time. ``"point"``: single values.
    fraction : float or dict of str to float, default=0.3
        For ``"modality"`` the probability that a modality is hidden; for ``"block"`` and
        ``"span"`` the share of the sample's timepoints in the stretch; for ``"point"`` the
        probability that a value is hidden. 0 hides nothing, 1 all but what ``keep`` saves. A dict
        names each modality.
    keep : int, default=1
        At least so many modalities of a sample still have an observed value afterwards, or all
        that had one before, where these are fewer. 0 allows a sample that is wholly silent.
    correlation : float, default=0.0
        How much the modalities of a sample fail together, for ``"modality"`` and ``"block"``: the
        correlation of the normal variables (a Gaussian copula) that decide which fail, or where the
        block lies. Each modality keeps its own probability. 0: independent; 1 with one
        ``fraction`` for all: all at once, or none.
    groups : sequence of sequence of str or None, default=None
        Modalities that share a cable, for ``"modality"`` and ``"block"``: those of a group fail
        together, or over the same stretch of time. Modalities in no group fail by themselves.
    place : {"random", "start", "end"}, default="random"
        Where the stretch of ``"block"`` and ``"span"`` lies.
    random_state : int, RandomState or None, default=None
        Seed. Drawn in ``fit``: a fitted masker hides the same each time.

    Attributes
    ----------
    seed_ : int
        What was drawn from ``random_state``.
    schema_ : Schema
        What X was in ``fit``.

    Raises
    ------
    ValueError
        If a parameter is out of range, or does nothing with this pattern.

    Notes
    -----
    What is hidden in a sample follows from the seed and from the sample's observed values alone:
    not from its position in the panel, from the other samples, or from padding at its end. Two
    samples of equal content lose the same. Where all modalities of a sample would fail, the draw is
    repeated; so the share of hidden modalities is a little below ``fraction``.

    Examples
    --------
    >>> import numpy as np
    >>> X = {"acc": np.ones((100, 3, 8)), "temp": np.ones((100, 1, 2))}
    >>> X["acc"] += np.arange(100)[:, None, None]
    >>> hidden = MissingnessMasker(fraction=0.5, random_state=0).fit_transform(X)
    >>> bool(hidden.available.all()), bool(hidden.available.any(axis=1).all())
    (False, True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "pattern": [str],
        "fraction": [Real, dict],
        "keep": [Integral],
        "correlation": [Real],
        "groups": [list, tuple, None],
        "place": [str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        pattern: str = "modality",
        fraction: float | dict[str, float] = 0.3,
        keep: int = 1,
        correlation: float = 0.0,
        groups: Sequence[Sequence[str]] | None = None,
        place: str = "random",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.pattern = pattern
        self.fraction = fraction
        self.keep = keep
        self.correlation = correlation
        self.groups = groups
        self.place = place
        self.random_state = random_state

    def fit(self, X: PanelLike, y: object = None) -> Self:
        """Check the parameters and draw the seed.

        Parameters
        ----------
        X : Panel or anything as_panel takes
            Training samples.
        y : None
            Ignored.

        Returns
        -------
        MissingnessMasker
            The fitted transformer.

        Raises
        ------
        ValueError
            If a parameter is out of range, or does nothing with this pattern.
        """
        panel = self._check_fit(X)
        _check_parameters(
            panel.schema,
            self.pattern,
            self.fraction,
            self.keep,
            self.correlation,
            self.groups,
            self.place,
        )
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        return self

    def transform(self, X: PanelLike) -> Panel:
        """The samples with some of their values hidden.

        Parameters
        ----------
        X : Panel or anything as_panel takes
            Samples of the schema seen in ``fit``.

        Returns
        -------
        Panel
            The same panel with NaN, or the missing token, where it was hidden, and ``observed``
            false.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the schema differs from that of ``fit``; the message names the modality.
        """
        panel = self._check_transform(X)
        return mask_panel(
            panel,
            pattern=self.pattern,
            fraction=self.fraction,
            keep=self.keep,
            correlation=self.correlation,
            groups=self.groups,
            place=self.place,
            seed=self.seed_,
        )


def mask_panel(
    panel: Panel,
    *,
    pattern: str = "modality",
    fraction: float | Mapping[str, float] = 0.3,
    keep: int = 1,
    correlation: float = 0.0,
    groups: Sequence[Sequence[str]] | None = None,
    place: str = "random",
    seed: int = 0,
) -> Panel:
    """The panel with some of what was observed hidden.

    Parameters
    ----------
    panel : Panel
        Samples.
    pattern, fraction, keep, correlation, groups, place
        See :class:`MissingnessMasker`.
    seed : int, default=0
        Non-negative. With the content of a sample, it decides what is hidden in it.

    Returns
    -------
    Panel
        A new panel. What was hidden is observed in ``panel``, and not in the new one.

    Raises
    ------
    ValueError
        If a parameter is out of range, or does nothing with this pattern.

    Examples
    --------
    >>> import numpy as np
    >>> panel = Panel({"acc": np.arange(8.0).reshape(2, 1, 4)})
    >>> mask_panel(panel, pattern="span", fraction=0.5, place="end").values["acc"][:, 0]
    array([[ 0.,  1., nan, nan],
           [ 4.,  5., nan, nan]], dtype=float32)
    """
    check_types(mask_panel, locals())
    check_at_least(0, seed=seed)
    _check_parameters(panel.schema, pattern, fraction, keep, correlation, groups, place)
    fractions = by_modality("fraction", fraction, panel.schema)
    keys = sample_keys(panel, seed)
    if pattern == "modality":
        hidden = _hide_modalities(panel, fractions, keep, correlation, groups, keys)
    elif pattern == "point":
        hidden = _hide_points(panel, fractions, keys)
    else:
        together = pattern == "block"
        hidden = _hide_stretches(panel, fractions, correlation, groups, place, keys, together)
    hidden = _restore(panel, hidden, keep, keys)
    values, observed, masks = {}, {}, filled_masks(panel)
    for modality in panel.schema:
        name = modality.name
        if hidden[name].any():
            fill = np.nan if modality.vocabulary is None else modality.vocabulary.missing
            values[name] = np.where(hidden[name], fill, panel.values[name]).astype(
                panel.values[name].dtype
            )
            observed[name] = masks[name] & ~hidden[name] if name in masks else None
    return panel.replace(values=values, observed=observed)


def _hide_modalities(
    panel: Panel,
    fractions: Mapping[str, float],
    keep: int,
    correlation: float,
    groups: Sequence[Sequence[str]] | None,
    keys: np.ndarray,
) -> dict[str, np.ndarray]:
    """Whole modalities; each entry broadcasts to ``(n, C, L)``."""
    available = panel.available
    least = np.minimum(keep, available.sum(1))
    chances = np.array([fractions[name] for name in panel.schema.names])
    fails = np.zeros(available.shape, bool)
    rows = np.arange(len(panel))
    for attempt in range(_REDRAWS):
        ranks = _joint_ranks(panel.schema, correlation, groups, mix(keys[rows], attempt))
        fails[rows] = ranks < chances
        rows = rows[(available & ~fails)[rows].sum(1) < least[rows]]
        if rows.size == 0:
            break
    return {name: fails[:, m, None, None] for m, name in enumerate(panel.schema.names)}


def _hide_points(
    panel: Panel, fractions: Mapping[str, float], keys: np.ndarray
) -> dict[str, np.ndarray]:
    """Single values, ``(n, C, L)``."""
    hidden = {}
    for m, modality in enumerate(panel.schema):
        channels = np.arange(modality.n_channels)[:, None]
        timepoints = np.arange(modality.n_timepoints)
        shape = (len(panel), modality.n_channels, modality.n_timepoints)
        hidden[modality.name] = np.empty(shape, bool)
        for rows in sample_chunks(shape):
            draws = uniform(mix(keys[rows, None, None], 1, m, channels, timepoints))
            hidden[modality.name][rows] = draws < fractions[modality.name]
    return hidden


def _hide_stretches(
    panel: Panel,
    fractions: Mapping[str, float],
    correlation: float,
    groups: Sequence[Sequence[str]] | None,
    place: str,
    keys: np.ndarray,
    together: bool,
) -> dict[str, np.ndarray]:
    """One stretch a modality ``(n, 1, L)``, or one a channel ``(n, C, L)``."""
    ranks = _joint_ranks(panel.schema, correlation, groups, keys)
    hidden = {}
    for m, modality in enumerate(panel.schema):
        name, channels = modality.name, np.arange(modality.n_channels)
        drawn = ranks[:, m, None] if together else uniform(mix(keys[:, None], 2, m, channels))
        position = {"random": drawn, "start": np.zeros_like(drawn), "end": np.ones_like(drawn)}
        duration = _durations(panel.observed[name])[:, None]  # padding is no part of a sample
        size = np.rint(fractions[name] * duration).astype(np.int64)
        free = duration - size
        start = np.minimum(np.floor(position[place] * (free + 1)), free)[..., None]
        timepoints = np.arange(modality.n_timepoints)
        hidden[name] = (start <= timepoints) & (timepoints < start + size[..., None])
    return hidden


def _durations(observed: np.ndarray) -> np.ndarray:
    """Timepoints of each sample up to its last observed one, ``(n,)``."""
    any_observed = np.asarray(observed.any(1))
    last = any_observed.shape[1] - any_observed[:, ::-1].argmax(1)
    return np.where(any_observed.any(1), last, 0)


def _joint_ranks(
    schema: Schema,
    correlation: float,
    groups: Sequence[Sequence[str]] | None,
    keys: np.ndarray,
) -> np.ndarray:
    """Numbers uniform in (0, 1), one a sample and modality, ``(n, M)``, tied by a normal copula."""
    leaders = {name: m for m, name in enumerate(schema.names)}
    for group in groups or ():
        leaders.update(dict.fromkeys(group, leaders[group[0]]))
    own = np.array([leaders[name] for name in schema.names])
    draws = uniform(mix(keys[:, None], 3, own))
    if correlation == 0:
        return draws
    common = uniform(mix(keys[:, None], 4))
    score = np.sqrt(correlation) * ndtri(common) + np.sqrt(1 - correlation) * ndtri(draws)
    return ndtr(score)


def _restore(
    panel: Panel, hidden: dict[str, np.ndarray], keep: int, keys: np.ndarray
) -> dict[str, np.ndarray]:
    """The same, less whole modalities chosen at random, until ``keep`` are left in each sample."""
    names = panel.schema.names
    available = panel.available
    left = np.stack([(panel.observed[name] & ~hidden[name]).any((1, 2)) for name in names], axis=1)
    short = np.minimum(keep, available.sum(1)) - left.sum(1)  # (n,)
    if (short <= 0).all():
        return hidden
    draws = uniform(mix(keys[:, None], 5, np.arange(len(names))))
    order = np.where(available & ~left, draws, np.inf).argsort(1).argsort(1)
    back = available & ~left & (order < short[:, None])
    return {name: hidden[name] & ~back[:, m, None, None] for m, name in enumerate(names)}


def _check_parameters(
    schema: Schema,
    pattern: Any,
    fraction: Any,
    keep: Any,
    correlation: Any,
    groups: Any,
    place: Any,
) -> None:
    if pattern not in _PATTERNS:
        raise ValueError(f"pattern is one of {', '.join(map(repr, _PATTERNS))}, got {pattern!r}.")
    for name, share in by_modality("fraction", fraction, schema).items():
        if not isinstance(share, (int, float, np.number)) or not 0 <= share <= 1:
            raise ValueError(
                f"fraction is a number in [0, 1], got {share!r} for modality {name!r}."
            )
    if not isinstance(keep, (int, np.integer)) or keep < 0:
        raise ValueError(f"keep is a number of modalities, 0 or more, got {keep!r}.")
    if not isinstance(correlation, (int, float, np.number)) or not 0 <= correlation <= 1:
        raise ValueError(f"correlation is a number in [0, 1], got {correlation!r}.")
    if place not in _PLACES:
        raise ValueError(f"place is one of {', '.join(map(repr, _PLACES))}, got {place!r}.")
    if pattern in ("span", "point") and (correlation or groups):
        raise ValueError(
            f"correlation and groups tie modalities together; pattern={pattern!r} draws for each "
            "channel by itself. Use pattern='modality' or 'block', or leave them out."
        )
    if place != "random" and pattern in ("modality", "point"):
        raise ValueError(
            f"place={place!r} is where a stretch of time lies; pattern={pattern!r} hides none. "
            "Use pattern='block' or 'span', or leave it out."
        )
    if any(isinstance(group, str) or not isinstance(group, Sequence) for group in groups or ()):
        raise ValueError(f"groups is a list of lists of names of modalities, got {groups!r}.")
    grouped = [name for group in groups or () for name in group]
    unknown = [name for name in grouped if name not in schema]
    if unknown or len(set(grouped)) < len(grouped):
        raise ValueError(
            f"groups names each modality of {list(schema.names)} once at most, got "
            f"{[list(group) for group in groups]}."
        )
