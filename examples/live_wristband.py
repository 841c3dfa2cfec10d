"""
A wristband whose sensors fail, live
====================================

Trains on windows of a wristband, replays a recording of another person sample by sample while its
sensors fail one after another, and prints the probabilities as they come. A sensor that stops is
missing after ten seconds; nothing else has to be done about it.

Run ``python examples/live_wristband.py`` for synthetic recordings in the shape of an Empatica E4,
or, with the files of Stress-Predict at hand,
``python examples/live_wristband.py --data-home PATH``.
"""

from __future__ import annotations

import argparse

import numpy as np

from mts_fusion import FusionClassifier, fetch_stress_predict, segment
from mts_fusion.datasets import LiveSegmenter

RATES = {"bvp": 16.0, "eda": 4.0, "temp": 4.0, "hr": 1.0}
WINDOW_SECONDS = 30.0


def make_recording(seed, minutes=12):
    """Streams in which stress, every other three minutes, raises pulse and skin conductance."""
    rng = np.random.default_rng(seed)
    streams = {}
    for name, rate in RATES.items():
        times = np.arange(0, 60 * minutes, 1 / rate)
        stress = times // 180 % 2
        level = {
            "bvp": np.sin(times * (6 + 2 * stress)),
            "eda": 0.5 * stress,
            "temp": -0.2 * stress,
        }
        values = level.get(name, 70 + 8 * stress) + rng.normal(0, 0.4, len(times))
        streams[name] = (times, values)
    seconds = np.arange(60.0 * minutes)
    return streams, (seconds, (seconds // 180 % 2).astype(int))


def synthetic():
    """Windows of four people to train on, and the recording of a fifth."""
    people = [make_recording(seed) for seed in range(5)]
    X, y, _ = segment(
        [streams for streams, _ in people[:4]],
        window_seconds=WINDOW_SECONDS,
        label=[label for _, label in people[:4]],
    )
    return X, y, people[4][0]


def stress_predict(data_home):
    """Windows of all people but the last to train on, and the last one's windows in a row."""
    bunch = fetch_stress_predict(
        data_home=data_home, window_seconds=WINDOW_SECONDS, step_seconds=WINDOW_SECONDS
    )
    last = bunch.groups == bunch.groups.max()
    streams = {}
    for m in bunch.data.schema:  # windows side by side are the recording again
        values = np.concatenate(list(bunch.data[last].values[m.name]), axis=1).T
        streams[m.name] = (np.arange(len(values)) / m.rate, values)
    return bunch.data[~last], bunch.target[~last], streams


def replay(streams, dies_at):
    """``(sensor, times, values)`` second by second; a sensor says nothing after its death."""
    end = max(times[-1] for times, _ in streams.values())
    for second in np.arange(0.0, end, 1.0):
        for name, (times, values) in streams.items():
            now = (times >= second) & (times < min(second + 1, dies_at.get(name, np.inf)))
            if now.any():
                yield name, times[now], values[now]


def main():
    """Train, replay, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-home", help="folder with the publisher's files of Stress-Predict")
    parser.add_argument("--max-epochs", type=int, default=12)
    options = parser.parse_args()

    X, y, streams = stress_predict(options.data_home) if options.data_home else synthetic()
    model = FusionClassifier(n_estimators=1, max_epochs=options.max_epochs, random_state=0)
    model.fit(X, y)

    end = max(times[-1] for times, _ in streams.values())
    sensors = list(X.schema.names)
    dies_at = {name: end * (k + 1) / len(sensors) for k, name in enumerate(sensors[:-1])}
    live = LiveSegmenter(model, window_seconds=WINDOW_SECONDS, silent_after_seconds=10)
    print("window from   P(stress)   sensors")
    for packet in replay(streams, dies_at):
        windows = live.push(*packet)
        if windows is None:
            continue
        for window, p in zip(windows, model.predict_proba(windows)[:, 1], strict=True):
            there = [name for name, has in zip(sensors, window.available[0], strict=True) if has]
            print(f"{window.sample_ids[0]:9.0f} s   {p:9.2f}   {' '.join(there)}")


if __name__ == "__main__":
    main()
