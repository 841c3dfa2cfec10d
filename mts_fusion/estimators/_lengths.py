"""Warnings where windows are much shorter or longer than those of ``fit``."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from mts_fusion.panel import Panel
from mts_fusion.panel._stored import loaded_parts

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
    reach_end = np.concatenate([_reach_end(part) for part in loaded_parts(panel)])
    names = []
    for modality, present, reach in zip(panel.schema, panel.available.T, reach_end.T, strict=True):
        if not modality.irregular and present.any() and reach[present].mean() >= _NEARLY_ALL:
            names.append(modality.name)
    return names


def _reach_end(panel: Panel) -> np.ndarray:
    """Whether each modality has values in the last tenth of the window, bool ``(n, M)``."""
    tails = [panel.observed[m.name][:, :, -max(1, m.n_timepoints // 10) :] for m in panel.schema]
    return np.stack([tail.any((1, 2)) for tail in tails], axis=1)


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
    columns = zip(panel.schema.names, panel.available.T, strict=True)
    present = {name for name, available in columns if available.any()}
    for name in estimator._one_length:
        n, n_fit = panel.schema[name].n_timepoints, estimator.schema_[name].n_timepoints
        if (n_fit < 2 * n and n < 2 * n_fit) or name not in present:
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
