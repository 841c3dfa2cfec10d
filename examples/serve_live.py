"""
A service that predicts live
============================

Reads packets of sensors, a line of JSON each, and prints one for each window that is complete::

    python examples/serve_live.py model.mts 10 < packets.jsonl

``model.mts`` is a file of ``save``, 10 the seconds of a window. A packet is
``{"sensor": "acc", "times": [...], "values": [...]}`` with times in seconds; a sensor that stops
sending is missing after three seconds. A line has the start of the window, the sensors that worked,
the probability of each class and the classes of a 90 % set.
"""

import json
import sys

import mts_fusion


def main(path: str, window_seconds: str) -> None:
    model = mts_fusion.load(path)
    live = mts_fusion.LiveSegmenter(
        model, window_seconds=float(window_seconds), silent_after_seconds=3
    )
    for line in sys.stdin:
        packet = json.loads(line)
        answer(model, live.push(packet["sensor"], packet["times"], packet["values"]))
    answer(model, live.flush())  # the streams have ended


def answer(model, windows):
    """Print a line for each window that is due."""
    for window in () if windows is None else windows:
        names = zip(window.schema.names, window.available[0], strict=True)
        line = {"start": window.sample_ids[0], "sensors": [name for name, on in names if on]}
        p = model.predict_proba(window)[0]
        line["probabilities"] = dict(zip(model.classes_.tolist(), p.tolist(), strict=True))
        if hasattr(model, "predict_set"):
            line["set"] = model.classes_[model.predict_set(window, coverage=0.9)[0]].tolist()
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
