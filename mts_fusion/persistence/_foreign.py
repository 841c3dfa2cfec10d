"""Estimators of scikit-learn in a file: what they may hold, and whether their trees are sound."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ._classes import full_name, own_types

__all__ = ["from_skops", "skops_io"]

# Plain data inside estimators that skops stores; it lists the estimators alone. No code of theirs
# runs when they are read. What is computed from trees reads memory by the numbers in them, so these
# are checked.
_INNER = {
    "numpy.dtype",
    "numpy.mean",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    # skops lists experimental estimators where they were enabled before it was imported.
    "sklearn.impute._iterative.IterativeImputer",
    "sklearn.impute._iterative._ImputerTriplet",
    "sklearn.model_selection._search_successive_halving.HalvingGridSearchCV",
    "sklearn.model_selection._search_successive_halving.HalvingRandomSearchCV",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    *(
        f"sklearn.calibration.{name}"
        for name in ("_CalibratedClassifier", "_SigmoidCalibration", "_TemperatureScaling")
    ),
}
# Scores, splitters and tests of features: classes and functions without effects.
_INNER_MODULES = (
    "sklearn.feature_selection._mutual_info.",
    "sklearn.feature_selection._univariate_selection.",
    "sklearn.metrics._",
    "sklearn.model_selection._split.",
)


def skops_io() -> Any:
    """The module ``skops.io``."""
    try:
        import skops.io
    except ImportError as error:
        raise ImportError(
            "save and load of scikit-learn's estimators require skops: "
            "pip install 'mts-fusion[skops]'."
        ) from error
    return skops.io


def from_skops(data: bytes, trusted: Sequence[type]) -> Any:
    """What skops has stored.

    Parameters
    ----------
    data : bytes
        As from ``skops.io.dumps``.
    trusted : sequence of type
        Classes of the user's that may be among it.

    Returns
    -------
    object
        The estimator.

    Raises
    ------
    ValueError
        If it holds anything but what skops trusts, our own classes, ``trusted`` and plain data of
        scikit-learn; if a part declares more bytes than the file has; or if a tree leads out of
        its own nodes.
    """
    io_ = skops_io()
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        if any(info.file_size > len(data) for info in file.infolist()):
            raise ValueError("a part declares more bytes than the file has")
    allowed = own_types() | _INNER | {full_name(cls) for cls in trusted}
    unknown = io_.get_untrusted_types(data=data)
    refused = [n for n in unknown if n not in allowed and not n.startswith(_INNER_MODULES)]
    if refused:
        raise ValueError(
            f"it holds {refused}, which are not known to be safe. If you trust them, hand them "
            "over with load(path, trusted=[...])."
        )
    model = io_.loads(data, trusted=unknown)
    for part in _parts(model):
        _check_trees(part)
    return model


def _check_trees(part: Any) -> None:
    """Raise unless the trees of a forest or of boosting lead to nodes and features they have."""
    from sklearn.tree._tree import Tree

    if isinstance(part, Tree):
        inner = np.flatnonzero(part.children_left != -1)
        links = (part.children_left[inner], part.children_right[inner])
        _check_nodes(inner, links, part.node_count, part.feature[inner], part.n_features)
    if hasattr(part, "_predictors"):
        for tree in (tree for iteration in part._predictors for tree in iteration):
            inner = np.flatnonzero(tree.nodes["is_leaf"] == 0)
            nodes = tree.nodes[inner]
            links = (nodes["left"], nodes["right"])
            _check_nodes(inner, links, len(tree.nodes), nodes["feature_idx"], part._n_features)
            n_sets = len(tree.raw_left_cat_bitsets)
            if (nodes["bitset_idx"][nodes["is_categorical"] == 1] >= n_sets).any():
                raise ValueError("a tree reads a set of categories that there is not")


def _check_nodes(
    inner: np.ndarray,
    links: Sequence[np.ndarray],
    n_nodes: int,
    feature: np.ndarray,
    n_features: int,
) -> None:
    for child in links:
        # scikit-learn appends children, so a tree cannot lead in a circle.
        if ((child <= inner) | (child >= n_nodes)).any():
            raise ValueError("a tree leads out of its own nodes")
    if ((feature < 0) | (feature >= n_features)).any():
        raise ValueError("a tree reads a feature that there is not")


def _parts(model: Any) -> Iterator[Any]:
    """All objects inside an estimator, each once."""
    seen: set[int] = set()
    todo = [model]
    while todo:
        part = todo.pop()
        if id(part) in seen or isinstance(part, (str, bytes, int, float, type(None))):
            continue
        seen.add(id(part))
        yield part
        if isinstance(part, np.ndarray):
            todo += part.ravel().tolist() if part.dtype == object else []
        elif isinstance(part, dict):
            todo += [*part.keys(), *part.values()]
        elif isinstance(part, (list, tuple, set)):
            todo += list(part)
        else:
            todo += list(getattr(part, "__dict__", {}).values())
