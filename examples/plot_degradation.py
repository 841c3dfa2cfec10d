"""
What is left when sensors fail
==============================

Three classifiers are trained on the same synthetic recordings of five sensors and tested on other
people, while more and more sensors are missing: PatternRidge, a small MAESTRO network, and gradient
boosting on summary statistics. On the right, the Shapley value of each sensor for the first.

Bands and bars are intervals of 95 % over people: what eight other people might have shown. A sensor
whose interval has 0 in it is grey.

Run ``python examples/plot_degradation.py``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_selection import VarianceThreshold
from sklearn.pipeline import make_pipeline

from mts_fusion import (
    MaestroClassifier,
    PanelSummarizer,
    PatternRidgeClassifier,
    make_panel_classification,
)
from mts_fusion.inspection import (
    DegradationDisplay,
    ModalityImportanceDisplay,
    missingness_curve,
    modality_importance,
)

SENSORS = {  # channels and rate in Hz
    "wrist acc": (3, 16.0),
    "chest acc": (3, 16.0),
    "gyroscope": (3, 16.0),
    "pulse": (1, 8.0),
    "skin temp": (1, 2.0),
}


def load():
    """Training and test panels of different people, and who the test people are."""
    X, y, groups = make_panel_classification(
        500,
        modalities=SENSORS,
        n_classes=6,
        informative=["wrist acc", "chest acc", "gyroscope", "pulse"],
        class_sep=0.6,
        noise=1.2,
        n_groups=20,
        missing_modality_fraction=0.05,
        return_groups=True,
        random_state=0,
    )
    test = groups >= 12
    return X[~test], y[~test], X[test], y[test], groups[test]


def main():
    """Train, hide sensors, print, and save a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, default=Path("plot_degradation.png"))
    options = parser.parse_args()

    X_train, y_train, X_test, y_test, people = load()
    print(X_train)
    trees = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    estimators = {
        "PatternRidge": PatternRidgeClassifier(random_state=0),
        # Small, so that it is trained in seconds: the default has three wider networks.
        "MAESTRO": MaestroClassifier(d_model=32, n_estimators=1, max_epochs=20, random_state=0),
        # VarianceThreshold leaves out columns that hold no number in training.
        "gradient boosting": make_pipeline(PanelSummarizer(), VarianceThreshold(), trees),
    }

    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    print(
        f"\n{'macro-F1 when sensors are missing with probability'.ljust(52)}  0     .2    .4    .6"
    )
    for color, (name, estimator) in zip(
        ("#0072B2", "#56B4E9", "#E69F00"), estimators.items(), strict=True
    ):
        start = time.perf_counter()
        estimator.fit(X_train, y_train)
        seconds = time.perf_counter() - start
        curve = missingness_curve(
            estimator,
            X_test,
            y_test,
            fractions=(0.0, 0.2, 0.4, 0.6),
            scoring="f1_macro",
            groups=people,
            random_state=0,
        )
        DegradationDisplay(curve, name=name).plot(ax=left, color=color)
        mean = curve.groupby("fraction")["score"].mean()
        shown = "  ".join(f"{mean[fraction]:.2f}" for fraction in (0.0, 0.2, 0.4, 0.6))
        print(f"{f'{name} (fitted in {seconds:.0f} s)'.ljust(52)}  {shown}")
    left.set_title("Score against failing sensors")

    importance = modality_importance(
        estimators["PatternRidge"],
        X_test,
        y_test,
        method="shapley",
        scoring="f1_macro",
        groups=people,
        random_state=0,
    )
    print("\nvalue of each sensor for PatternRidge")
    print(importance[["modality", "importance", "low", "high"]].round(3).to_string(index=False))
    ModalityImportanceDisplay(importance).plot(ax=right)
    right.set_title("Value of each sensor (Shapley)")
    figure.savefig(options.figure, dpi=130)
    print(f"\nfigure: {options.figure}")


if __name__ == "__main__":
    main()
