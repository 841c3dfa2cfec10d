"""Synthetic panels, for classification and for regression."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..panel import Panel
from ..panel._arguments import check_at_least, check_types

__all__ = ["make_panel_classification", "make_panel_regression"]

# Channels and rates of modality 0, 1, 2, ... where only their number is given.
_CHANNELS = (3, 1, 2)
_RATES = (16.0, 4.0, 8.0)


def make_panel_classification(
    n_samples: int = 200,
    *,
    modalities: int | Mapping[str, tuple[int, float]] = 3,
    duration_seconds: float = 2.0,
    n_classes: int = 3,
    informative: Collection[str] | None = None,
    class_sep: float = 1.0,
    noise: float = 0.5,
    missing_fraction: float = 0.0,
    missing_modality_fraction: float = 0.0,
    irregular: Collection[str] = (),
    n_groups: int = 5,
    group_sd: float = 0.3,
    return_groups: bool = False,
    random_state: int | np.random.Generator | None = None,
) -> tuple[Any, ...]:
    """Panel of sensors with different rates, and the class of each sample.

    A class gives each channel of an informative modality a level and an oscillation of its own;
    a group (a subject) shifts the levels of all its samples; white noise comes on top.

    Parameters
    ----------
    n_samples : int, default=200
        Number of samples n.
    modalities : int or dict of str to (int, float), default=3
        Either the number of modalities, which are then called ``"m0"``, ``"m1"``, ... with 3, 1, 2,
        3, ... channels at 16, 4, 8, 16, ... Hz; or, per name, the number of channels and the
        rate in Hz.
    duration_seconds : float, default=2.0
        Length of a sample in seconds; a modality has ``round(duration_seconds * rate)`` timepoints.
    n_classes : int, default=3
        Number of classes, as equally filled as ``n_samples`` allows.
    informative : collection of str, default=None
        Names of the modalities that depend on the class; None means all of them. With an empty
        collection nothing depends on it.
    class_sep : float, default=1.0
        Size of the differences between classes; with 0 there are none.
    noise : float, default=0.5
        Standard deviation of the white noise.
    missing_fraction : float, default=0.0
        Probability of each single value to be missing.
    missing_modality_fraction : float, default=0.0
        Probability of each modality to be wholly missing in a sample; each sample keeps at least
        one modality.
    irregular : collection of str, default=()
        Names of the modalities that come at irregular times: uniformly drawn, between half and all
        of their timepoints, the rest NaN.
    n_groups : int, default=5
        Number of groups over which the samples are spread.
    group_sd : float, default=0.3
        Standard deviation of the levels between groups; with 0 groups do not differ.
    return_groups : bool, default=False
        Whether the group of each sample is returned too.
    random_state : int, numpy.random.Generator or None, default=None
        Seed; the same seed gives the same panel.

    Returns
    -------
    panel : Panel
        Of ``n_samples`` samples.
    y : ndarray of shape (n_samples,) of int
        The class of each sample.
    groups : ndarray of shape (n_samples,) of int
        Only with ``return_groups=True``.

    Raises
    ------
    ValueError
        If a name in ``informative`` or ``irregular`` is no modality, a fraction is not in [0, 1],
        or a modality is too slow to have a timepoint.

    Examples
    --------
    >>> panel, y = make_panel_classification(20, n_classes=2, random_state=0)
    >>> panel.shape, y.shape
    ((20, 3), (20,))
    >>> panel.schema["m0"].n_timepoints, panel.schema["m1"].n_timepoints
    (32, 8)
    """
    check_types(make_panel_classification, locals())
    check_at_least(1, n_samples=n_samples, n_classes=n_classes, n_groups=n_groups)
    check_at_least(0, noise=noise, group_sd=group_sd, class_sep=class_sep)
    rng = _generator(random_state)
    specification = _specification(modalities, duration_seconds, informative, irregular)
    y = rng.permutation(np.arange(n_samples) % n_classes)
    groups = rng.permutation(np.arange(n_samples) % n_groups)
    # A latent per class and channel; modality by modality, so that a spec can be extended.
    levels, swings = {}, {}
    for name, (n_channels, _) in specification.items():
        sep = class_sep * (informative is None or name in informative)
        levels[name] = sep * rng.normal(size=(n_classes, n_channels))[y]
        swings[name] = sep * rng.uniform(-1, 1, size=(n_classes, n_channels))[y]
    panel = _assemble(
        specification,
        duration_seconds,
        levels,
        swings,
        groups,
        n_groups=n_groups,
        group_sd=group_sd,
        noise=noise,
        missing_fraction=missing_fraction,
        missing_modality_fraction=missing_modality_fraction,
        irregular=irregular,
        rng=rng,
    )
    return (panel, y, groups) if return_groups else (panel, y)


def make_panel_regression(
    n_samples: int = 200,
    *,
    modalities: int | Mapping[str, tuple[int, float]] = 3,
    duration_seconds: float = 2.0,
    n_targets: int = 1,
    informative: Collection[str] | None = None,
    noise: float = 0.5,
    missing_fraction: float = 0.0,
    missing_modality_fraction: float = 0.0,
    irregular: Collection[str] = (),
    n_groups: int = 5,
    group_sd: float = 0.3,
    return_groups: bool = False,
    random_state: int | np.random.Generator | None = None,
) -> tuple[Any, ...]:
    """Panel of sensors with different rates, and a number (or several) for each sample.

    The targets are standard normal; the level and the oscillation of each channel of an
    informative modality are linear in them.

    Parameters
    ----------
    n_samples : int, default=200
        Number of samples n.
    modalities : int or dict of str to (int, float), default=3
        As in :func:`make_panel_classification`.
    duration_seconds : float, default=2.0
        Length of a sample in seconds.
    n_targets : int, default=1
        Number of targets; with 1, ``y`` has one dimension.
    informative : collection of str, default=None
        Names of the modalities that depend on the targets; None means all of them.
    noise : float, default=0.5
        Standard deviation of the white noise.
    missing_fraction : float, default=0.0
        Probability of each single value to be missing.
    missing_modality_fraction : float, default=0.0
        Probability of each modality to be wholly missing in a sample; each sample keeps at least
        one modality.
    irregular : collection of str, default=()
        Names of the modalities that come at irregular times.
    n_groups : int, default=5
        Number of groups over which the samples are spread.
    group_sd : float, default=0.3
        Standard deviation of the levels between groups.
    return_groups : bool, default=False
        Whether the group of each sample is returned too.
    random_state : int, numpy.random.Generator or None, default=None
        Seed; the same seed gives the same panel.

    Returns
    -------
    panel : Panel
        Of ``n_samples`` samples.
    y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        The targets.
    groups : ndarray of shape (n_samples,) of int
        Only with ``return_groups=True``.

    Raises
    ------
    ValueError
        As in :func:`make_panel_classification`.

    Examples
    --------
    >>> panel, y = make_panel_regression(20, n_targets=2, random_state=0)
    >>> len(panel), y.shape
    (20, (20, 2))
    """
    check_types(make_panel_regression, locals())
    check_at_least(1, n_samples=n_samples, n_targets=n_targets, n_groups=n_groups)
    check_at_least(0, noise=noise, group_sd=group_sd)
    rng = _generator(random_state)
    specification = _specification(modalities, duration_seconds, informative, irregular)
    y = rng.normal(size=(n_samples, n_targets))
    groups = rng.permutation(np.arange(n_samples) % n_groups)
    levels, swings = {}, {}
    for name, (n_channels, _) in specification.items():
        factor = float(informative is None or name in informative)
        levels[name] = factor * y @ rng.normal(size=(n_targets, n_channels))
        swings[name] = factor * y @ rng.normal(size=(n_targets, n_channels))
    panel = _assemble(
        specification,
        duration_seconds,
        levels,
        swings,
        groups,
        n_groups=n_groups,
        group_sd=group_sd,
        noise=noise,
        missing_fraction=missing_fraction,
        missing_modality_fraction=missing_modality_fraction,
        irregular=irregular,
        rng=rng,
    )
    y = y[:, 0] if n_targets == 1 else y
    return (panel, y, groups) if return_groups else (panel, y)


def _generator(random_state: int | np.random.Generator | None) -> np.random.Generator:
    if isinstance(random_state, int):
        check_at_least(0, random_state=random_state)
    return np.random.default_rng(random_state)


def _specification(
    modalities: int | Mapping[str, tuple[int, float]],
    duration_seconds: float,
    informative: Collection[str] | None,
    irregular: Collection[str],
) -> dict[str, tuple[int, float]]:
    """Channels and rate of each modality, checked against the names the caller used."""
    check_at_least(0, duration_seconds=duration_seconds)
    if isinstance(modalities, Mapping):
        wrong = [name for name, one in modalities.items() if np.shape(one) != (2,)]
        if wrong or not modalities:
            raise ValueError(
                f"modalities is a number, or a dict of name to (channels, rate), got "
                f"{modalities!r}."
            )
        specification = {name: (int(c), float(rate)) for name, (c, rate) in modalities.items()}
    else:
        check_at_least(1, modalities=modalities)
        specification = {f"m{i}": (_CHANNELS[i % 3], _RATES[i % 3]) for i in range(int(modalities))}
    for parameter, names in (("informative", informative or ()), ("irregular", irregular)):
        unknown = [name for name in names if name not in specification]
        if unknown:
            raise ValueError(
                f"{parameter} names {unknown}, but the modalities are {list(specification)}."
            )
    for name, (_, rate) in specification.items():
        if round(duration_seconds * rate) < 1:
            raise ValueError(
                f"Modality {name!r} at {rate:g} Hz has no timepoint in {duration_seconds:g} "
                "seconds. Raise its rate or duration_seconds."
            )
    return specification


def _assemble(
    specification: dict[str, tuple[int, float]],
    duration_seconds: float,
    levels: dict[str, NDArray[Any]],
    swings: dict[str, NDArray[Any]],
    groups: NDArray[Any],
    *,
    n_groups: int,
    group_sd: float,
    noise: float,
    missing_fraction: float,
    missing_modality_fraction: float,
    irregular: Collection[str],
    rng: np.random.Generator,
) -> Panel:
    """Signals from the level (n, C) and the swing (n, C) of each channel, with missing values."""
    for name, fraction in (
        ("missing_fraction", missing_fraction),
        ("missing_modality_fraction", missing_modality_fraction),
    ):
        if not 0 <= fraction <= 1:
            raise ValueError(f"{name} is a share in [0, 1], got {fraction!r}.")
    n = len(groups)
    values: dict[str, NDArray[Any]] = {}
    times: dict[str, NDArray[Any]] = {}
    rates: dict[str, float | None] = {}
    for name, (n_channels, rate) in specification.items():
        n_timepoints = round(duration_seconds * rate)
        clock = np.tile(np.arange(n_timepoints) / rate, (n, 1))  # (n, L) seconds
        if name in irregular:
            clock = np.sort(rng.uniform(0, duration_seconds, size=(n, n_timepoints)), axis=1)
            kept = rng.integers((n_timepoints + 1) // 2, n_timepoints + 1, size=n)
            clock[np.arange(n_timepoints) >= kept[:, None]] = np.nan
            times[name] = clock
        else:
            rates[name] = rate
        # One slow oscillation, well below half the rate of every modality that can show one.
        phase = rng.uniform(0, 2 * np.pi, size=(n, n_channels, 1))
        wave = np.sin(2 * np.pi * 1.5 / duration_seconds * clock[:, None, :] + phase)
        offset = group_sd * rng.normal(size=(n_groups, n_channels))[groups]
        signal = (levels[name] + offset)[:, :, None] + (0.5 + swings[name])[:, :, None] * wave
        signal += noise * rng.normal(size=signal.shape)
        signal[rng.random(signal.shape) < missing_fraction] = np.nan
        values[name] = signal.astype(np.float32)
    # (n, M) whole modalities; the one with the largest draw always stays
    draws = rng.random((n, len(specification)))
    silent = draws < missing_modality_fraction
    silent[np.arange(n), draws.argmax(axis=1)] = False
    for m, name in enumerate(specification):
        values[name][silent[:, m]] = np.nan
    return Panel(values, times=times, rates=rates)
