"""The settings of TRACE as published (table 6 of the paper), by data set."""

from __future__ import annotations

from typing import Any

from mts_fusion.panel._arguments import check_types

__all__ = ["PAPER_DATASETS", "diffusion_settings", "fusion_settings"]

# What differs between the data sets: draws, epochs of the fusion, layers, experts, router, learning
# rate, length of the processed sequence, width of the attention, held-out share of all but the test
# part.
_BY_DATASET: dict[str, tuple[int, int, int, int, str, float, int, int, float]] = {
    "mimic4": (20, 32, 3, 16, "joint", 4e-4, 48, 128, 15 / 85),
    "mosi": (1, 40, 3, 8, "per_modality", 1e-4, 50, 32, 229 / (1284 + 229)),
    "mosei": (1, 20, 1, 16, "joint", 1e-4, 50, 32, 1871 / (16326 + 1871)),
}
PAPER_DATASETS = tuple(_BY_DATASET)
"""Data sets of the paper."""

# NOTE[DIFF] Not in the paper: the epochs, optimizer and weight decay of the diffusion, and how the
# draws become one value. Here they are those of CSDI's released code, with its median. The paper
# names one learning rate ("default"), taken for both stages.
_DIFFUSION: dict[str, Any] = {
    "statistic": "median",
    "fill_absent": False,
    "n_steps": 50,
    "sampler": "ddpm",
    "d_model": 64,
    "n_heads": 8,
    "n_layers": 4,
    "n_encoder_layers": 0,
    "patch_length": 1,
    "channels_per_token": 1,
    "n_experts": 5,
    "conditioning": "cross",
    "gating": "inner_product",
    "mask_strategy": "random",
    "hidden_fraction": 0.2,
    "schedule": "quad",
    "n_train_steps": 50,
    "parameterization": "noise",
    "prior": "standard",
    "optimizer": "adam",
    "weight_decay": 1e-6,
    "batch_size": 16,
    "max_epochs": 200,
    "n_estimators": 1,
}

# NOTE[DIFF] Not in the paper: batch size and dropout of the fusion, the weight of eq. 8 and the
# optimizer. Here they are 32, .1, .01 and Adam.
# NOTE[DIFF] The learning rate rises and falls over the steps (CosineSchedule), the weights are
# averaged over them (WeightAverage); those of the epoch of the lowest validation loss are kept.
_FUSION: dict[str, Any] = {
    "n_imputations": 1,
    "n_heads": 8,
    "n_active_experts": 4,
    "d_hidden": 512,
    "gate": "laplace",
    "entropy_weight": 0.01,
    "modality_dropout": 0.0,
    "dropout": 0.1,
    "statistics": False,
    "optimizer": "adam",
    "weight_decay": 0.0,
    "batch_size": 32,
    "label_smoothing": 0.0,
    "calibration": None,
    "n_estimators": 1,
}


def diffusion_settings(dataset: str) -> dict[str, Any]:
    """Parameters of ``ConditionalDiffusionImputer`` for a data set of the paper.

    Parameters
    ----------
    dataset : {"mimic4", "mosi", "mosei"}
        MIMIC-IV, CMU-MOSI or CMU-MOSEI.

    Returns
    -------
    dict of str to object
        By name.

    Raises
    ------
    ValueError
        If the data set is not one of the paper.
    """
    n_samples, *_, lr, _, _, _ = _row(dataset)
    return {**_DIFFUSION, "n_samples": n_samples, "lr": lr}


def fusion_settings(dataset: str) -> dict[str, Any]:
    """Parameters of ``TraceClassifier``, but for the imputer, for a data set of the paper.

    Parameters
    ----------
    dataset : {"mimic4", "mosi", "mosei"}
        MIMIC-IV, CMU-MOSI or CMU-MOSEI.

    Returns
    -------
    dict of str to object
        By name.

    Raises
    ------
    ValueError
        If the data set is not one of the paper.
    """
    _, max_epochs, n_layers, n_experts, router, lr, n_reference, width, held_out = _row(dataset)
    return {
        **_FUSION,
        "max_epochs": max_epochs,
        "n_layers": n_layers,
        "n_experts": n_experts,
        "router": router,
        "lr": lr,
        "n_reference": n_reference,
        "d_model": width,
        "d_time": width,
        "validation_fraction": held_out,
    }


def _row(dataset: str) -> tuple[int, int, int, int, str, float, int, int, float]:
    check_types(_row, locals())
    if dataset not in _BY_DATASET:
        raise ValueError(
            f"dataset is one of the paper, {list(PAPER_DATASETS)}, got {dataset!r}. For data of "
            "your own take 'mimic4' for irregular clinical series, 'mosi' for small sets."
        )
    return _BY_DATASET[dataset]
