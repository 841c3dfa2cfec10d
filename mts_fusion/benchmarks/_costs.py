"""What a fitted estimator costs: parameters, multiply-accumulates a sample, peak memory."""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..inspection._costs import macs_of, networks_of

__all__ = ["Memory", "count_macs", "count_parameters", "peak_memory", "processor_seconds"]


def processor_seconds(call: Callable[[], Any]) -> float:
    """Processor time of all threads of the process while a function runs.

    Parameters
    ----------
    call : callable
        Without arguments.

    Returns
    -------
    float
        Seconds.
    """
    start = time.process_time()
    call()
    return time.process_time() - start


@dataclass
class Memory:
    """Most memory taken at one time, in MB (10^6 bytes), of the host and of a GPU (0 if unused)."""

    peak_mb: float = float("nan")
    gpu_peak_mb: float = 0.0


@contextmanager
def peak_memory() -> Iterator[Memory]:
    """Most memory the process held inside the ``with``, above what it held before.

    Resident memory of the host, as the kernel counts it; on Linux its high-water mark is reset
    first. Elsewhere it is the growth of the mark since the process began, so a cell has to run in a
    process of its own.

    Yields
    ------
    Memory
        Its ``peak_mb`` is set at the end.

    Examples
    --------
    >>> import mmap  # new pages; other memory may be some that the process holds already
    >>> with peak_memory() as memory:
    ...     written = mmap.mmap(-1, 50_000_000).write(bytes(50_000_000))
    >>> memory.peak_mb > 40
    True
    """
    memory = Memory()
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        clear.write_text("5")  # resets VmHWM
        exact = status.exists()
    except OSError:
        exact = False
    before = _status(status, "VmRSS") if exact else _max_rss()
    try:
        yield memory
    finally:
        after = _status(status, "VmHWM") if exact else _max_rss()
        memory.peak_mb = (after - before) / 1e6
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            memory.gpu_peak_mb = torch.cuda.max_memory_allocated() / 1e6


def _status(path: Path, field: str) -> float:
    match = re.search(rf"{field}:\s+(\d+) kB", path.read_text())
    return 1024.0 * int(match.group(1)) if match else float("nan")


def _max_rss() -> float:
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def count_parameters(estimator: Any) -> int | None:
    """Trainable numbers of the networks of a fitted estimator.

    Parameters
    ----------
    estimator : estimator
        Fitted.

    Returns
    -------
    int or None
        None if it has no network.
    """
    modules = networks_of(estimator)
    if not modules:
        return None
    return sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad)


def count_macs(estimator: Any, panel: Any) -> float | None:
    """Multiply-accumulates that the networks of a fitted estimator need for one sample.

    Counted while the estimator predicts ``panel``, as by ``inspection.model_costs``.

    Parameters
    ----------
    estimator : estimator
        Fitted; takes a Panel.
    panel : Panel
        A few samples.

    Returns
    -------
    float or None
        None if it has no network.

    Raises
    ------
    RuntimeError
        If nothing was counted, which is an error of the counter and not a free network.
    """
    if not networks_of(estimator):
        return None
    predict = getattr(estimator, "predict_proba", None) or estimator.predict
    macs = macs_of(lambda: predict(panel)) / len(panel)
    if macs <= 0:
        raise RuntimeError(
            f"No multiply-accumulate of {type(estimator).__name__} was counted. Its network may be "
            "compiled or run in another process."
        )
    return macs
