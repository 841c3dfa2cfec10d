"""
First steps: calibrated probabilities and prediction sets while sensors are taken away
======================================================================================

Trains PatternRidgeClassifier on four synthetic sensors, whole people held out, then takes sensors
away and prints the accuracy, the mean largest probability (the accuracy that the classifier
expects) and the size of its 90 % prediction sets. Nothing is downloaded.

Run ``python examples/quickstart.py``, or, with the files of DSADS at hand,
``python examples/quickstart.py --dataset dsads --data-home PATH``.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from itertools import combinations
from pathlib import Path

import numpy as np

from mts_fusion import PatternRidgeClassifier, fetch_dsads, make_panel_classification

SENSORS = {"acc": (3, 16.0), "gyro": (3, 16.0), "ppg": (2, 8.0), "temp": (1, 2.0)}


def load(name, data_home):
    """A panel, the class of each sample, its person, and which people are held out."""
    if name == "dsads":
        data = fetch_dsads(data_home=data_home)
        y = np.asarray(data.target_names)[data.target]
        return data.data, y, data.groups, np.unique(data.groups)[-2:]
    X, y, people = make_panel_classification(
        600,
        modalities=SENSORS,  # channels and rate in Hz of each
        duration_seconds=4,
        n_classes=5,
        class_sep=0.6,
        noise=2.0,
        group_sd=0.4,
        n_groups=30,
        return_groups=True,
        random_state=0,
    )
    return X, y, people, np.arange(20, 30)


def by_number_of_sensors(classifier, X, y):
    """For each number of working sensors, means over all sets of so many."""
    rows = []
    code = np.searchsorted(classifier.classes_, y)
    every = np.arange(len(y))
    for n_working in range(len(X.schema), 0, -1):
        cells = []
        for names in combinations(X.schema.names, n_working):
            left = X.select(list(names)).align(X.schema)  # the other sensors are missing
            probability = classifier.predict_proba(left)
            sets = classifier.predict_set(left, coverage=0.9)
            right = probability.argmax(axis=1) == code
            size, covered = sets.sum(axis=1), sets[every, code]
            cells.append([part.mean() for part in (right, probability.max(axis=1), size, covered)])
        rows.append([n_working, *np.mean(cells, axis=0)])
    return np.array(rows)


def draw(rows, values, n_classes, path):
    """Three panels: accuracy and probability, size of the sets, value of each sensor."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot(rows[:, 0], rows[:, 1], "o-", label="accuracy")
    left.plot(rows[:, 0], rows[:, 2], "s--", label="mean largest probability")
    left.set(ylim=(0, 1.02), title="Accuracy: measured, and expected")
    left.legend(loc="lower left", frameon=False)
    middle.plot(rows[:, 0], rows[:, 3], "o-", color="tab:green")
    middle.axhline(n_classes, color="grey", linewidth=1, linestyle=":")
    middle.annotate(
        "all classes", (rows[0, 0], n_classes), (0, -4), textcoords="offset points", va="top"
    )
    middle.set(ylim=(0, n_classes * 1.05), title="Classes in the 90 % prediction set")
    for axis in (left, middle):
        axis.set_xlabel("working sensors")
        axis.set_xticks(rows[:, 0])
        axis.invert_xaxis()
    values = values.sort_values("value")
    right.barh(values["modality"], values["value"], color="tab:grey")
    right.set(xlabel="held-out log loss saved, nats", title="Value of each sensor (Shapley)")
    for axis in (left, middle, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main():
    """Train, take sensors away, print, and save a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=["synthetic", "dsads"], default="synthetic")
    parser.add_argument("--data-home", help="folder with the publisher's files of DSADS")
    parser.add_argument("--figure", type=Path, default=Path("quickstart.png"))
    options = parser.parse_args()

    X, y, people, held_out = load(options.dataset, options.data_home)
    test = np.isin(people, held_out)
    print(X)
    print(f"\n{(~test).sum()} samples to train on, {test.sum()} of {len(held_out)} other people")

    start = time.perf_counter()
    classifier = PatternRidgeClassifier(random_state=0)
    classifier.fit(X[~test], y[~test], groups=people[~test])
    print(f"trained in {time.perf_counter() - start:.1f} s\n")

    rows = by_number_of_sensors(classifier, X[test], y[test])
    print("working sensors  accuracy  mean largest   size of the       truth in")
    print("                           probability    90 % set          the set")
    for n_working, accuracy, probability, size, covered in rows:
        print(
            f"{n_working:15.0f}  {accuracy:8.3f}  {probability:12.3f}   {size:5.2f} of "
            f"{len(classifier.classes_)}   {covered:13.3f}"
        )

    values = classifier.sensor_values().shapley
    print("\nvalue of each sensor, from training samples alone: nats of held-out log loss saved")
    print(values[["modality", "value", "alone"]].round(3).to_string(index=False))

    if importlib.util.find_spec("matplotlib"):
        draw(rows, values, len(classifier.classes_), options.figure)
        print(f"\nfigure: {options.figure}")


if __name__ == "__main__":
    main()
