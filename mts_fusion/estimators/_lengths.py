"""Warnings where windows are much shorter or longer than those of ``fit``."""

from __future__ import annotations

import warnings
from typing import Any

from mts_fusion.panel import Panel

__all__ = ["names_of_one_length", "warn_of_lengths"]

# Samples have one length if this fraction of them has values in the last tenth of the window.
_NEARLY_ALL = 0.9


def names_of_one_length(panel: Panel) -> list[str]:
    """Names of the modalities whose samples all have one length.

    Parameters
    ----------
    panel : Panel
        Samples of ``fit``.

    Returns
    -------
    list of str
        Those with a regular clock of which 90 % of the samples have values in the last tenth of
        the window.
    """
    names = []
    for modality, present in zip(panel.schema, panel.available.T, strict=True):
        tail = panel.observed[modality.name][present, :, -max(1, modality.n_timepoints // 10) :]
        if not modality.irregular and len(tail) and tail.any((1, 2)).mean() >= _NEARLY_ALL:
            names.append(modality.name)
    return names


def warn_of_lengths(estimator: Any, panel: Panel) -> None:
    """Warn of windows at most half or at least twice as long as those of ``fit``.

    Modalities whose samples had several lengths in ``fit`` are not checked.

    Parameters
    ----------
    estimator : estimator
        With ``schema_``, and ``_one_length`` from :func:`names_of_one_length` in ``fit``.
    panel : Panel
        Samples of that schema.
    """
    for name in estimator._one_length:
        n, n_fit = panel.schema[name].n_timepoints, estimator.schema_[name].n_timepoints
        if (n_fit < 2 * n and n < 2 * n_fit) or not panel.observed[name].any():
            continue
        meaning = (
            "the rest of the window counts as missing. Give windows of the same length, padded "
            "with NaN where this is meant."
            if n < n_fit
            else "all of them are read, but no such window was learnt from. Cut windows of the "
            "same length, as segment does."
        )
        warnings.warn(
            f"Modality {name!r} has {n} timepoints, and had {n_fit} in fit: {meaning}",
            UserWarning,
            stacklevel=4,
        )
