"""ScoredNet: what skorch's EpochScoring and BatchScoring ask a net for."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import Tags
from skorch.callbacks import BatchScoring, EpochScoring
from skorch.utils import to_numpy

from ._pattern_rows import as_array
from ._task import Task

__all__ = ["ScoredNet", "is_scoring", "with_targets_of"]


class ScoredNet:
    """Abstract: predictions of the type of y while a net is trained, for scorers of scikit-learn.

    No temperature is learnt yet, so that probabilities are those before calibration.
    """

    task: Task | None
    callbacks_: list[tuple[str, Any]]
    forward_iter: Any

    @property
    def classes_(self) -> np.ndarray:
        """The classes of the task, if it has any."""
        return self.task.classes  # type: ignore[union-attr]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities, or numbers in the unit of y.

        Parameters
        ----------
        X : PanelDataset
            n samples.

        Returns
        -------
        array of shape (n, n_outputs)
            Of this network alone.
        """
        assert self.task is not None
        # device=None: skorch would move the parts of an output one by one into a plain tuple.
        outputs = self.forward_iter(X, device=None)
        raw = np.concatenate([as_array(output.prediction.float()) for output in outputs])
        return self.task.link(self.task.combine([raw]))

    def predict(self, X: Any) -> np.ndarray:
        """Predictions of the type of y.

        Parameters
        ----------
        X : PanelDataset
            n samples.

        Returns
        -------
        array of shape (n,) or (n, n_outputs)
            Of this network alone.
        """
        assert self.task is not None
        return self.task.decode(self.predict_proba(X))

    def score_names(self) -> list[str]:
        """Names under which callbacks record scores.

        Returns
        -------
        list of str
            In the order of the callbacks.
        """
        return [one.name_ for _, one in self.callbacks_ if is_scoring(one)]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.estimator_type = "classifier" if hasattr(self, "classes_") else "regressor"
        return tags


def is_scoring(callback: Any) -> bool:
    """Whether a callback scores predictions.

    Parameters
    ----------
    callback : Callback
        Of skorch.

    Returns
    -------
    bool
        True for ``EpochScoring`` and ``BatchScoring``.
    """
    return isinstance(callback, (EpochScoring, BatchScoring))


def with_targets_of(task: Task | None, callbacks: Sequence[Any] | None) -> list[Any]:
    """Callbacks, those that score being given targets of the type of y.

    Parameters
    ----------
    task : Task or None
        Of the network; None if it has no targets.
    callbacks : sequence of Callback, or of (str, Callback), or None
        From the user.

    Returns
    -------
    list
        A copy of each that scores with the extractor of targets of skorch, the others as they are.

    Raises
    ------
    ValueError
        If one scores and there is no task.
    """
    adapted: list[Any] = []
    for entry in callbacks or []:
        is_pair = isinstance(entry, tuple) and len(entry) == 2
        one = entry[1] if is_pair else entry
        if is_scoring(one):
            if task is None:
                raise ValueError(
                    f"callbacks holds {type(one).__name__}, but there are no targets to score. "
                    "Read the losses from history_."
                )
            if one.target_extractor is to_numpy:
                one = copy(one)
                one.target_extractor = partial(_targets, task)
        adapted.append((entry[0], one) if is_pair else one)
    return adapted


def _targets(task: Task, target: dict[str, Any]) -> np.ndarray:
    """Targets of the type of y, of a batch."""
    return task.restore(as_array(target["y"]))
