"""Writes sax.json: symbols and distances by aeon, tslearn and pyts, each in its own words.

pip install "aeon==1.6.0" "tslearn==0.10.0" "pyts==0.14.1"
python tests/reference/make_sax.py > tests/reference/sax.json
"""

import json
import sys
from importlib.metadata import version

import numpy as np

SETTINGS = [(4, 2), (5, 3), (20, 2), (8, 6)]  # alphabet size, segment length


def main() -> None:
    rng = np.random.default_rng(7)
    walks = rng.normal(size=(6, 24)).cumsum(1).round(3).astype(np.float32)
    normal = walks.astype(np.float64)
    normal = (normal - normal.mean(1, keepdims=True)) / normal.std(1, keepdims=True)
    cases = [by_all(normal, size, length) for size, length in SETTINGS]
    json.dump(
        {
            "versions": {name: version(name) for name in ("aeon", "tslearn", "pyts")},
            "series": [[round(float(x), 3) for x in row] for row in walks],
            "cases": cases,
        },
        sys.stdout,
        indent=None,
        separators=(",", ":"),
    )


def by_all(normal: np.ndarray, size: int, length: int) -> dict:
    """Symbols of normalised series ``(n, L)``, and tslearn's lower bound between them."""
    n_segments = normal.shape[1] // length
    return {
        "alphabet_size": size,
        "segment_length": length,
        "aeon": by_aeon(normal, size, n_segments),
        "tslearn": by_tslearn(normal, size, n_segments),
        "pyts": by_pyts(normal, size, length),
        "mindist_tslearn": mindist_tslearn(normal, size, n_segments),
    }


def by_aeon(normal, size, n_segments):
    """Symbols from 0."""
    from aeon.transformations.collection.dictionary_based import SAX

    sax = SAX(n_segments=n_segments, alphabet_size=size, znormalized=True)
    return sax.fit_transform(normal[:, None])[:, 0].tolist()


def by_tslearn(normal, size, n_segments):
    """Symbols from 0."""
    from tslearn.piecewise import SymbolicAggregateApproximation

    sax = SymbolicAggregateApproximation(n_segments=n_segments, alphabet_size_avg=size)
    return sax.fit_transform(normal[..., None])[..., 0].tolist()


def mindist_tslearn(normal, size, n_segments):
    """All pairs."""
    from tslearn.piecewise import SymbolicAggregateApproximation

    sax = SymbolicAggregateApproximation(n_segments=n_segments, alphabet_size_avg=size)
    symbols = sax.fit_transform(normal[..., None])
    return [[float(sax.distance_sax(a, b)) for b in symbols] for a in symbols]


def by_pyts(normal, size, length):
    """Symbols from 0."""
    from pyts.approximation import (
        PiecewiseAggregateApproximation,
        SymbolicAggregateApproximation,
    )

    means = PiecewiseAggregateApproximation(window_size=length).transform(normal)
    # pyts counts symbols against timepoints; repeating the means changes no symbol.
    wide = np.tile(means, (1, 1 + size // means.shape[1]))
    sax = SymbolicAggregateApproximation(n_bins=size, strategy="normal", alphabet="ordinal")
    return sax.transform(wide)[:, : means.shape[1]].tolist()


if __name__ == "__main__":
    main()
