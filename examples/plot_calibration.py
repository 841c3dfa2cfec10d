"""
Calibrated probabilities, with all sensors and with some missing
================================================================

Of predictions with a probability of 80 %, four in five should be right, also when half of the
sensors are missing. Compared on people who were not in training: PatternRidge, calibrated on
people that were held out (``groups`` given to ``fit``), a logistic regression on random
convolutions, and extremely randomised trees on summary statistics.

Read the log loss beside the calibration error: the first two are about as well calibrated, but
PatternRidge knows more. The trees, which average votes, are too modest in both panels.

Run ``python examples/plot_calibration.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sklearn.ensemble import ExtraTreesClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mts_fusion import (
    PanelSummarizer,
    PatternRidgeClassifier,
    RocketFeatures,
    make_panel_classification,
)
from mts_fusion.inspection import ReliabilityDisplay
from mts_fusion.metrics import expected_calibration_error, negative_log_likelihood
from mts_fusion.transforms import mask_panel


def load():
    """Training and test panels of different people, and the people of the training."""
    X, y, groups = make_panel_classification(
        1000,
        modalities={"acc": (3, 16.0), "gyro": (3, 16.0), "pulse": (1, 8.0), "temp": (1, 4.0)},
        n_classes=4,
        class_sep=0.6,
        noise=1.5,
        n_groups=20,
        group_sd=0.5,
        return_groups=True,
        random_state=0,
    )
    test = groups >= 10
    return X[~test], y[~test], groups[~test], X[test], y[test]


def main():
    """Train, hide sensors, print calibration errors, and save a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, default=Path("plot_calibration.png"))
    options = parser.parse_args()

    X_train, y_train, people, X_test, y_test = load()
    print(X_train)
    trees = ExtraTreesClassifier(200, random_state=0)
    estimators = {
        "PatternRidge": PatternRidgeClassifier(random_state=0).fit(X_train, y_train, groups=people),
        "logistic regression": make_pipeline(
            RocketFeatures(random_state=0),
            SimpleImputer(),
            StandardScaler(),
            LogisticRegression(max_iter=1000),
        ).fit(X_train, y_train),
        "trees": make_pipeline(PanelSummarizer(), trees).fit(X_train, y_train),
    }

    from matplotlib.figure import Figure

    cases = {"all sensors": 0.0, "each sensor missing with probability .4": 0.4}
    colors = ("#0072B2", "#56B4E9", "#E69F00")
    figure = Figure(figsize=(11, 5.4), layout="constrained")
    axes = figure.subplots(1, len(cases), sharey=True)
    for ax, (case, fraction) in zip(axes, cases.items(), strict=True):
        X = mask_panel(X_test, pattern="modality", fraction=fraction, seed=0)
        print(f"\n{case.ljust(40)}accuracy  ECE    log loss (nats)")
        for color, (name, estimator) in zip(colors, estimators.items(), strict=True):
            proba = estimator.predict_proba(X)
            accuracy = (estimator.classes_[proba.argmax(1)] == y_test).mean()
            ece = expected_calibration_error(y_test, proba, n_bins=10)
            nll = negative_log_likelihood(y_test, proba)
            print(f"{name.ljust(40)}{accuracy:.3f}     {ece:.3f}  {nll:.3f}")
            ReliabilityDisplay.from_predictions(y_test, proba, name=name, ax=ax, color=color)
        ax.set_title(case)
    figure.savefig(options.figure, dpi=130)
    print(f"\nfigure: {options.figure}")


if __name__ == "__main__":
    main()
