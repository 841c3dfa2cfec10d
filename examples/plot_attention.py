"""
Where the attention goes
========================

MAESTRO limits the attention of each sensor by a budget, learnt from which sensors are available;
each token then passes through one of several experts. Here only one of three sensors depends on
the class. The figure shows the attention between sensors, the budgets with all sensors and with
some missing, and the expert of each sensor.

Run ``python examples/plot_attention.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mts_fusion import MaestroClassifier, make_panel_classification
from mts_fusion.inspection import (
    AttentionMapDisplay,
    BudgetDisplay,
    ExpertRoutingDisplay,
    attention_budgets,
)
from mts_fusion.transforms import mask_panel


def main():
    """Train, explain, print, and save a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, default=Path("plot_attention.png"))
    options = parser.parse_args()

    X, y = make_panel_classification(
        600,
        modalities={"acc": (3, 16.0), "pulse": (1, 16.0), "temp": (1, 16.0)},
        informative=["acc"],
        n_classes=4,
        noise=1.0,
        random_state=0,
    )
    print(X)
    classifier = MaestroClassifier(
        d_model=32, feature_tokens=(), n_estimators=1, max_epochs=25, random_state=0
    ).fit(X[:450], y[:450])
    X_test, y_test = X[450:], y[450:]
    print(f"\naccuracy with all sensors {classifier.score(X_test, y_test):.2f}")
    broken = mask_panel(X_test, pattern="modality", fraction=0.3, seed=0)
    print(f"accuracy with each missing at .3 {classifier.score(broken, y_test):.2f}\n")
    budgets = attention_budgets(classifier, broken)
    print("mean budget, by sensor and whether it was available")
    print(budgets.groupby(["modality", "available"])["budget"].mean().round(2).to_string())

    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    axes = figure.subplots(1, 3)
    AttentionMapDisplay.from_estimator(classifier, X_test, ax=axes[0])
    axes[0].set_title("Attention between sensors")
    BudgetDisplay.from_estimator(classifier, broken, ax=axes[1])
    axes[1].set_title("Attention budget", pad=26)  # above the legend
    ExpertRoutingDisplay.from_estimator(classifier, X_test, ax=axes[2])
    axes[2].set_title("Experts")
    figure.savefig(options.figure, dpi=130)
    print(f"\nfigure: {options.figure}")


if __name__ == "__main__":
    main()
