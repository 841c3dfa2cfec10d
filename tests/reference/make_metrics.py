"""Make ``metrics.json`` from torchmetrics 1.9.0 and scoringrules 0.10.0.

python -m venv oracle && oracle/bin/pip install torchmetrics==1.9.0 scoringrules==0.10.0
oracle/bin/python tests/reference/make_metrics.py
"""

import json
from pathlib import Path

import numpy as np
import scoringrules
import torch
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

rng = np.random.default_rng(0)
logits = 2 * rng.normal(size=(60, 4))
y_true = np.array([rng.choice(4, p=np.exp(row) / np.exp(row).sum()) for row in 0.6 * logits])
y_proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
y_proba = y_proba.round(4)
y_proba[:, 0] += 1 - y_proba.sum(axis=1)
preds, target = torch.tensor(y_proba), torch.tensor(y_true)


def calibration(norm: str, n_bins: int) -> float:
    return float(multiclass_calibration_error(preds, target, 4, n_bins=n_bins, norm=norm))


def classwise(n_bins: int) -> float:
    errors = [
        binary_calibration_error(preds[:, k], (target == k).int(), n_bins=n_bins) for k in range(4)
    ]
    return float(torch.stack(errors).mean())


truth = rng.normal(size=(5, 3)).round(3)
samples = rng.normal(size=(8, 5, 3)).round(3)
levels = np.arange(1, 20) / 20
quantiles = np.quantile(samples, levels, axis=0)
reference = {
    "y_true": y_true.tolist(),
    "y_proba": y_proba.round(4).tolist(),
    "ece": {n: calibration("l1", n) for n in (5, 10, 15)},
    "mce": {n: calibration("max", n) for n in (5, 10, 15)},
    "classwise_ece": {n: classwise(n) for n in (5, 10, 15)},
    "truth": truth.tolist(),
    "samples": samples.tolist(),
    "crps": float(scoringrules.crps_ensemble(truth, samples, m_axis=0, estimator="nrg").mean()),
    "crps_fair": float(
        scoringrules.crps_ensemble(truth, samples, m_axis=0, estimator="fair").mean()
    ),
    "crps_quantile": float(scoringrules.crps_quantile(truth, quantiles, levels, m_axis=0).mean()),
}
Path(__file__).with_name("metrics.json").write_text(json.dumps(reference) + "\n")
