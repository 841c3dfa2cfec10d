"""Records of a network for each sample: attention budgets, attention, expert routing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from mts_fusion.panel import Panel, PanelLike
from mts_fusion.panel._arguments import check_types
from mts_fusion.panel._frames import as_frame

from ._evaluate import read_panel

__all__ = ["AttentionMaps", "attention_budgets", "attention_maps", "expert_routing"]

Record = Mapping[str, NDArray[Any]]


class AttentionMaps(NamedTuple):
    """Attention of each sample, with the modality of each row and column.

    Parameters
    ----------
    attention : ndarray of shape (n, rows, columns)
        Fraction of the attention of a row on a column; NaN if the sample lacks the row.
    rows : tuple of str
        Modality of each row, which is a modality or a token.
    columns : tuple of str
        Modality of each column.
    """

    attention: NDArray[np.floating]
    rows: tuple[str, ...]
    columns: tuple[str, ...]


def attention_budgets(estimator: Any, X: PanelLike) -> Any:
    """Attention budget of each modality in each sample.

    Parameters
    ----------
    estimator : estimator
        Fitted, with ``explain`` and a ``budget`` in its record, as ``MaestroClassifier``; may be
        the last step of a Pipeline.
    X : Panel or what ``as_panel`` takes
        n samples.

    Returns
    -------
    DataFrame
        One row per sample and modality: ``sample``, ``modality``, ``available``, ``budget`` (the
        number of attention queries divided by the logarithm of the number of tokens).

    Raises
    ------
    TypeError
        If the estimator has no ``explain``.
    ValueError
        If its record has no budgets.

    Examples
    --------
    >>> class Fitted:
    ...     def explain(self, X):
    ...         return {"budget": np.array([[3.0, 1.5]])}
    >>> X = {"acc": np.zeros((1, 3, 8)), "hr": np.full((1, 1, 2), np.nan)}
    >>> attention_budgets(Fitted(), X)["budget"].tolist()
    [3.0, 1.5]
    """
    record, panel = _explain(estimator, X)
    budget = _entry(record, "budget", estimator)
    n, n_modalities = panel.shape
    return as_frame(
        {
            "sample": np.repeat(np.arange(n), n_modalities).tolist(),
            "modality": list(panel.schema.names) * n,
            "available": panel.available.ravel().tolist(),
            "budget": np.asarray(budget, dtype=np.float64).ravel().tolist(),
        }
    )


def expert_routing(estimator: Any, X: PanelLike) -> Any:
    """Fraction of each modality that is routed to each expert, in each sample.

    Parameters
    ----------
    estimator : estimator
        Fitted, with ``explain`` and a mixture of experts in its record: ``expert (n, T, k)`` with
        the ``modality (n, T)`` of the tokens, or ``gate (n, M, E)`` or ``(n, layers, M, E)``. May
        be the last step of a Pipeline.
    X : Panel or what ``as_panel`` takes
        n samples.

    Returns
    -------
    DataFrame
        One row per sample, modality and expert: ``sample``, ``modality``, ``expert`` (from 0),
        ``share`` in [0, 1], NaN if the modality is missing.

    Raises
    ------
    TypeError
        If the estimator has no ``explain``.
    ValueError
        If its record has no experts.

    Examples
    --------
    >>> class Fitted:
    ...     def explain(self, X):
    ...         return {"gate": np.array([[[0.75, 0.25]]])}
    >>> expert_routing(Fitted(), np.zeros((1, 1, 8)))["share"].tolist()
    [0.75, 0.25]
    """
    record, panel = _explain(estimator, X)
    gate = np.asarray(_entry(record, "gate", estimator), dtype=np.float64)
    if "modality" in record and "expert" in record:
        share = _share_of_tokens(record, panel.shape[1], gate.shape[-1])
    else:
        share = gate.mean(axis=1) if gate.ndim == 4 else gate  # (n, layers, M, E) -> (n, M, E)
        total = np.where(panel.available, share.sum(axis=-1), np.nan)
        share = share / np.where(total > 0, total, np.nan)[..., None]
    n, n_modalities, n_experts = share.shape
    return as_frame(
        {
            "sample": np.repeat(np.arange(n), n_modalities * n_experts).tolist(),
            "modality": np.tile(np.repeat(panel.schema.names, n_experts), n).tolist(),
            "expert": np.tile(np.arange(n_experts), n * n_modalities).tolist(),
            "share": share.ravel().tolist(),
        }
    )


def attention_maps(
    estimator: Any,
    X: PanelLike,
    *,
    level: Literal["modality", "token"] = "modality",
    modality: str | None = None,
) -> AttentionMaps:
    """Attention between modalities, or between tokens, of each sample.

    Parameters
    ----------
    estimator : estimator
        Fitted, with ``explain`` and attention in its record; may be the last step of a Pipeline.
    X : Panel or what ``as_panel`` takes
        n samples.
    level : {"modality", "token"}, default="modality"
        "modality" reads ``attention (n, M, M)``, the mean over layers where there are several;
        "token" reads ``token_attention (n, T, T)``, or ``time_attention_<modality>`` of shape
        (n, heads, reference times, timepoints), the mean over its heads.
    modality : str or None, default=None
        Modality whose attention over time is read with ``level="token"``.

    Returns
    -------
    AttentionMaps
        Attention ``(n, rows, columns)``.

    Raises
    ------
    TypeError
        If the estimator has no ``explain``.
    ValueError
        If its record has no attention of this level.

    Examples
    --------
    >>> class Fitted:
    ...     def explain(self, X):
    ...         return {"attention": np.array([[[0.9, 0.1], [0.5, 0.5]]])}
    >>> maps = attention_maps(Fitted(), {"acc": np.zeros((1, 3, 8)), "hr": np.zeros((1, 1, 2))})
    >>> maps.columns, maps.attention[0, 0].tolist()
    (('acc', 'hr'), [0.9, 0.1])
    """
    check_types(attention_maps, locals())
    if level not in ("modality", "token"):
        raise ValueError(f"level is 'modality' or 'token', got {level!r}.")
    record, panel = _explain(estimator, X)
    names = panel.schema.names
    if level == "modality":
        attention = np.array(_entry(record, "attention", estimator), dtype=np.float64)
        if attention.ndim == 4:
            attention = attention.mean(axis=1)  # (n, layers, M, M) -> (n, M, M)
        attention[~panel.available] = np.nan
        return AttentionMaps(attention, names, names)
    if modality is not None:
        attention = np.array(_entry(record, f"time_attention_{modality}", estimator), dtype=float)
        attention = attention.mean(axis=1) if attention.ndim == 4 else attention
        _, n_rows, n_columns = attention.shape
        return AttentionMaps(attention, ("reference",) * n_rows, (modality,) * n_columns)
    attention = np.array(_entry(record, "token_attention", estimator), dtype=np.float64)
    modalities = np.asarray(_entry(record, "modality", estimator))[0]
    tokens = tuple(names[m] for m in modalities)
    if "available" in record and np.shape(record["available"]) == attention.shape[:2]:
        attention[~np.asarray(record["available"], dtype=bool)] = np.nan
    return AttentionMaps(attention, tokens, tokens)


def _explain(estimator: Any, X: Any) -> tuple[Record, Panel]:
    """The record of the estimator, and the panel that its network received."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        X = estimator[:-1].transform(X)
        return _explain(estimator[-1], X)
    if not hasattr(estimator, "explain"):
        raise TypeError(
            f"{type(estimator).__name__} has no explain(X), so that nothing was recorded. "
            "Use an estimator of mts_fusion, or modality_importance, which takes any."
        )
    panel = read_panel(estimator, X)
    return estimator.explain(panel), panel


def _entry(record: Record, key: str, estimator: Any) -> NDArray[Any]:
    if key not in record:
        estimator = getattr(estimator, "best_estimator_", estimator)
        if isinstance(estimator, Pipeline):
            estimator = estimator[-1]
        raise ValueError(
            f"The record of {type(estimator).__name__} has no {key!r}; it has {sorted(record)}. "
            "Choose a diagnostic of these, or an estimator that records it."
        )
    return record[key]


def _share_of_tokens(record: Record, n_modalities: int, n_experts: int) -> NDArray[np.float64]:
    """Fraction of the tokens of each modality at each expert, ``(n, M, E)``; -1 is no expert."""
    expert = np.asarray(record["expert"])
    expert = expert[..., None] if expert.ndim == 2 else expert  # (n, T, k)
    modality = np.broadcast_to(np.asarray(record["modality"]), expert.shape[:2])
    chosen = (expert[..., None] == np.arange(n_experts)).sum(axis=2)  # (n, T, E)
    of_modality = modality[..., None] == np.arange(n_modalities)  # (n, T, M)
    count = np.einsum("ntm,nte->nme", of_modality.astype(float), chosen.astype(float))
    total = count.sum(axis=-1, keepdims=True)
    return count / np.where(total > 0, total, np.nan)
