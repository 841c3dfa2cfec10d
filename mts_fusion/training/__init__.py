"""From a panel and a network to trained weights: batches, tasks and skorch's loop."""

from ._batch import Inputs, PanelDataset, collate
from ._callbacks import (
    BestWeights,
    CosineSchedule,
    EpochProgress,
    ModalityCurriculum,
    StopOnNaN,
    WeightAverage,
)
from ._features import FixedFeatures
from ._net import OPTIMIZERS, PRECISIONS, PanelNet
from ._runtime import pick_device, seeded
from ._task import Multiclass, Multilabel, Regression, Task

__all__ = [
    "OPTIMIZERS",
    "PRECISIONS",
    "BestWeights",
    "CosineSchedule",
    "EpochProgress",
    "FixedFeatures",
    "Inputs",
    "ModalityCurriculum",
    "Multiclass",
    "Multilabel",
    "PanelDataset",
    "PanelNet",
    "Regression",
    "StopOnNaN",
    "Task",
    "WeightAverage",
    "collate",
    "pick_device",
    "seeded",
]
