"""What a fitted estimator costs: parameters, multiply-accumulates a sample, peak memory."""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Memory", "count_macs", "count_parameters", "peak_memory"]


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
    >>> with peak_memory() as memory:
    ...     block = bytearray(50_000_000)
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
    found = re.search(rf"{field}:\s+(\d+) kB", path.read_text())
    return 1024.0 * int(found.group(1)) if found else float("nan")


def _max_rss() -> float:
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _networks(estimator: Any) -> list[Any]:
    """Modules of a fitted estimator of ours, also where it is the last step of a Pipeline."""
    if hasattr(estimator, "steps"):
        return [module for _, step in estimator.steps for module in _networks(step)]
    nets = list(getattr(estimator, "nets_", []))
    inner = [getattr(estimator, name, None) for name in ("preprocessor_", "estimator_")]
    modules = [net.module_ for net in nets if hasattr(net, "module_")]
    return modules + [module for part in inner if part is not None for module in _networks(part)]


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
    modules = _networks(estimator)
    if not modules:
        return None
    return sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad)


def count_macs(estimator: Any, panel: Any) -> float | None:
    """Multiply-accumulates that the networks of a fitted estimator need for one sample.

    Counted while the estimator predicts ``panel``. PyTorch's counter sees matrix products and
    convolutions; recurrent layers and scaled dot-product attention, of which it sees nothing on a
    CPU, are counted from their shapes.

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
    if not _networks(estimator):
        return None
    predict = getattr(estimator, "predict_proba", None) or estimator.predict
    macs = _macs_of(lambda: predict(panel)) / len(panel)
    if macs <= 0:
        raise RuntimeError(
            f"No multiply-accumulate of {type(estimator).__name__} was counted. Its network may be "
            "compiled or run in another process."
        )
    return macs


def _macs_of(call: Any) -> float:
    """Multiply-accumulates of everything torch does in ``call()``, in this thread."""
    import torch
    from torch.nn import functional
    from torch.overrides import TorchFunctionMode
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    known = 0.0  # what is counted from shapes, less what the counter saw of the same

    class Attention(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal known
            if func is not functional.scaled_dot_product_attention:
                return func(*args, **(kwargs or {}))
            seen = counter.get_total_flops()
            out = func(*args, **(kwargs or {}))
            query, key, value = (
                args[i] if len(args) > i else (kwargs or {})[name]
                for i, name in enumerate(("query", "key", "value"))
            )
            n_scores = out.shape[:-1].numel() * key.shape[-2]  # B * H * Lq * Lk
            known += n_scores * (query.shape[-1] + value.shape[-1])
            known -= (counter.get_total_flops() - seen) / 2
            return out

    seen_before: list[float] = []

    def before(module: Any, inputs: Any) -> None:
        if isinstance(module, torch.nn.RNNBase):
            seen_before.append(counter.get_total_flops())

    def after(module: Any, inputs: Any, output: Any) -> None:
        nonlocal known
        if isinstance(module, torch.nn.RNNBase):
            known -= (counter.get_total_flops() - seen_before.pop()) / 2
            known += _recurrent_macs(module, inputs[0])

    hooks = [
        torch.nn.modules.module.register_module_forward_pre_hook(before),
        torch.nn.modules.module.register_module_forward_hook(after),
    ]
    try:
        with counter, Attention():
            call()
    finally:
        for hook in hooks:
            hook.remove()
    return counter.get_total_flops() / 2 + known


def _recurrent_macs(module: Any, x: Any) -> float:
    """Multiply-accumulates of an LSTM, GRU or RNN: its weight matrices, once a timepoint."""
    is_packed = hasattr(x, "batch_sizes")
    n_steps = x.data.shape[0] if is_packed else x.shape[:-1].numel()
    n_weights = sum(p.numel() for name, p in module.named_parameters() if name.startswith("weight"))
    return float(n_steps * n_weights)
