"""
Filling gaps with samples, not guesses
======================================

Three sensors measure one movement: an accelerometer, a gyroscope, and a slow sensor of effort. A
conditional diffusion is trained on recordings with gaps. It then fills a gap of the accelerometer,
and the whole accelerometer where it is missing all the time and only the other two are observed.

The result is a set of samples. Where the other sensors determine the value the samples agree;
where they do not, the band widens. The training takes about a minute; the errors are printed beside
those of the nearest value. Run ``python examples/plot_imputation.py``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from mts_fusion import ConditionalDiffusionImputer, MissingnessMasker, Panel, PanelImputer
from mts_fusion.metrics import crps_from_samples, mae_at_missing

RATES = {"accelerometer": 16.0, "gyroscope": 16.0, "effort": 4.0}


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


def errors(imputer, truth, hidden, name):
    """Mean absolute error of the median, and the score of the samples (CRPS), over the gaps."""
    gap = truth.observed[name] & ~hidden.observed[name]
    draws = np.stack([drawn.values[name] for drawn in imputer.sample(hidden)])
    median = np.median(draws, axis=0)
    return (
        mae_at_missing(truth.values[name], median, gap),
        crps_from_samples(truth.values[name], draws, gap),
    )


def main():
    """Train, fill a gap and a missing sensor, print, and save a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).with_suffix(".png")
    parser.add_argument("--figure", type=Path, default=default)
    parser.add_argument("--epochs", type=int, default=45)
    options = parser.parse_args()

    complete = simulate(400, seed=0)
    train = MissingnessMasker(pattern="block", fraction=0.2, random_state=0).fit_transform(complete)
    print(train)
    start = time.perf_counter()
    imputer = ConditionalDiffusionImputer(
        d_model=32,
        n_encoder_layers=2,
        patch_length=4,
        batch_size=48,
        max_epochs=options.epochs,
        validation_fraction=0.0,
        lr=3e-3,
        random_state=0,
    ).fit(train)
    print(f"\ntrained in {time.perf_counter() - start:.0f} s on recordings with gaps")

    test, name = simulate(16, seed=1), "accelerometer"
    n_timepoints = test.schema[name].n_timepoints
    cases = {
        "a gap of 1.25 s": hide(test, name, 16, 36),
        "missing all the time": hide(test, name, 0, n_timepoints),
    }
    nearest = PanelImputer().fit(train)
    print(f"\n{name}: error in its own unit     diffusion MAE   CRPS   nearest value MAE")
    for what, hidden in cases.items():
        mae, crps = errors(imputer, test, hidden, name)
        gap = test.observed[name] & ~hidden.observed[name]
        simple = mae_at_missing(test.values[name], nearest.transform(hidden).values[name], gap)
        print(f"{what.ljust(40)} {mae:.3f}           {crps:.3f}  {simple:.3f}")

    draw(imputer, test, cases, options.figure)
    print(f"\nfigure: {options.figure}")


def draw(imputer, test, cases, path):
    """Samples, their band and the truth: a row for each of three movements."""
    from matplotlib.figure import Figure

    rows, name = [0, 3, 7], "accelerometer"
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    axes = figure.subplots(len(rows), len(cases), sharex=True, sharey=True)
    t = np.arange(test.schema[name].n_timepoints) / RATES[name]
    for column, (what, hidden) in enumerate(cases.items()):
        draws = np.stack([p.values[name][:, 0] for p in imputer.sample(hidden[rows])])
        low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95], axis=0)
        for i, row in enumerate(rows):
            ax = axes[i, column]
            observed = hidden.observed[name][row, 0]
            # Where the sensor was observed, samples, band and median are what was observed.
            band = {"color": "#0072B2", "alpha": 0.25, "lw": 0}
            ax.fill_between(t, low[i], high[i], label="90 % of the samples", **band)
            ax.plot(t, draws[:5, i].T, color="#0072B2", lw=0.5, alpha=0.7)
            ax.plot(t, middle[i], color="#0072B2", lw=1.5, label="median")
            ax.plot(t, test.values[name][row, 0], "k--", lw=1, label="truth")
            ax.plot(
                t[observed], hidden.values[name][row, 0, observed], "k.", ms=5, label="observed"
            )
            if not i:
                ax.set_title(f"{name}: {what}")
            if i == len(rows) - 1:
                ax.set_xlabel("time (s)")
        axes[1, 0].set_ylabel("acceleration (arbitrary unit)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
