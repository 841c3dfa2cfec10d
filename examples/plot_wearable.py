"""
From a wearable to a service
============================

Six people wear four sensors: an accelerometer that loses its radio now and then, a pulse wave, the
temperature of the skin, and a pulse rate that comes when it comes. Their recordings become windows,
PatternRidge and a small MAESTRO learn from them, and both are saved. A process of its own loads
each file and predicts the windows of a seventh person as they come, while sensors are dead.

Run ``python examples/plot_wearable.py``.
"""

# %%
# Recordings
# ----------
# A stream is a Series or a frame whose index is its clock: dates or seconds. A recording is a dict
# of streams, in which one may be missing.

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mts_fusion import MaestroClassifier, PatternRidgeClassifier, load, segment
from mts_fusion.inspection import PanelDisplay, RecordingDisplay

MINUTES, WINDOW_SECONDS = 8, 10.0
RATES = {"acc": 25.0, "ppg": 16.0, "temp": 1.0}  # Hz


def record(seed):
    """Streams of a person who rests and walks, a minute each, and what it was each second."""
    rng = np.random.default_rng(seed)
    begin = pd.Timestamp("2026-03-01 08:00", tz="UTC") + pd.Timedelta(days=seed)
    level = rng.normal(0, 0.2)  # people differ

    def stream(seconds, values):
        return pd.DataFrame(values, index=begin + pd.to_timedelta(seconds, unit="s"))

    streams = {}
    for name, rate in RATES.items():
        t = np.arange(0, 60 * MINUTES, 1 / rate)
        walk = t // 60 % 2
        if name == "acc":
            swing = (0.3 + 0.25 * walk) * np.sin(2 * np.pi * (1.7 + level) * t)
            clean = swing[:, None] * [1.0, 0.5, -0.8]
        elif name == "ppg":
            clean = np.sin(2 * np.pi * (1.1 + 0.3 * walk + 0.5 * level) * t)[:, None]
        else:
            clean = (33 + level + 0.2 * walk)[:, None]
        noise = {"acc": 0.6, "ppg": 1.2, "temp": 0.3}[name]
        streams[name] = stream(t, clean + rng.normal(0, noise, clean.shape))
    lost = rng.integers(0, 60 * (MINUTES - 1))  # the radio, for 15 s
    at = (streams["acc"].index - begin).total_seconds()
    streams["acc"] = streams["acc"][(at < lost) | (at > lost + 15)]
    t = np.sort(rng.uniform(0, 60 * MINUTES, 40 * MINUTES))
    streams["rate"] = stream(t, 70 + 8 * (t // 60 % 2) + 20 * level + rng.normal(0, 6, len(t)))
    seconds = np.arange(60 * MINUTES)
    label = pd.Series(np.where(seconds // 60 % 2, "walk", "rest"), stream(seconds, seconds).index)
    return streams, label


people = {
    name: record(seed) for seed, name in enumerate(["ada", "ben", "cem", "dua", "eve", "fay"])
}
people["cem"][0]["ppg"] = None  # never switched on
streams = people["dua"][0]
streams["temp"] = streams["temp"][:100]  # died

# %%
# Windows
# -------
# Each has the person as its group: a model has to be right about people whom it has not seen.

X, y, person = segment(
    {name: streams for name, (streams, _) in people.items()},
    window_seconds=WINDOW_SECONDS,
    step_seconds=5,
    label={name: label for name, (_, label) in people.items()},
)
print(X)

# %%
# Fit and save
# ------------

models = {
    "ridge": PatternRidgeClassifier(n_groups=8, random_state=0),
    "maestro": MaestroClassifier(n_estimators=1, d_model=16, max_epochs=6, random_state=0),
}
folder = Path(tempfile.mkdtemp())
for name, model in models.items():
    model.fit(X, y, groups=person).save(folder / f"{name}.mts")
    print(f"{name}.mts: {(folder / f'{name}.mts').stat().st_size / 1e6:.1f} MB")

# %%
# A live process
# --------------
# The seventh person's pulse wave is dead from the start, and the accelerometer dies after three
# minutes. The packets of a second go to ``serve_live.py``, which has nothing but the file.

new, truth = record(6)
del new["ppg"]
begin = new["temp"].index[0]
new["acc"] = new["acc"][new["acc"].index < begin + pd.Timedelta(minutes=3)]


def packets(streams):
    """A line of JSON for each sensor and second, in the order of time."""
    for second in pd.date_range(begin, periods=60 * MINUTES, freq="s"):
        for name, frame in streams.items():
            now = frame[(frame.index >= second) & (frame.index < second + pd.Timedelta("1s"))]
            if len(now):
                times = (now.index - pd.Timestamp(0, tz="UTC")).total_seconds().tolist()
                yield json.dumps({"sensor": name, "times": times, "values": now.values.tolist()})


here = Path(__file__).parent if "__file__" in globals() else Path()  # a gallery has none


def serve(path):
    """What a fresh process says about each window."""
    done = subprocess.run(
        [sys.executable, here / "serve_live.py", path, str(WINDOW_SECONDS)],
        input="\n".join(packets(new)),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


answers = {name: serve(folder / f"{name}.mts") for name in models}
for answer in answers["ridge"][:3] + answers["ridge"][-1:]:
    print(answer)

# %%
# The same windows, cut from the whole recording in this process, get the same probabilities, up to
# rounding.

windows, truth, _ = segment(new, window_seconds=WINDOW_SECONDS, label=truth)
for name, model in models.items():
    live = np.array([list(answer["probabilities"].values()) for answer in answers[name]])
    known = model.predict_proba(windows)
    right = (model.classes_[live.argmax(axis=1)] == truth).mean()
    print(f"{name}: {len(live)} windows, {right:.0%} right, {np.abs(live - known).max():.0e} apart")

# %%
# Above, a window of the seventh person; below, the probabilities along the recording.

parser = argparse.ArgumentParser()
parser.add_argument("--figure", type=Path, default=Path("plot_wearable.png"))
options = parser.parse_args()

ridge = load(folder / "ridge.mts")
figure = Figure(figsize=(9, 7), layout="constrained")
above, below = figure.subplots(2, 1, height_ratios=[2, 3])
shown = windows.align(ridge.schema_)
PanelDisplay(shown, sample=2).plot(ax=above)
above.set_title("One window: the pulse wave is dead")
RecordingDisplay.from_estimator(
    ridge, shown, y=truth, seconds=WINDOW_SECONDS * np.arange(len(shown)), ax=below
)
below.set_title("The recording; the accelerometer dies after three minutes")
figure.savefig(options.figure, dpi=130)
print(f"figure: {options.figure}")
