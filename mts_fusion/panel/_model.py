"""The schema that a fitted model was fitted on, wherever it is wrapped."""

from __future__ import annotations

from typing import Any

from ._schema import Schema

__all__ = ["has_schema", "schema_of"]


def schema_of(model: Any) -> tuple[Schema, str]:
    """The schema seen in fit, and the name of the estimator that saw it.

    Parameters
    ----------
    model : Schema or fitted estimator
        An estimator or transformer of this library, or one of scikit-learn that holds one, such as
        Pipeline (whose first step has it), FeatureUnion, GridSearchCV, CalibratedClassifierCV,
        VotingClassifier or BaggingClassifier.

    Returns
    -------
    schema : Schema
        What X has to be.
    owner : str
        For messages.

    Raises
    ------
    TypeError
        If no schema is found: the model is not fitted, sees no panel, or is a pipeline whose first
        step keeps none.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from mts_fusion.transforms import PanelScaler, PanelSummarizer
    >>> model = make_pipeline(PanelScaler(), PanelSummarizer()).fit({"acc": [[1.0, 2.0]]})
    >>> schema_of(model)[0].names
    ('acc',)
    """
    if isinstance(model, Schema):
        return model, "The model"
    result = _find(model)
    if result is None:
        raise TypeError(
            f"No schema is found in {type(model).__name__}; a Schema or a fitted estimator that "
            "takes panels is wanted. Fit it first; the first step of a pipeline has to be one that "
            "keeps ``schema_``."
        )
    return result


def has_schema(model: Any) -> bool:
    """Whether :func:`schema_of` finds a schema in a model.

    Parameters
    ----------
    model : object
        Any model.

    Returns
    -------
    bool
        False for a model that is not fitted, or sees no panel.
    """
    return _find(model) is not None


def _find(model: Any) -> tuple[Schema, str] | None:
    schema = getattr(model, "schema_", None)
    if isinstance(schema, Schema):
        return schema, type(model).__name__
    for inner in _inside(model):
        if (result := _find(inner)) is not None:
            return result
    return None


def _inside(model: Any) -> list[Any]:
    """The fitted estimators that get the X of this one, the likeliest first."""
    if isinstance(getattr(model, "steps", None), list):
        # Only the first step gets the X of a pipeline: behind it the clock may be another.
        return [step for _, step in model.steps if step not in (None, "passthrough")][:1]
    names = ("best_estimator_", "estimator_", "classifier_", "regressor_")
    inner = [getattr(model, name, None) for name in names]
    for name in ("calibrated_classifiers_", "estimators_"):
        inner += list(getattr(model, name, []))
    inner += [one for _, one in getattr(model, "transformer_list", []) if not isinstance(one, str)]
    if "Calibrated" in type(model).__name__ or "Frozen" in type(model).__name__:
        inner.append(getattr(model, "estimator", None))
    return [one for one in inner if one is not None]
