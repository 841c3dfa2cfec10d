"""How much faster SAXTokenizer is than a Python loop over the channels, same symbols out."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from mts_fusion.panel import Panel
from mts_fusion.transforms import SAXTokenizer

__all__ = ["main"]

_ALPHABET_SIZE, _SEGMENT_LENGTH = 20, 2  # MAESTRO's
_N_CHANNELS, _N_TIMEPOINTS = 14, 256  # a window of WESAD at MAESTRO's rate


def main(quick: bool = False) -> list[dict[str, object]]:
    """Time the tokenizer against two loops, in turn, on the same panel.

    ``"loop"`` is the way of MAESTRO's released code: for each channel of each sample, a Python loop
    over its segments. ``"numpy in loop"`` is the best that a loop over channels does: one numpy
    call a step. Both know nothing of missing values. Times are of the processor, not of the clock,
    so that other work on the machine matters less; all three use one thread.

    Parameters
    ----------
    quick : bool, default=False
        Fewer samples and rounds.

    Returns
    -------
    list of dict
        A row for each number of samples and method: ``samples``, ``method``, milliseconds a sample
        as median, least and most over the rounds, and ``times_faster``: how many times faster the
        tokenizer was than this method, by medians.
    """
    n_rounds = 3 if quick else 7
    rows: list[dict[str, object]] = []
    for n_samples in (1, 16) if quick else (1, 16, 128):
        walks = np.random.default_rng(0).normal(size=(n_samples, _N_CHANNELS, _N_TIMEPOINTS))
        panel = Panel({"wrist": walks.cumsum(2)})
        tokenizer = SAXTokenizer(
            alphabet_size=_ALPHABET_SIZE, segment_length=_SEGMENT_LENGTH, scope="instance"
        ).fit(panel)
        values = panel.values["wrist"].astype(np.float64)
        bounds = np.array(tokenizer.vocabularies_["wrist"].breakpoints)
        methods: dict[str, Callable[[], np.ndarray]] = {
            "SAXTokenizer": partial(_tokenize, tokenizer, values),
            "loop": partial(_loop, values, bounds),
            "numpy in loop": partial(_numpy_in_loop, values, bounds),
        }
        rows += _time_all(methods, n_samples, n_rounds)
    return rows


def _time_all(
    methods: dict[str, Callable[[], np.ndarray]], n_samples: int, n_rounds: int
) -> list[dict[str, object]]:
    symbols = {name: method() for name, method in methods.items()}  # and warms up
    for name, found in symbols.items():
        if not np.array_equal(found, symbols["SAXTokenizer"]):
            raise RuntimeError(f"{name} gives other symbols than SAXTokenizer.")
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(n_rounds):
        for name, method in methods.items():
            start = time.process_time()
            method()
            seconds[name].append(time.process_time() - start)
    ours = np.median(seconds["SAXTokenizer"])
    return [
        {
            "samples": n_samples,
            "method": name,
            "ms_per_sample": float(1e3 * np.median(taken) / n_samples),
            "least": float(1e3 * min(taken) / n_samples),
            "most": float(1e3 * max(taken) / n_samples),
            "times_faster": float(np.median(taken) / ours),
        }
        for name, taken in seconds.items()
    ]


def _tokenize(tokenizer: SAXTokenizer, values: np.ndarray) -> np.ndarray:
    """Symbols, all at once, and all that a user's array passes on its way."""
    return tokenizer.transform({"wrist": values}).values["wrist"]


def _loop(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Symbols, one channel after another and one segment after another."""
    samples = []
    for sample in values:
        channels = []
        for channel in sample:
            normal = (channel - channel.mean()) / channel.std()
            symbols = []
            for start in range(0, len(normal), _SEGMENT_LENGTH):
                mean = normal[start : start + _SEGMENT_LENGTH].mean()
                symbols.append(1 + sum(mean >= bound for bound in bounds))
            channels.append(symbols)
        samples.append(channels)
    return np.array(samples)


def _numpy_in_loop(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Symbols, one channel after another."""
    symbols = np.empty((*values.shape[:2], values.shape[2] // _SEGMENT_LENGTH), np.int16)
    for sample, out in zip(values, symbols, strict=True):
        for channel, row in zip(sample, out, strict=True):
            normal = (channel - channel.mean()) / channel.std()
            means = normal.reshape(-1, _SEGMENT_LENGTH).mean(1)
            row[:] = np.searchsorted(bounds, means, side="right") + 1
    return symbols
