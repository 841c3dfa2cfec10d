"""Draw the figure of the README from the CSV files beside this file.

Run ``python docs/benchmarks/figure.py``; the same files give the same figure. The file has the
figures that it shows in its description, which a test compares with the CSV files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tables import HERE, read

DATA = (
    ("hydraulic.csv", "hydraulic_valve", "Hydraulic valve, 17 sensors"),
    ("small_sets.csv", "dsads_gestures", "Arm gestures, 180 rows to train on"),
    ("dsads.csv", "dsads", "Daily activities, 5 body positions"),
    ("stress_predict.csv", "stress_predict", "Stress from a wristband, 5 streams"),
)
SHARES = ("0", "0.2", "0.4", "0.6")
# Label, names in the CSV files (the first that is there), colour (Okabe and Ito), marker, line.
METHODS = (
    (
        "PatternRidge",
        ('PatternRidge, decision="balanced"', "PatternRidge"),
        "#0072B2",
        "o",
        "-",
    ),
    ("Maestro", ("Maestro",), "#D55E00", "s", "-"),
    ("Fusion", ("Fusion",), "#009E73", "^", "-"),
    ("MultiRocketHydra, gaps filled", ("MultiRocketHydra, filled",), "#CC79A7", "D", "--"),
    ("ExtraTrees on summaries", ("ExtraTrees on summaries",), "#666666", "v", "--"),
    (
        "Gradient boosting on summaries",
        ("HistGradientBoosting on summaries",),
        "#E69F00",
        "X",
        "--",
    ),
)


def curve(name: str, dataset: str, methods: tuple[str, ...]) -> list[tuple[float, float]]:
    """Share missing and macro-F1 of the first of the methods that the data set has."""
    rows = [
        r
        for r in read(name)
        if r["dataset"] == dataset and r["metric"] == "macro_f1" and r["share_missing"] in SHARES
    ]
    for method in methods:
        points = [
            (float(r["share_missing"]), float(r["mean"])) for r in rows if r["method"] == method
        ]
        if points:
            return sorted(points)
    return []


def main() -> None:
    """Draw and save."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, default=HERE / "score_by_missing.png")
    options = parser.parse_args()
    shown = []
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    for axis, (name, dataset, title) in zip(axes.flat, DATA, strict=True):
        for label, methods, colour, marker, line in METHODS:
            points = curve(name, dataset, methods)
            if points:
                shown.append(f"{title}, {label}: {points}")
                shares, scores = zip(*points, strict=True)
                axis.plot(shares, scores, line, color=colour, marker=marker, linewidth=1.8)
        axis.set_title(title, fontsize=11)
        axis.set_xticks([0, 0.2, 0.4, 0.6], ["0", ".2", ".4", ".6"])
        axis.grid(axis="y", color="#dddddd")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[1]:
        axis.set_xlabel("probability that a sensor is missing")
    for axis in axes[:, 0]:
        axis.set_ylabel("macro-F1, new test groups")
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle=line, label=label)
        for label, _, colour, marker, line in METHODS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    metadata = {"Software": None, "Description": "; ".join(shown)}
    figure.savefig(options.figure, dpi=110, metadata=metadata)


if __name__ == "__main__":
    main()
