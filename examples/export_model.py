"""
A model for a machine without this library
==========================================

A fitted PatternRidge becomes a file for onnxruntime. ``serve_onnx.py``, a process that imports
numpy and onnxruntime alone, reads it and samples with gaps and a dead sensor, and answers with the
probabilities of the estimator.

Run ``python examples/export_model.py``; it takes ``pip install 'mts-fusion[onnx]'``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from mts_fusion import PatternRidgeClassifier, make_panel_classification
from mts_fusion.interop import export_onnx

X, y, person = make_panel_classification(
    180, n_groups=18, noise=3.0, missing_fraction=0.1, return_groups=True, random_state=0
)
y = np.array(["rest", "walk", "run"])[y]
known, new = person < 12, person >= 12
model = PatternRidgeClassifier(kinds=("statistics",), random_state=0)
model.fit(X[known], y[known], groups=person[known])

folder = Path(tempfile.mkdtemp())
export_onnx(model, folder / "model.onnx", patterns="all")
print(f"model.onnx: {(folder / 'model.onnx').stat().st_size / 1e6:.1f} MB")

# %%
# Samples of new people, one of whose sensors is dead: arrays, with NaN where nothing was measured.

samples = X[new].drop("m1")
np.savez(folder / "samples.npz", **samples.values)

# %%
# What the other process says, beside what the estimator says here.

here = Path(__file__).parent if "__file__" in globals() else Path()  # a gallery has none
done = subprocess.run(
    [sys.executable, here / "serve_onnx.py", folder / "model.onnx", folder / "samples.npz"],
    stdout=subprocess.PIPE,
    check=True,
    text=True,
)
lines = done.stdout.splitlines()
print("served:", *lines[:4], sep="\n")
print("here:", *model.predict_proba(samples[:4]).round(6), sep="\n")
served = np.array([line.split()[1:] for line in lines], dtype=float)
print(f"{len(served)} samples, {np.abs(served - model.predict_proba(samples)).max():.0e} apart")
