"""
Filling gaps with samples, not guesses
======================================

Three sensors measure one movement: an accelerometer, a gyroscope, and a slow sensor of effort. A
Gaussian process is trained on recordings with gaps. It then fills a gap of the accelerometer, and
the whole accelerometer where it is missing all the time and only the other two are observed.

The result is a set of samples. Where the other sensors determine the value the samples agree;
where they do not, the band widens. The errors are printed beside those of the nearest value, and
how much of the truth lies in the bands of 90 %: too little means that they are too narrow.

Run ``python examples/plot_imputation.py``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from mts_fusion import (
    GaussianProcessImputer,
    MissingnessMasker,
    Panel,
    PanelImputer,
)
from mts_fusion.metrics import (
    band_coverage,
    crps_from_samples,
    mae_at_missing,
    quantiles_from_samples,
)

RATES = {"accelerometer": 16.0, "gyroscope": 16.0, "effort": 4.0}
NAME = "accelerometer"


def simulate(n_samples, seed):
    """Movements of 3 s: one rhythm behind all sensors, a little noise in each."""
    rng = np.random.default_rng(seed)
    frequency = rng.uniform(0.5, 1.2, (n_samples, 1))  # Hz
    phase = rng.uniform(0, 2 * np.pi, (n_samples, 1))
    size = rng.uniform(0.4, 1.6, (n_samples, 1))

    def wave(rate, shift):
        t = np.arange(round(3 * rate)) / rate
        return size * np.sin(2 * np.pi * frequency * t + phase + shift)

    clean = {
        "accelerometer": wave(16.0, 0.0)[:, None],
        "gyroscope": np.stack([wave(16.0, np.pi / 2), wave(16.0, np.pi / 4)], axis=1),
        "effort": np.abs(wave(4.0, 0.0))[:, None],
    }
    noisy = {name: x + rng.normal(0, 0.05, x.shape) for name, x in clean.items()}
    return Panel(noisy, rates=RATES)


def hide(panel, name, start, stop):
    """The panel with the timepoints ``start`` to ``stop`` of one sensor missing."""
    values = panel.values[name].copy()
    values[:, :, start:stop] = np.nan
    return panel.replace(values={name: values})


def scores(imputer, truth, hidden):
    """Over the gaps: error of the median, CRPS, and the truth that lies in the bands of 90 %."""
    gap = truth.observed[NAME] & ~hidden.observed[NAME]
    draws = np.stack([drawn.values[NAME] for drawn in imputer.sample(hidden, n=100)])
    low, median, high = quantiles_from_samples(draws, [0.05, 0.5, 0.95])
    return (
        mae_at_missing(truth.values[NAME], median, gap),
        crps_from_samples(truth.values[NAME], draws, gap),
        band_coverage(truth.values[NAME][gap], low[gap], high[gap]),
    )


def main():
    """Train, fill a gap and a missing sensor, print, and save a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, default=Path("plot_imputation.png"))
    options = parser.parse_args()

    complete = simulate(200, seed=0)
    train = MissingnessMasker(pattern="block", fraction=0.2, random_state=0).fit_transform(complete)
    print(train)
    start = time.perf_counter()
    imputer = GaussianProcessImputer(max_iter=150, random_state=0).fit(train)
    print(f"\ntrained in {time.perf_counter() - start:.0f} s on recordings with gaps")

    test = simulate(16, seed=1)
    cases = {
        "a gap of 1.25 s": hide(test, NAME, 16, 36),
        "missing all the time": hide(test, NAME, 0, test.schema[NAME].n_timepoints),
    }
    nearest = PanelImputer().fit(train)
    print(f"\n{NAME}: errors in its own unit".ljust(42), "  MAE   CRPS  in the 90 % bands")
    coverage = {}
    for what, hidden in cases.items():
        gap = test.observed[NAME] & ~hidden.observed[NAME]
        simple = mae_at_missing(test.values[NAME], nearest.transform(hidden).values[NAME], gap)
        mae, crps, coverage[what] = scores(imputer, test, hidden)
        print(f"{what}, nearest value".ljust(41), f"{simple:.3f}")
        print(f"{what}, Gaussian process".ljust(41), f"{mae:.3f}  {crps:.3f}  {coverage[what]:.0%}")

    draw(imputer, test, cases, coverage, options.figure)
    print(f"\nfigure: {options.figure}")


def draw(imputer, test, cases, coverage, path):
    """Samples, their band and the truth: a row for each of three movements."""
    from matplotlib.figure import Figure

    rows = [0, 3, 7]
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(len(rows), len(cases), sharex=True, sharey=True)
    for column, (what, everyone) in enumerate(cases.items()):
        hidden = everyone[rows]
        draws = np.stack([p.values[NAME][:, 0] for p in imputer.sample(hidden, n=100)])
        for i, row in enumerate(rows):
            draw_one(axes[i, column], hidden[[i]], draws[:, i], test.values[NAME][row, 0])
        axes[0, column].set_title(f"{what}: {coverage[what]:.0%} in the bands")
        axes[-1, column].set_xlabel("time (s)")
    axes[1, 0].set_ylabel(f"{NAME} (arbitrary unit)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=130)


def draw_one(ax, hidden, draws, truth):
    """One movement; where it was observed, samples, band and median are what was observed."""
    observed = hidden.observed[NAME][0, 0]
    t = np.arange(len(truth)) / RATES[NAME]
    low, middle, high = quantiles_from_samples(draws, [0.05, 0.5, 0.95])
    ax.fill_between(t, low, high, label="90 % of the samples", color="#0072B2", alpha=0.25, lw=0)
    ax.plot(t, draws[:5].T, color="#0072B2", lw=0.5, alpha=0.7)
    ax.plot(t, middle, color="#0072B2", lw=1.5, label="median")
    ax.plot(t, truth, "k--", lw=1, label="truth")
    ax.plot(t[observed], hidden.values[NAME][0, 0, observed], "k.", ms=5, label="observed")


if __name__ == "__main__":
    main()
