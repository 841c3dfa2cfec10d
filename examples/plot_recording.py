"""
A recording, window by window, while its sensors die
====================================================

A wristband of four sensors is worn by people who are at rest or under stress, three minutes each.
PatternRidge learns from eight of them and predicts the windows of a ninth, whose sensors stop one
after another. Above, one window as it comes, with a gap and a sensor that is silent; below, the
probabilities along the recording and the sensors that were left.

Run ``python examples/plot_recording.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mts_fusion import PatternRidgeClassifier, segment
from mts_fusion.inspection import PanelDisplay, RecordingDisplay

RATES = {"bvp": 16.0, "eda": 4.0, "temp": 4.0, "hr": 1.0}
WINDOW_SECONDS = 20.0


def record(seed, minutes=18):
    """Streams of a person, and whether there was stress in each second."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0, 0.3, 4)  # people differ
    streams = {}
    for k, (name, rate) in enumerate(RATES.items()):
        times = np.arange(0, 60 * minutes, 1 / rate)
        stress = times // 180 % 2
        clean = {
            "bvp": np.sin(times * (6 + 0.6 * stress + 0.3 * level[k])),
            "eda": 0.5 * stress + level[k],
            "temp": -0.3 * stress + level[k],
            "hr": 70 + 4 * stress + 8 * level[k],
        }[name]
        noise = {"bvp": 0.8, "eda": 0.7, "temp": 0.7, "hr": 4.0}[name]
        streams[name] = times, clean + rng.normal(0, noise, len(times))
    seconds = np.arange(60.0 * minutes)
    return streams, (seconds, np.where(seconds // 180 % 2, "stress", "rest"))


def windows_of(people):
    """Windows, their labels and the person of each."""
    return segment(
        [streams for streams, _ in people],
        window_seconds=WINDOW_SECONDS,
        label=[label for _, label in people],
    )


def main():
    """Train, take sensors away one after another, predict, print, and save a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, default=Path("plot_recording.png"))
    options = parser.parse_args()

    X, y, person = windows_of([record(seed) for seed in range(8)])
    classifier = PatternRidgeClassifier(random_state=0).fit(X, y, groups=person)

    new, truth, _ = windows_of([record(8)])
    values = {name: x.copy() for name, x in new.values.items()}
    n = len(new)
    for k, name in enumerate(["eda", "temp", "bvp"]):  # the pulse rate stays to the end
        values[name][n * (k + 1) // 4 :] = np.nan
    values["bvp"][n // 3, :, 100:180] = np.nan  # a loose contact for five seconds
    broken = new.replace(values=values)
    right = classifier.predict(broken) == truth
    for k in range(4):
        part = slice(n * k // 4, n * (k + 1) // 4)
        sure = classifier.predict_proba(broken[part]).max(axis=1).mean()
        print(f"{4 - k} sensors: accuracy {right[part].mean():.2f}, expected {sure:.2f}")

    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=[2, 3])
    PanelDisplay(broken, sample=n // 3).plot(ax=above)
    above.set_title("One window")
    seconds = WINDOW_SECONDS * np.arange(n)
    RecordingDisplay.from_estimator(classifier, broken, y=truth, seconds=seconds, ax=below)
    below.set_title("The recording")
    figure.draw_without_rendering()
    figure.savefig(options.figure, dpi=130)
    print(f"\nfigure: {options.figure}")


if __name__ == "__main__":
    main()
