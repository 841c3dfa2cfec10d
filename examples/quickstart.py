"""
First steps: a classifier that keeps working while sensors are taken away
=========================================================================

Trains MAESTRO on an accelerometer and a gyroscope (the set comes with sktime, so nothing is
downloaded), then takes sensors away and prints what is left of the accuracy.

Run ``python examples/quickstart.py``, or, with the files of DSADS at hand and subjects held out,
``python examples/quickstart.py --dataset dsads --data-home PATH``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, f1_score
from sktime.datasets import load_basic_motions

from mts_fusion import MaestroClassifier, as_panel, fetch_dsads
from mts_fusion.inspection import DegradationDisplay, missingness_curve


def load(name, data_home):
    """Training and test panels, their classes, and how they were split."""
    if name == "dsads":
        data = fetch_dsads(data_home=data_home)
        test = np.isin(data.groups, np.unique(data.groups)[-2:])
        X, y = data.data, np.asarray(data.target_names)[data.target]
        return X[~test], y[~test], X[test], y[test], "two subjects held out"
    parts = []
    for split in ("train", "test"):
        X, y = load_basic_motions(split=split, return_type="numpy3D")
        sensors = {"accelerometer": X[:, :3], "gyroscope": X[:, 3:]}
        parts += [as_panel(sensors, rates=dict.fromkeys(sensors, 10.0)), y]
    return (*parts, "the publisher's split")


def main():
    """Train, take sensors away, print, and save a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=["basic_motions", "dsads"], default="basic_motions")
    parser.add_argument("--data-home", help="folder with the publisher's files of DSADS")
    parser.add_argument("--figure", type=Path, default=Path(__file__).with_suffix(".png"))
    options = parser.parse_args()

    X_train, y_train, X_test, y_test, split = load(options.dataset, options.data_home)
    print(X_train)
    print(f"\n{len(X_train)} samples to train on, {len(X_test)} to test on ({split})")

    start = time.perf_counter()
    classifier = MaestroClassifier(random_state=0).fit(X_train, y_train)
    print(f"trained in {time.perf_counter() - start:.0f} s\n")

    def scores(X):
        predicted = classifier.predict(X)
        macro_f1 = f1_score(y_test, predicted, average="macro")
        return f"{accuracy_score(y_test, predicted):.3f}     {macro_f1:.3f}"

    width = max(len(name) for name in X_test.schema.names) + len("without ")
    print(f"{'sensors'.ljust(width)}  accuracy  macro-F1")
    print(f"{'all'.ljust(width)}  {scores(X_test)}")
    for name in X_test.schema.names:
        others = X_test.drop([name]).align(X_test.schema)  # the same panel, one sensor silent
        print(f"{('without ' + name).ljust(width)}  {scores(others)}")

    curve = missingness_curve(
        classifier,
        X_test,
        y_test,
        fractions=(0.0, 0.1, 0.2, 0.3, 0.4),
        scoring="f1_macro",
        n_repeats=3,
        random_state=0,
        verbose=0,
    )
    print("\nmacro-F1 when each sensor of a sample fails with a probability")
    print(curve.groupby("fraction")["score"].agg(["mean", "min", "max"]).round(3).to_string())

    display = DegradationDisplay(curve, name="MaestroClassifier")
    display.plot()
    display.ax_.set_ylim(0, 1.02)  # no score is above 1
    display.ax_.legend(loc="lower left")
    display.figure_.savefig(options.figure, dpi=150, bbox_inches="tight")
    print(f"\nfigure: {options.figure}")


if __name__ == "__main__":
    main()
