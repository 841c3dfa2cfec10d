"""
Predictions of an exported model without this library
=====================================================

A service reads the file that ``mts_fusion.interop.export_onnx(clf, "model.onnx")`` has written,
with numpy and onnxruntime alone::

    python examples/serve_onnx.py model.onnx samples.npz

``samples.npz`` has an array ``(n, channels, timepoints)`` for each sensor, NaN where nothing was
measured; sensors that it lacks are missing. Prints the class of each sample, and the probability of
each class.
"""

import json
import sys

import numpy as np
import onnxruntime


def inputs_of(samples: dict[str, np.ndarray], schema: dict) -> dict[str, np.ndarray]:
    """Values and masks by the names of the file, for sensors with regular clocks."""
    n = len(next(iter(samples.values())))
    inputs = {}
    for modality in schema["modalities"]:
        name, n_timepoints = modality["name"], modality["n_timepoints"]
        values = np.full((n, modality["n_channels"], n_timepoints), np.nan, dtype=np.float32)
        if name in samples:
            given = samples[name][:, :, :n_timepoints]
            values[:, :, : given.shape[2]] = given  # a shorter sample is missing at its end
        inputs[f"values.{name}"], inputs[f"observed.{name}"] = values, ~np.isnan(values)
    return inputs


def main(model: str, data: str) -> None:
    session = onnxruntime.InferenceSession(model)
    notes = {key: json.loads(x) for key, x in session.get_modelmeta().custom_metadata_map.items()}
    (probabilities,) = session.run(None, inputs_of(dict(np.load(data)), notes["schema"]))
    for row in probabilities:
        print(notes["classes"][row.argmax()], *(f"{p:.7f}" for p in row))


if __name__ == "__main__":
    main(*sys.argv[1:])
