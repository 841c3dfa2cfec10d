"""
From a chart of a ward to an uncertain answer
=============================================

A hospital exports a chart in long form: a row each value, with the patient, the time, what was
measured and its unit. It is shuffled, has two units for one thing, remarks in place of numbers, and
laboratory values that were taken once or never. The chart becomes a panel, what was not measured is
filled with draws and bands, and each patient gets a probability and a set of answers.

Run ``python examples/plot_ward.py``. The data are synthetic.
"""

# %%
# The file
# --------

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mts_fusion import GaussianProcessImputer, PatternRidgeClassifier, as_panel
from mts_fusion.inspection import ImputationDisplay

folder = Path(tempfile.mkdtemp())


def write_chart(n_patients=120, seed=0):
    """Write ``chart.csv``, and ``outcome.csv`` with who got worse."""
    rng = np.random.default_rng(seed)
    rows, outcome = [], []
    for number in range(n_patients):
        patient, worse = f"P{number:03d}", rng.random() < 0.4
        begin = pd.Timestamp("2026-01-01") + pd.Timedelta(hours=float(rng.integers(2000)))
        person = rng.normal(0, 1, 4)  # people differ more than they change
        outcome.append((patient, "worse" if worse else "better"))

        def note(hour, item, value, unit, patient=patient, begin=begin):
            time = begin + pd.Timedelta(minutes=round(60 * hour))
            rows.append((patient, time, item, value, unit))

        for hour in np.sort(rng.uniform(0, 24, 20)):
            trend = worse * hour / 24
            pulse = 80 + 9 * person[0] + 5 * trend + rng.normal(0, 5)
            note(hour, "heart rate", "artefact" if rng.random() < 0.05 else round(pulse), "/min")
            if rng.random() < 0.7:
                pressure = 80 + 8 * person[1] - 5 * trend + rng.normal(0, 5)
                note(hour, "mean pressure", round(pressure), "mmHg")
            if rng.random() < 0.3:
                celsius = 36.8 + 0.3 * person[2] + 0.2 * trend + rng.normal(0, 0.2)
                is_american = number % 4 == 0
                value = celsius * 9 / 5 + 32 if is_american else celsius
                note(hour, "temperature", round(value, 1), "°F" if is_american else "°C")
        for hour in np.sort(rng.uniform(0, 24, rng.integers(0, 4))):
            trend = worse * hour / 24
            lactate = np.exp(0.2 + 0.2 * person[3] + 0.5 * trend + rng.normal(0, 0.15))
            note(
                hour, "lactate", "haemolytic" if rng.random() < 0.1 else f"{lactate:.1f}", "mmol/L"
            )
            note(hour, "creatinine", f"{1 + 0.2 * person[3] + 0.1 * trend:.2f}", "mg/dL")
    chart = pd.DataFrame(rows, columns=["patient", "time", "item", "value", "unit"])
    chart.sample(frac=1, random_state=seed).to_csv(folder / "chart.csv", index=False)
    pd.DataFrame(outcome, columns=["patient", "outcome"]).to_csv(
        folder / "outcome.csv", index=False
    )


write_chart()
chart = pd.read_csv(folder / "chart.csv", parse_dates=["time"])
print(chart.head())

# %%
# From a chart to a panel
# -----------------------
# One unit for each item; what is no number is missing. Then a row each time and a column each item;
# items that are measured together make a modality. Times stay as they are, counted from the first
# entry of the patient.

fahrenheit = chart["unit"] == "°F"
chart["value"] = pd.to_numeric(chart["value"], errors="coerce")
chart.loc[fahrenheit, "value"] = (chart["value"] - 32) * 5 / 9

wide = chart.pivot_table(index=["patient", "time"], columns="item", values="value").sort_index()
MODALITIES = {
    "monitor": ["heart rate", "mean pressure"],
    "temperature": ["temperature"],
    "laboratory": ["lactate", "creatinine"],
}


def to_panel(table):
    """The panel of a table with an index (patient, time) and a column each item."""
    return as_panel({name: table[items].dropna(how="all") for name, items in MODALITIES.items()})


X = to_panel(wide)
y = pd.read_csv(folder / "outcome.csv", index_col="patient")["outcome"][X.sample_ids].to_numpy()
print(X)

# %%
# What was not measured
# ---------------------
# A Gaussian process learns from 90 patients how the channels go together in time. It fills what is
# missing at the times of a panel, so for a value each hour rows of these times are added, with NaN.

known, new = slice(0, 90), slice(90, None)
imputer = GaussianProcessImputer(random_state=0).fit(X[known])

patient = X.sample_ids[new][np.flatnonzero(X[new].available[:, 2])[3]]
own = wide.loc[[patient]]
hours = own.index[0][1] + pd.to_timedelta(np.arange(24), unit="h")
grid = own.index.union([(patient, hour) for hour in hours])
hourly = as_panel({name: own[items].reindex(grid) for name, items in MODALITIES.items()})

low, median, high = imputer.quantiles(hourly, [0.05, 0.5, 0.95])
lactate = {"measured": hourly, "5 %": low, "median": median, "95 %": high}
table = pd.DataFrame({name: x.values["laboratory"][0, 0] for name, x in lactate.items()})
table.index = pd.Index(hourly.times["laboratory"][0] / 3600, name="hour")
print(f"lactate of {patient}, mmol/L")
print(
    table[table["measured"].notna() | (table.index % 4 == 0)].round(1).rename(index="{:.1f}".format)
)

# %%
# An uncertain answer
# -------------------
# The classifier reads what was measured, when it was measured: what was filled in says nothing new.
# A set holds the right answer for about nine patients of ten; it has both answers where the
# classifier cannot tell.

classifier = PatternRidgeClassifier(random_state=0).fit(X[known], y[known])
p = classifier.predict_proba(X[new])
sets = classifier.predict_set(X[new], coverage=0.9)
answers = pd.DataFrame(
    {
        "P(worse)": p[:, list(classifier.classes_).index("worse")].round(2),
        "90 % set": [" or ".join(classifier.classes_[row]) for row in sets],
        "truth": y[new],
    },
    index=pd.Index(X.sample_ids[new], name="patient"),
)
print(answers.head(8))
right = sets[np.arange(len(p)), np.searchsorted(classifier.classes_, y[new])].mean()
print(f"{right:.0%} of the sets hold the truth; {(sets.sum(1) == 2).mean():.0%} have both answers")

# %%
# Lactate and heart rate of the patient, hour by hour.

parser = argparse.ArgumentParser()
parser.add_argument("--figure", type=Path, default=Path("plot_ward.png"))
options = parser.parse_args()

figure = Figure(figsize=(9, 6.5), layout="constrained")
above, below = figure.subplots(2, 1, sharex=True)
for ax, name, channel in ((above, "laboratory", "lactate"), (below, "monitor", "heart rate")):
    ImputationDisplay.from_estimator(imputer, hourly, modality=name, channel=channel, ax=ax)
above.set_title(
    f"{patient}, {answers['truth'][patient]}: what was measured, and what may have been"
)
figure.savefig(options.figure, dpi=130)
print(f"figure: {options.figure}")
