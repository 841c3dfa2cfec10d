"""A fitted model as one program of torch or as a file for onnxruntime, from values to predictions.

Sizes: B samples, C channels, L timepoints, K outputs.
"""

from __future__ import annotations

import json
import logging
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from ..estimators._base import PanelEstimator
from ..estimators._pattern_ridge_base import PatternRidge
from ..panel import Schema
from ..training import Multiclass, Multilabel, Regression
from ..training._links import IdentityLink, SigmoidLink, SoftmaxLink
from ..transforms import PanelScaler
from ._program import Link, NetworkProgram, PatternProgram, Program

__all__ = ["export_onnx", "export_program"]

_MOST_PATTERNS = 1024


def export_program(
    model: Any, *, patterns: str | Sequence[Sequence[str]] = "kept"
) -> torch.export.ExportedProgram:
    """One program of torch from raw values and masks to predictions.

    It holds the scaler, the fixed features, all networks and the temperature, or the regressions of
    ``PatternRidge*``. ``torch.export.save`` writes it; it runs without this library.

    Parameters
    ----------
    model : PatternRidge*, Fusion* or Maestro*
        Fitted, on the CPU.
    patterns : {"kept", "all"} or sequence of sequences of str, default="kept"
        Sets of modalities whose regressions the program of ``PatternRidge*`` has: those in
        ``models_.models``, which is those met in predictions so far, and that of all modalities;
        all sets; or these. A sample with another set gets NaN. Other models answer every set.

    Returns
    -------
    ExportedProgram
        Called as ``program.module()(values, observed, times)``: ``values`` and ``observed`` are
        lists of Tensors ``(B, C, L)``, float32 (int64 symbols) and bool, ``times`` one of
        ``(B, L)`` float64 for each modality with irregular times. L is that of ``schema_``: pad
        shorter samples with NaN and False. It gives ``(B, K)`` float32: probabilities, or numbers.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    TypeError
        If models of this type cannot be exported: TRACE, imputers, ``head="boosting"``.
    ValueError
        If ``patterns`` names an unknown modality, or would be more than 1,024 sets.

    Examples
    --------
    >>> import torch
    >>> from mts_fusion.datasets import make_panel_classification
    >>> from mts_fusion.estimators import PatternRidgeClassifier
    >>> X, y = make_panel_classification(40, modalities={"acc": (2, 20.0)}, random_state=0)
    >>> clf = PatternRidgeClassifier(kinds=("statistics",), random_state=0).fit(X, y)
    >>> program = export_program(clf)
    >>> values, observed = ([torch.tensor(part) for part in parts.values()]
    ...                     for parts in (X.values, X.observed))
    >>> program.module()(values, observed, []).shape
    torch.Size([40, 3])
    """
    program = _program(model, patterns).eval()
    arguments = _example(model.schema_)
    batch = torch.export.Dim("batch")
    shapes = [[{0: batch} for _ in part] for part in arguments]
    with torch.no_grad():
        return torch.export.export(program, arguments, dynamic_shapes=tuple(shapes))


def export_onnx(
    model: Any, path: str | Path, *, patterns: str | Sequence[Sequence[str]] = "kept"
) -> None:
    """Write a file for onnxruntime, from raw values and masks to predictions.

    Parameters
    ----------
    model : PatternRidge*, Fusion* or Maestro*
        As for :func:`export_program`.
    path : str or Path
        The file. Its inputs are ``values.NAME`` and ``observed.NAME`` of each modality, and
        ``times.NAME`` of those with irregular times, with the types and shapes of
        :func:`export_program`; its output is ``output``. Its metadata hold ``schema`` and
        ``classes`` as JSON.
    patterns : {"kept", "all"} or sequence of sequences of str, default="kept"
        As for :func:`export_program`.

    Raises
    ------
    ImportError
        If onnxscript is missing.
    NotFittedError, TypeError, ValueError
        As :func:`export_program`.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "export_onnx requires onnxscript: pip install 'mts-fusion[onnx]'."
        ) from error
    exported = export_program(model, patterns=patterns)
    schema = model.schema_
    names = [f"{kind}.{m.name}" for kind in ("values", "observed") for m in schema]
    names += [f"times.{m.name}" for m in schema if m.irregular]
    with _quiet():
        file = torch.onnx.export(
            exported, dynamo=True, verbose=False, input_names=names, output_names=["output"]
        )
    assert file is not None
    notes = {"schema": asdict(schema)}
    if hasattr(model, "classes_"):
        notes["classes"] = model.classes_.tolist()
    file.model.metadata_props.update({key: json.dumps(note) for key, note in notes.items()})
    file.save(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter of torch says about torchvision and about its own code."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            yield
    finally:
        log.setLevel(level)


def _program(model: Any, patterns: str | Sequence[Sequence[str]]) -> Program:
    """The module of a fitted model."""
    if isinstance(model, PatternRidge):
        check_is_fitted(model)
        if model.models_.trees is not None:
            raise TypeError("PatternRidge with head='boosting' has trees, which are not exported.")
        prior = torch.as_tensor(model._prior_scores())
        chosen = _patterns(model, patterns)
        link = _LINKS[type(model._link)](model._link)
        return PatternProgram(
            model.schema_, model.scaler_, model.features_, model.models_, chosen, prior, link
        )
    task = getattr(model, "_task", None)
    if isinstance(model, PanelEstimator):
        check_is_fitted(model)
    scaler = getattr(model, "preprocessor_", None)
    if task is None or not (scaler is None or isinstance(scaler, PanelScaler)):
        raise TypeError(
            f"{type(model).__name__} is not exported. PatternRidge*, Fusion* and Maestro* are; "
            "imputers and TRACE, which imputes, are not."
        )
    link = _LINKS[type(task)](task)
    return NetworkProgram(model.schema_, scaler, model.features_, model.nets_, link)


def _patterns(model: Any, patterns: str | Sequence[Sequence[str]]) -> list[tuple[int, ...]]:
    """Sets of modalities, by their indices."""
    names = model.schema_.names
    whole = tuple(range(len(names)))
    if patterns == "kept":
        return sorted({*(members for members in model.models_.models if members), whole})
    if patterns == "all":
        if 2 ** len(names) > _MOST_PATTERNS:
            raise ValueError(
                f"{len(names)} modalities have {2 ** len(names):,} sets, more than "
                f"{_MOST_PATTERNS:,}. Name those that occur."
            )
        return [one for k in whole for one in combinations(whole, k + 1)]
    unknown = [name for pattern in patterns for name in pattern if name not in names]
    if isinstance(patterns, str) or unknown:
        raise ValueError(
            f"patterns={patterns!r}: 'kept', 'all' or lists of modalities of {list(names)} are "
            "wanted."
        )
    return sorted({tuple(sorted(names.index(name) for name in one)) for one in patterns})


def _example(schema: Schema) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Inputs of two samples."""
    shapes = [(2, m.n_channels, m.n_timepoints) for m in schema]
    values = [
        torch.zeros(shape, dtype=torch.float32 if m.vocabulary is None else torch.int64)
        for m, shape in zip(schema, shapes, strict=True)
    ]
    observed = [torch.ones(shape, dtype=torch.bool) for shape in shapes]
    times = [
        torch.arange(m.n_timepoints, dtype=torch.float64).repeat(2, 1)
        for m in schema
        if m.irregular
    ]
    return values, observed, times


# Links: predictions (N, B, K) of N networks, and fractions of missing modalities (B,), to (B, K)


class _TaskLink(nn.Module):
    """Abstract: the answer of the networks, and what is known where all modalities are missing."""

    known: Tensor

    def __init__(self, known: Any) -> None:
        super().__init__()
        self.knows = known is not None
        if self.knows:
            self.register_buffer("known", torch.as_tensor(known).double())

    def forward(self, raw: Tensor, missing: Tensor) -> Tensor:
        given = self._link(raw, missing)
        return torch.where((missing == 1).unsqueeze(1), self.known, given) if self.knows else given

    @abstractmethod
    def _link(self, raw: Tensor, missing: Tensor) -> Tensor:
        """The answer of the networks."""


class _Softmax(_TaskLink):
    """Mean probability of the networks, at a temperature that depends on what is missing."""

    log_temperature: Tensor

    def __init__(self, task: Any) -> None:
        super().__init__(getattr(task, "frequencies", None))
        temperature = torch.as_tensor(getattr(task, "temperature", [1.0, 1.0]))
        self.register_buffer("log_temperature", temperature.double().log())

    def _link(self, raw: Tensor, missing: Tensor) -> Tensor:
        combined = raw.log_softmax(2).exp().mean(0).log() if len(raw) > 1 else raw[0]
        whole, silent = self.log_temperature
        temperature = ((1 - missing) * whole + missing * silent).exp()
        return (combined / temperature.unsqueeze(1)).softmax(1)


class _Sigmoid(_TaskLink):
    """Probability of each label, from the mean logit."""

    def __init__(self, task: Any) -> None:
        super().__init__(getattr(task, "frequencies", None))

    def _link(self, raw: Tensor, missing: Tensor) -> Tensor:
        return raw.mean(0).sigmoid()


class _Rescale(_TaskLink):
    """Mean number, in the unit of y."""

    mean: Tensor
    scale: Tensor

    def __init__(self, task: Any) -> None:
        super().__init__(task.mean if isinstance(task, Regression) else None)
        self.register_buffer("mean", torch.as_tensor(task.mean))
        self.register_buffer("scale", torch.as_tensor(task.scale))

    def _link(self, raw: Tensor, missing: Tensor) -> Tensor:
        return raw.mean(0) * self.scale + self.mean


_LINKS: dict[type, Callable[[Any], Link]] = {
    Multiclass: _Softmax,
    SoftmaxLink: _Softmax,
    Multilabel: _Sigmoid,
    SigmoidLink: _Sigmoid,
    Regression: _Rescale,
    IdentityLink: _Rescale,
}
