"""
Ways to fuse, side by side
==========================

One parameter of ``FusionClassifier`` chooses how the sensors are fused. All strategies are
trained on the same recordings of four sensors and tested on other people: on the left while more
and more sensors are missing, on the right with all of them and without the one whose loss costs
each strategy most.

Run ``python examples/plot_fusion_strategies.py``.
"""

from __future__ import annotations

import argparse
import time
from itertools import cycle
from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score

from mts_fusion import make_panel_classification
from mts_fusion.estimators import FusionClassifier
from mts_fusion.inspection import DegradationDisplay, missingness_curve
from mts_fusion.nn import STRATEGIES

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#000000")


def load():
    """Training and test panels of different people."""
    X, y, groups = make_panel_classification(
        400,
        modalities={"wrist": (3, 16.0), "chest": (3, 16.0), "pulse": (1, 8.0), "temp": (1, 2.0)},
        n_classes=6,
        class_sep=0.7,
        noise=1.2,
        n_groups=10,
        return_groups=True,
        random_state=0,
    )
    test = groups >= 6
    return X[~test], y[~test], X[test], y[test]


def without_one(classifier, X, y):
    """Macro-F1 without each of the sensors in turn."""
    scores = {}
    for name in X.schema.names:
        broken = X.drop([name]).align(X.schema)
        scores[name] = f1_score(y, classifier.predict(broken), average="macro")
    return scores


def main():
    """Train every strategy, take sensors away, print, and save a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(Path(__file__).stem + ".png")
    parser.add_argument("--figure", type=Path, default=default)
    options = parser.parse_args()

    X_train, y_train, X_test, y_test = load()
    print(X_train)

    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    print("\nstrategy      fit (s)  macro-F1  sensors missing at .4  without the best")
    for i, (strategy, color) in enumerate(zip(STRATEGIES, cycle(COLORS))):
        start = time.perf_counter()
        classifier = FusionClassifier(
            strategy=strategy,
            d_model=32,
            n_groups=16,
            n_estimators=1,
            max_epochs=25,
            random_state=0,
        ).fit(X_train, y_train)
        seconds = time.perf_counter() - start
        curve = missingness_curve(
            classifier,
            X_test,
            y_test,
            fractions=(0.0, 0.2, 0.4, 0.6),
            scoring="f1_macro",
            n_repeats=3,
            random_state=0,
            verbose=0,
        )
        DegradationDisplay(curve, name=strategy).plot(ax=left, color=color)
        mean = curve.groupby("fraction")["score"].mean()
        scores = without_one(classifier, X_test, y_test)
        missed = min(scores, key=scores.get)
        print(
            f"{strategy.ljust(12)}  {seconds:7.1f}  {mean[0.0]:.2f}      {mean[0.4]:.2f}"
            f"                   {scores[missed]:.2f} ({missed})"
        )
        right.plot([i, i], [mean[0.0], scores[missed]], color=color, lw=1.5)
        right.plot(i, mean[0.0], "o", color=color)
        right.plot(i, scores[missed], "v", color=color)

    left.set_title("Score against failing sensors")
    right.set_title("All sensors (dot), without the best one (triangle)", fontsize="medium")
    right.set_xticks(np.arange(len(STRATEGIES)), STRATEGIES, rotation=45, ha="right")
    right.grid(axis="y", color="#e5e5e5")
    right.set_axisbelow(True)
    figure.savefig(options.figure, dpi=130)
    print(f"\nfigure: {options.figure}")


if __name__ == "__main__":
    main()
