"""
Calibrated probabilities, with all sensors and with some missing
================================================================

Of predictions with a probability of 80 %, four in five should be right, also when half of the
sensors are missing. Compared on people who were not in training: MAESTRO whose temperature was
learnt from held-out people (``groups`` given to ``fit``), MAESTRO without a temperature, and
extremely randomised trees on summary statistics.

With some sensors missing the network is overconfident, with all of them it is about right, so the
temperature depends on how many are missing. The trees, which average votes, are underconfident.

Run ``python examples/plot_calibration.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import make_pipeline

from mts_fusion import MaestroClassifier, PanelSummarizer, make_panel_classification
from mts_fusion.inspection import ReliabilityDisplay
from mts_fusion.metrics import expected_calibration_error, negative_log_likelihood
from mts_fusion.transforms import mask_panel


def load():
    """Training and test panels of different people, and the people of the training."""
    X, y, groups = make_panel_classification(
        1400,
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
    default = Path(Path(__file__).stem + ".png")
    parser.add_argument("--figure", type=Path, default=default)
    options = parser.parse_args()

    X_train, y_train, people, X_test, y_test = load()
    print(X_train)
    maestro = {"n_estimators": 1, "max_epochs": 20, "random_state": 0}
    trees = ExtraTreesClassifier(200, random_state=0)
    estimators = {
        "MAESTRO, temperature": MaestroClassifier(calibration="temperature", **maestro),
        "MAESTRO": MaestroClassifier(calibration=None, **maestro),
        "trees": make_pipeline(PanelSummarizer(), trees),
    }
    for name, estimator in estimators.items():
        with_groups = {"groups": people} if "MAESTRO" in name else {}
        estimator.fit(X_train, y_train, **with_groups)

    from matplotlib.figure import Figure

    cases = {"all sensors": 0.0, "each sensor missing with probability .4": 0.4}
    colors = ("#0072B2", "#56B4E9", "#E69F00")
    figure = Figure(figsize=(11, 4.8), layout="constrained")
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
