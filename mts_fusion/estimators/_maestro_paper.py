"""The settings of MAESTRO as published, by data set."""

from __future__ import annotations

from typing import Any

from mts_fusion.panel._arguments import check_types
from mts_fusion.transforms import SAXTokenizer

__all__ = ["PAPER_DATASETS", "paper_settings"]

# What differs between the data sets. Segments are those of the paper; it does not give the dropout,
# which is that of the released code.
_BY_DATASET: dict[str, tuple[int, float]] = {  # timepoints of a segment, dropout
    "wesad": (2, 0.1),
    "dalia": (2, 0.1),
    "dsads": (1, 0.3),
    "mimic3": (2, 0.1),
}
PAPER_DATASETS = tuple(_BY_DATASET)
"""Data sets of the paper."""

# NOTE[DIFF] The paper has a learning rate between 1e-5 and 1e-3 and early stopping, without figures
# for each data set. The released code has 1e-3, batches of 64 and no early stopping: it keeps the
# epoch of the highest validation accuracy. Here training stops after 20 epochs without a lower
# validation loss, on a fifth of the samples, as its DSADS script holds out.
# NOTE[DIFF] The released code has a constant learning rate and predicts with the weights of the
# epoch. Here the rate rises and falls (CosineSchedule), and the weights are averaged over the steps
# (WeightAverage); held-out samples are judged complete and with sensors hidden.
# NOTE[DIFF] Without symbols the released code normalises each window and channel by itself. Here
# the estimator scales by mean and deviation of the training samples, which keeps the level.
# NOTE[DIFF] The released code of DaliaHAR, DSADS and MIMIC-III has other widths, layers, experts
# and budgets than the paper; here all have those of the paper.
_MAX_EPOCHS = 150
_MAESTRO: dict[str, Any] = {
    "d_model": 64,
    "n_heads": 8,
    "n_intra_layers": 2,
    "n_cross_layers": 2,
    "d_hidden": 4 * 64,
    "n_experts": 4,
    "n_active_experts": 1,
    "attention_budget": "learnt",
    "max_budget": 5.0,
    "cross_budget": 5.0,
    "distil": True,
    "modality_dropout": 0.4,
    "modality_dropout_spread": False,
    "n_warmup_epochs": 10,
    "n_curriculum_epochs": _MAX_EPOCHS,
    "balance_weight": 0.0,
    "missing": "token",
    "patch_length": 1,
    "feature_tokens": (),
    "optimizer": "adam",
    "lr": 1e-3,
    "weight_decay": 0.0,
    "batch_size": 64,
    "max_epochs": _MAX_EPOCHS,
    "patience": 20,
    "validation_fraction": 0.2,
    "label_smoothing": 0.0,
    "calibration": None,
    "n_estimators": 1,
    "net_params": {"gradient_clip": None},
}


def paper_settings(dataset: str) -> tuple[SAXTokenizer, dict[str, Any]]:
    """Settings of the paper for one of its data sets.

    Parameters
    ----------
    dataset : {"wesad", "dalia", "dsads", "mimic3"}
        WESAD, DaliaHAR, DSADS or MIMIC-III.

    Returns
    -------
    tokenizer : SAXTokenizer
        Not fitted.
    maestro : dict of str to object
        Parameters of ``MaestroClassifier``.

    Raises
    ------
    ValueError
        If the data set is not one of the paper.
    """
    check_types(paper_settings, locals())
    if dataset not in _BY_DATASET:
        raise ValueError(
            f"dataset is one of the paper, {list(PAPER_DATASETS)}, got {dataset!r}. For data of "
            "your own take the one that resembles them most: 'dsads' makes each timepoint a "
            "symbol, the others every two."
        )
    segment_length, dropout = _BY_DATASET[dataset]
    tokenizer = SAXTokenizer(alphabet_size=20, segment_length=segment_length, scope="instance")
    return tokenizer, {**_MAESTRO, "dropout": dropout}
