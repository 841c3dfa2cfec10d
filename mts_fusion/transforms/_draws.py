"""Random numbers that depend on a sample's content, not on its place in the panel.

A counter-based generator: the finaliser of SplitMix64 over a key and counters. Any number can be
drawn without those before it, for all samples at once.

References
----------
.. [1] G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators",
   OOPSLA, 2014.
.. [2] D. Lemire, O. Kaser, "Strongly universal string hashing is fast", Computer Journal, 2014.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mts_fusion.panel import Panel

from ._moments import sample_chunks

__all__ = ["mix", "sample_keys", "uniform"]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def mix(keys: Any, *counters: Any) -> np.ndarray:
    """Keys for further draws: the key and each counter in turn, scrambled.

    Parameters
    ----------
    keys : array of uint64
        Where to start.
    *counters : int or array of int
        What the draw is for, from 0; they broadcast with ``keys``.

    Returns
    -------
    array of uint64
        Of the broadcast shape.
    """
    mixed = np.asarray(keys, np.uint64)
    with np.errstate(over="ignore"):  # numbers wrap around at 2**64, as they should
        for counter in counters:
            step = (np.asarray(counter).astype(np.uint64) + np.uint64(1)) * _STEP
            mixed = _scramble(mixed + step)
    return mixed


def uniform(keys: np.ndarray) -> np.ndarray:
    """Numbers uniform in the open interval (0, 1), one a key, in steps of 2**-52.

    Parameters
    ----------
    keys : array of uint64
        What ``mix`` gave.

    Returns
    -------
    array of float64
        Of the same shape.
    """
    return ((keys >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def sample_keys(panel: Panel, seed: int) -> np.ndarray:
    """A key for each sample, from the seed and what was observed in it.

    Parameters
    ----------
    panel : Panel
        Samples.
    seed : int
        Non-negative.

    Returns
    -------
    array of uint64 of shape (n,)
        Equal for samples of equal content, whatever padding follows them.
    """
    keys = np.full(len(panel), mix(np.uint64(seed), 0))
    for m, modality in enumerate(panel.schema):
        values, observed = panel.values[modality.name], panel.observed[modality.name]
        channels = np.arange(modality.n_channels)[:, None]
        factors = mix(np.uint64(m), channels, np.arange(modality.n_timepoints))  # (C, L)
        content = np.empty(len(panel), np.uint64)
        for rows in sample_chunks(values.shape):
            bits = (values[rows].astype(np.float32) + np.float32(0)).view(np.uint32)  # -0 is 0
            words = np.where(observed[rows], bits.astype(np.uint64) + np.uint64(1), np.uint64(0))
            # Multilinear hashing: a sum, so what is missing, padding too, adds nothing.
            content[rows] = np.einsum("ncl,cl->n", words, factors | np.uint64(1))
        keys = mix(keys ^ content, m)
    return keys


def _scramble(words: np.ndarray) -> np.ndarray:
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))
