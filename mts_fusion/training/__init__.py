"""From a panel and a network to trained weights: batches, tasks and skorch's loop."""

from ._batch import Inputs, PanelDataset, collate
from ._boosting import TREE_SETTINGS
from ._callbacks import (
    BestWeights,
    CosineSchedule,
    EpochProgress,
    ModalityCurriculum,
    StopOnNaN,
    WeightAverage,
)
from ._conformal import conformal_intervals, conformal_sets
from ._features import FixedFeatures
from ._folds import GroupFolds, run_folds
from ._gaussian_examples import GaussianExamples, gaussian_planes
from ._gaussian_process import GaussianProcessModel
from ._links import IdentityLink, SigmoidLink, SoftmaxLink
from ._net import OPTIMIZERS, PRECISIONS, PanelNet
from ._pattern_model import PatternModel
from ._pattern_rows import Head, TrainingRows
from ._patterns import PatternModels
from ._residual_shapes import Residuals, ResidualShapes
from ._runtime import pick_device, seeded
from ._schedule import MANY_SAMPLES, choose_schedule
from ._scores import with_targets_of
from ._targets import check_labels, mean_and_scale
from ._task import ClassificationTask, Multiclass, Multilabel, Regression, Task
from ._user_settings import (
    check_callbacks,
    check_monitors,
    check_net_params,
    has_lr_scheduler,
)
from ._validation import ENOUGH_TO_VALIDATE, choose_fraction, simulate_sensor_loss, split_rows

__all__ = [
    "ENOUGH_TO_VALIDATE",
    "MANY_SAMPLES",
    "OPTIMIZERS",
    "PRECISIONS",
    "TREE_SETTINGS",
    "BestWeights",
    "ClassificationTask",
    "CosineSchedule",
    "EpochProgress",
    "FixedFeatures",
    "GaussianExamples",
    "GaussianProcessModel",
    "GroupFolds",
    "Head",
    "IdentityLink",
    "Inputs",
    "ModalityCurriculum",
    "Multiclass",
    "Multilabel",
    "PanelDataset",
    "PanelNet",
    "PatternModel",
    "PatternModels",
    "ResidualShapes",
    "Residuals",
    "Regression",
    "SigmoidLink",
    "SoftmaxLink",
    "StopOnNaN",
    "Task",
    "TrainingRows",
    "WeightAverage",
    "check_callbacks",
    "check_labels",
    "check_monitors",
    "check_net_params",
    "choose_fraction",
    "choose_schedule",
    "collate",
    "conformal_intervals",
    "conformal_sets",
    "has_lr_scheduler",
    "mean_and_scale",
    "gaussian_planes",
    "pick_device",
    "run_folds",
    "seeded",
    "simulate_sensor_loss",
    "split_rows",
    "with_targets_of",
]
