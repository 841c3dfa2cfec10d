"""Bars and log lines of fits, predictions and inspections, and of the phases in them."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

__all__ = ["advance", "fitting", "phase", "predicting", "run"]

_LOGGER = logging.getLogger("mts_fusion")

# Predictions that take less than this show no bar.
_PREDICTION_DELAY_SECONDS = 2.0


@dataclass
class _Phase:
    """A run, or a phase of one: what its bar and its log lines say."""

    path: tuple[str, ...]
    kind: str
    is_shown: bool
    level: int
    delay: float
    about: dict[str, Any]
    bar: Any = None

    @property
    def name(self) -> str:
        return ": ".join(self.path)


_current: ContextVar[_Phase | None] = ContextVar("mts_fusion_phase", default=None)


@contextmanager
def run(
    name: str, panel: Any, *, verbose: int, level: int = logging.INFO, delay: float = 0.0
) -> Iterator[None]:
    """A computation whose start and end are logged, and whose phases are logged and shown.

    Parameters
    ----------
    name : str
        What runs.
    panel : Panel or None
        Its samples, whose number and modalities are logged.
    verbose : int
        Whether phases have bars. They also have them inside of a run that shows bars; never in
        another process or thread than the main one, where bars would overwrite each other.
    level : int, default=logging.INFO
        Of the log lines.
    delay : float, default=0.0
        Seconds before a bar is shown.

    Yields
    ------
    None
        While it runs.
    """
    outer = _current.get()
    is_shown = (bool(verbose) and _is_main()) or (outer is not None and outer.is_shown)
    path = (name,) if outer is None else (*outer.path, name)
    about = {}
    if panel is not None:
        about = {"n_samples": len(panel), "modalities": list(panel.schema.names)}
    with _entered(_Phase(path, "run", is_shown, level, delay, about)):
        yield


@contextmanager
def fitting(estimator: Any, panel: Any, method: str = "fit") -> Iterator[None]:
    """A :func:`run` of ``fit``, or of another method that learns.

    Parameters
    ----------
    estimator : estimator
        Its ``verbose`` counts, if it has one.
    panel : Panel
        Training samples.
    method : str, default="fit"
        Name of the method.

    Yields
    ------
    None
        While it runs.
    """
    name = f"{type(estimator).__name__}.{method}"
    with run(name, panel, verbose=getattr(estimator, "verbose", 0)):
        yield


@contextmanager
def predicting(estimator: Any, panel: Any) -> Iterator[None]:
    """A :func:`run` of a prediction: bars of what takes seconds, log lines for debugging only.

    Parameters
    ----------
    estimator : estimator
        Its ``verbose`` counts, if it has one.
    panel : Panel or None
        Samples.

    Yields
    ------
    None
        While it runs.
    """
    verbose = getattr(estimator, "verbose", 0)
    options: dict[str, Any] = {"level": logging.DEBUG, "delay": _PREDICTION_DELAY_SECONDS}
    with run(type(estimator).__name__, panel, verbose=verbose, **options):
        yield


@contextmanager
def phase(
    kind: str, total: int | None = None, unit: str = "sample", label: str | None = None
) -> Iterator[None]:
    """A phase of the run around it, with a bar and log lines; nothing outside of a run.

    Parameters
    ----------
    kind : str
        Name of the phase, by which :func:`advance` finds its bar.
    total : int or None, default=None
        What the bar counts to; None for no bar.
    unit : str, default="sample"
        What the bar counts.
    label : str or None, default=None
        What bar and log lines call it; None for ``kind``.

    Yields
    ------
    None
        While it lasts.
    """
    outer = _current.get()
    if outer is None:
        yield
        return
    level = outer.level if outer.kind == "run" else logging.DEBUG
    path = (*outer.path, label or kind)
    inner = _Phase(path, kind, outer.is_shown, level, outer.delay, outer.about)
    if total and inner.is_shown:
        from tqdm.auto import tqdm

        is_kept = len(path) == 2 and level > logging.DEBUG
        inner.bar = tqdm(total=total, unit=unit, desc=inner.name, leave=is_kept, delay=inner.delay)
    with _entered(inner):
        yield


def advance(kind: str, n: int = 1, **figures: Any) -> None:
    """Move the bar of the innermost phase, if it is of this kind.

    Parameters
    ----------
    kind : str
        As in :func:`phase`.
    n : int, default=1
        By how much.
    **figures
        Shown behind the bar.
    """
    innermost = _current.get()
    if innermost is None or innermost.bar is None or innermost.kind != kind:
        return
    if figures:
        innermost.bar.set_postfix(figures, refresh=False)
    innermost.bar.update(n)


@contextmanager
def _entered(one: _Phase) -> Iterator[None]:
    """Make a run or a phase the innermost one, and log its start and end."""
    token, start = _current.set(one), time.perf_counter()
    _log(one, "start")
    error: str | None = None
    try:
        yield
    except BaseException as exception:
        error = type(exception).__name__
        raise
    finally:
        _current.reset(token)
        if one.bar is not None:
            one.bar.close()
        _log(one, "end", seconds=time.perf_counter() - start, error=error)


def _log(one: _Phase, event: str, seconds: float | None = None, error: str | None = None) -> None:
    """One line for readers, and the same as ``record.progress`` for machines."""
    if not _LOGGER.isEnabledFor(one.level):
        return
    text = "started" if event == "start" else f"finished in {seconds:.2f} s"
    if error is not None:
        text = f"ended by {error} after {seconds:.2f} s"
    if one.about:
        names = ", ".join(one.about["modalities"])
        text += f" ({one.about['n_samples']} samples of {names})"
    fields = {"path": one.path, "event": event, "seconds": seconds, "error": error, **one.about}
    _LOGGER.log(one.level, "%s: %s", one.name, text, extra={"progress": fields})


def _is_main() -> bool:
    """Whether this is the main thread of the main process, and no worker."""
    is_child = multiprocessing.parent_process() is not None
    return not is_child and threading.current_thread() is threading.main_thread()
