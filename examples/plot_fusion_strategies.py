"""
Ways to fuse, side by side
==========================

One parameter of ``FusionClassifier`` chooses how the sensors are fused. All strategies are
trained on the same recordings of four sensors and tested on other people, while more and more
sensors are missing. Each small figure shows one strategy among the others, which are grey, and as a
triangle its score without the one sensor whose loss costs it most.

Run ``python examples/plot_fusion_strategies.py``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from sklearn.metrics import f1_score

from mts_fusion import make_panel_classification
from mts_fusion.estimators import FusionClassifier
from mts_fusion.inspection import missingness_curve
from mts_fusion.nn import STRATEGIES


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
    parser.add_argument("--figure", type=Path, default=Path("plot_fusion_strategies.png"))
    options = parser.parse_args()

    X_train, y_train, X_test, y_test = load()
    print(X_train)

    curves, worst = {}, {}
    print("\nstrategy      fit (s)  macro-F1  sensors missing at .3  without the best")
    for strategy in STRATEGIES:
        start = time.perf_counter()
        classifier = FusionClassifier(
            strategy=strategy,
            d_model=32,
            n_groups=8,
            n_estimators=1,
            max_epochs=15,
            random_state=0,
        ).fit(X_train, y_train)
        seconds = time.perf_counter() - start
        curve = missingness_curve(
            classifier,
            X_test,
            y_test,
            fractions=(0.0, 0.3, 0.6),
            scoring="f1_macro",
            n_repeats=2,
            random_state=0,
        )
        mean = curves[strategy] = curve.groupby("fraction")["score"].mean()
        scores = without_one(classifier, X_test, y_test)
        missed = min(scores, key=scores.get)
        worst[strategy] = scores[missed], missed
        print(
            f"{strategy.ljust(12)}  {seconds:7.1f}  {mean[0.0]:.2f}      {mean[0.3]:.2f}"
            f"                   {scores[missed]:.2f} ({missed})"
        )
    draw(curves, worst, options.figure)
    print(f"\nfigure: {options.figure}")


def draw(curves, worst, path):
    """A small figure for each strategy; the others behind it in grey."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7.5), layout="constrained")
    axes = figure.subplots(3, 4, sharex=True, sharey=True)
    for ax, strategy in zip(axes.flat, curves, strict=False):
        for curve in curves.values():
            ax.plot(curve.index, curve, color="#d0d0d0", lw=1, zorder=1)
        mean, (score, missed) = curves[strategy], worst[strategy]
        ax.plot(mean.index, mean, "o-", color="#0072B2", lw=2, ms=4)
        ax.plot(0, score, "v", color="#D55E00", ms=7)
        ax.annotate(f"no {missed}", (0, score), (8, -4), textcoords="offset points", fontsize=8)
        ax.set_title(strategy, fontsize=11)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes.flat[len(curves) :]:
        ax.set_axis_off()
    figure.supxlabel("probability that a sensor is missing")
    figure.supylabel("macro-F1, other people")
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
