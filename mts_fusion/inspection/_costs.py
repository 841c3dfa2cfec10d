"""What the networks of a fitted estimator cost: parameters, multiply-accumulates, memory."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from mts_fusion.panel import PanelLike
from mts_fusion.panel._frames import as_frame

from ._evaluate import read_panel

__all__ = ["macs_of", "model_costs", "networks_of"]

_REST = "other"


def model_costs(estimator: Any, X: PanelLike) -> Any:
    """Parameters, operations and memory of the networks of an estimator, by part.

    Counted while the estimator predicts X, with the counter of PyTorch
    (``torch.utils.flop_counter``), to which recurrent layers, and the attention of a CPU, are
    added. It sees matrix products and convolutions, not elementwise operations.

    Parameters
    ----------
    estimator : estimator
        Fitted; may be the last step of a Pipeline.
    X : Panel or what ``as_panel`` takes
        n samples, best a multiple of 4: predictions fill batches up to it.

    Returns
    -------
    DataFrame
        One row a part of a network, which is a module directly below it, one row ``"other"`` for
        what is in no part, one for what is computed outside of networks (fixed features,
        preprocessing) and one for the total. The networks of an ensemble are added. Columns:
        ``network``, ``part``, ``parameters`` (trainable numbers), ``macs`` (multiply-accumulates a
        sample), ``flops`` (twice that), ``peak_mb`` (the most MB, 10^6 bytes, that tensors made for
        the prediction held at one time while the part ran, those of other parts among them;
        without weights, and without what numpy holds; NaN outside of networks).

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it has no networks.

    Notes
    -----
    Operations are those that are really computed. Experts work on blocks of tokens, of which those
    of a small batch are partly empty, so that a large batch costs less a sample.

    Examples
    --------
    >>> from mts_fusion import FusionClassifier, make_panel_classification
    >>> X, y = make_panel_classification(n_samples=40, random_state=0)
    >>> clf = FusionClassifier(encoder="cnn", max_epochs=1, device="cpu").fit(X, y)
    >>> costs = model_costs(clf, X[:8])
    >>> list(costs.columns)
    ['network', 'part', 'parameters', 'macs', 'flops', 'peak_mb']
    >>> costs["part"].iloc[-1]
    'total'
    """
    estimator = getattr(estimator, "best_estimator_", estimator)
    networks = networks_of(estimator)
    if not networks:
        check_is_fitted(estimator)
        raise TypeError(
            f"{type(estimator).__name__} has no networks, whose costs could be counted. Measure "
            "time and memory of the process instead."
        )
    panel = read_panel(estimator, X)
    predict = _prediction(estimator)
    counter = _Counter(networks)
    counter.run(lambda: predict(panel))
    return as_frame(counter.table(len(panel)))


def networks_of(estimator: Any) -> list[nn.Module]:
    """Networks of a fitted estimator, also inside a Pipeline or a preprocessor.

    Parameters
    ----------
    estimator : estimator
        Anything.

    Returns
    -------
    list of Module
        Empty if it has none.
    """
    if hasattr(estimator, "steps"):
        return [module for _, step in estimator.steps for module in networks_of(step)]
    nets = list(getattr(estimator, "nets_", []))
    inner = [getattr(estimator, name, None) for name in ("preprocessor_", "estimator_")]
    modules = [net.module_ for net in nets if hasattr(net, "module_")]
    return modules + [module for part in inner if part is not None for module in networks_of(part)]


def macs_of(call: Callable[[], Any]) -> float:
    """Multiply-accumulates of everything that torch does in ``call()``, in this thread.

    Parameters
    ----------
    call : callable
        Without arguments.

    Returns
    -------
    float
        Half of the floating point operations.
    """
    counter = _Counter(())
    counter.run(call)
    return counter.macs


def _prediction(estimator: Any) -> Callable[[Any], Any]:
    for name in ("predict_proba", "predict", "transform"):
        if hasattr(estimator, name):
            return getattr(estimator, name)
    raise TypeError(f"{type(estimator).__name__} has neither predict nor transform.")


class _LiveBytes(TorchDispatchMode):
    """Bytes of the tensors made inside the ``with`` that are still alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._sizes: dict[int, int] = {}  # of the storages that are alive

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _tensors((args, kwargs)):  # a view of what was there before costs nothing
            self._note(tensor.untyped_storage(), 0)
        out = func(*args, **(kwargs or {}))
        for tensor in _tensors(out):
            storage = tensor.untyped_storage()
            self._note(storage, storage.nbytes())
        self.peak = max(self.peak, self.live)
        return out

    def _note(self, storage: Any, n_bytes: int) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = n_bytes
            self.live += n_bytes
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key)


class _Row(NamedTuple):
    """Costs of a part, of all samples and networks."""

    network: str
    part: str
    parameters: int
    macs: float
    peak: float  # bytes


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class _Counter:
    """Operations and memory of a call, by network and part.

    Parameters
    ----------
    networks : iterable of Module
        Networks; their children are the parts.
    """

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        self.networks = list(networks)
        attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        self._flops = FlopCounterMode(display=False, custom_mapping={attention: _attention_flops})
        self._memory = _LiveBytes()
        self._recurrent = 0.0  # what is counted from shapes, less what the counter saw of it
        self._open: list[tuple[nn.Module, tuple[str, str], float, int]] = []
        self.parts: dict[tuple[str, str], tuple[float, int]] = {}  # macs, peak bytes

    @property
    def macs(self) -> float:
        """Multiply-accumulates so far."""
        return self._flops.get_total_flops() / 2 + self._recurrent

    def run(self, call: Callable[[], Any]) -> None:
        """Count what a call does."""
        with ExitStack() as stack:
            for network in self.networks:
                name = type(network).__name__
                self._watch(stack, network, (name, _REST))
                for part, child in network.named_children():
                    for module in child.modules():
                        self._watch(stack, module, (name, part))
            started: list[float] = []

            def before(module: Any, inputs: Any) -> None:
                if isinstance(module, nn.RNNBase):
                    started.append(self._flops.get_total_flops())

            def after(module: Any, inputs: Any, output: Any) -> None:
                if isinstance(module, nn.RNNBase):
                    seen = self._flops.get_total_flops() - started.pop()
                    self._recurrent += _recurrent_macs(module, inputs[0]) - seen / 2

            hooks = nn.modules.module
            for hook in (
                hooks.register_module_forward_pre_hook(before),
                hooks.register_module_forward_hook(after),
            ):
                stack.callback(hook.remove)
            stack.enter_context(self._flops)
            stack.enter_context(self._memory)
            call()

    def _watch(self, stack: ExitStack, module: nn.Module, part: tuple[str, str]) -> None:
        """Count what a module does for a part, unless it runs inside the same part."""

        def before(module: nn.Module, inputs: Any) -> None:
            if self._open and self._open[-1][1] == part:
                return
            self._open.append((module, part, self.macs, self._memory.peak))
            self._memory.peak = self._memory.live

        def after(module: nn.Module, inputs: Any, output: Any) -> None:
            if not self._open or self._open[-1][0] is not module:
                return
            _, _, macs, peak = self._open.pop()
            spent, highest = self.macs - macs, self._memory.peak
            total, most = self.parts.get(part, (0.0, 0))
            self.parts[part] = (total + spent, max(most, highest))
            self._memory.peak = max(peak, highest)

        for hook in (
            module.register_forward_pre_hook(before),
            module.register_forward_hook(after, always_call=True),
        ):
            stack.callback(hook.remove)

    def table(self, n_samples: int) -> dict[str, list[Any]]:
        """Columns of :func:`model_costs`."""
        rows = self._rows()
        macs = [row.macs / n_samples for row in rows]
        return {
            "network": [row.network for row in rows],
            "part": [row.part for row in rows],
            "parameters": [row.parameters for row in rows],
            "macs": macs,
            "flops": [2 * one for one in macs],
            "peak_mb": [row.peak / 1e6 for row in rows],
        }

    def _rows(self) -> list[_Row]:
        sizes = self._sizes_of_parts()
        rows = []
        for (network, part), size in sizes.items():
            macs, peak = self.parts.get((network, part), (0.0, 0))
            if part == _REST:  # so far the whole network
                macs -= sum(
                    m for (n, p), (m, _) in self.parts.items() if n == network and p != part
                )
            if size or macs:
                rows.append(_Row(network, part, size, macs, peak))
        outside = self.macs - sum(row.macs for row in rows)
        rows.append(_Row("", "outside of networks", 0, outside, math.nan))
        rows.append(_Row("", "total", sum(sizes.values()), self.macs, self._memory.peak))
        return rows

    def _sizes_of_parts(self) -> dict[tuple[str, str], int]:
        """Trainable numbers by network and part, what is in no part last."""
        sizes: dict[tuple[str, str], int] = {}
        for network in self.networks:
            name = type(network).__name__
            parts = {part: _n_parameters(child) for part, child in network.named_children()}
            parts[_REST] = _n_parameters(network) - sum(parts.values())
            for part, size in parts.items():
                sizes[name, part] = sizes.get((name, part), 0) + size
        return sizes


def _n_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _attention_flops(q: Any, k: Any, v: Any, *args: Any, **kwargs: Any) -> int:
    return sdpa_flop_count(q, k, v)


def _recurrent_macs(module: Any, x: Any) -> float:
    """Multiply-accumulates of an LSTM, GRU or RNN: its weight matrices, once a timepoint."""
    is_packed = hasattr(x, "batch_sizes")
    n_steps = x.data.shape[0] if is_packed else x.shape[:-1].numel()
    n_weights = sum(p.numel() for name, p in module.named_parameters() if name.startswith("weight"))
    return float(n_steps * n_weights)
