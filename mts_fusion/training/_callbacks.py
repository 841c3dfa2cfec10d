"""Callbacks of the training loop: schedules, the best and average weights, a stop on NaN."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from skorch.callbacks import Callback
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mts_fusion.nn.layers import ModalityDropout, curriculum_rate
from mts_fusion.runs import advance

__all__ = [
    "BestWeights",
    "CosineSchedule",
    "EpochProgress",
    "ModalityCurriculum",
    "StopOnNaN",
    "WeightAverage",
]


class ModalityCurriculum(Callback):
    """Raise the rate of modality dropout linearly over the epochs, from 0 to that of the module.

    Parameters
    ----------
    n_warmup_epochs : int
        Number of epochs without modality dropout.
    n_epochs : int
        Epoch in which the full rate is reached.
    """

    def __init__(self, n_warmup_epochs: int, n_epochs: int) -> None:
        self.n_warmup_epochs = n_warmup_epochs
        self.n_epochs = n_epochs

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Note the full rates."""
        self.full_ = [
            (layer, float(layer.p))
            for layer in net.module_.modules()
            if isinstance(layer, ModalityDropout)
        ]

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Set the rates of this epoch."""
        epoch = len(net.history) - 1
        for layer, full in self.full_:
            rate = curriculum_rate(
                epoch,
                max_rate=full,
                n_warmup_epochs=self.n_warmup_epochs,
                n_epochs=self.n_epochs,
            )
            layer.p.fill_(rate)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Restore the full rates."""
        for layer, full in self.full_:
            layer.p.fill_(full)


class CosineSchedule(Callback):
    """Set the learning rate of each step: a short linear rise, then half a cosine down to 0.

    Parameters
    ----------
    n_steps : int
        Number of steps of the training.
    warmup_fraction : float, default=0.05
        Fraction of the steps in which the rate rises.
    """

    def __init__(self, n_steps: int, warmup_fraction: float = 0.05) -> None:
        self.n_steps = n_steps
        self.warmup_fraction = warmup_fraction

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Note the full rates."""
        self.step_ = 0
        self.full_ = [group["lr"] for group in net.optimizer_.param_groups]

    def on_batch_begin(self, net: Any, batch: Any = None, training: bool = False, **_: Any) -> None:
        """Set the rate of this step."""
        if not training:
            return
        n_warmup = max(1.0, self.warmup_fraction * self.n_steps)
        progress = min(1.0, (self.step_ - n_warmup) / max(1.0, self.n_steps - n_warmup))
        factor = (
            (self.step_ + 1) / (n_warmup + 1)
            if self.step_ < n_warmup
            else 0.5 * (1 + math.cos(math.pi * progress))
        )
        for group, full in zip(net.optimizer_.param_groups, self.full_, strict=True):
            group["lr"] = full * factor
        self.step_ += 1

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Restore the full rates, for a further training."""
        for group, full in zip(net.optimizer_.param_groups, self.full_, strict=True):
            group["lr"] = full


class BestWeights(Callback):
    """Keep the weights of the epoch with the lowest validation loss; stop early after it.

    Parameters
    ----------
    patience : int or None
        Number of epochs without a lower loss after which training stops. None never stops early.
    """

    # NOTE[DIFF] The weights are copied; the released code of MAESTRO kept a reference to them.

    def __init__(self, patience: int | None) -> None:
        self.patience = patience

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Reset the lowest loss."""
        self.best_loss_ = math.inf
        self.best_epoch_ = 0
        self.weights_: dict[str, torch.Tensor] | None = None

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Copy the weights if the loss is the lowest so far."""
        loss, epoch = net.history[-1, "valid_loss"], len(net.history)
        if loss < self.best_loss_:
            self.best_loss_, self.best_epoch_ = loss, epoch
            self.weights_ = {k: v.clone() for k, v in net.module_.state_dict().items()}
        elif self.patience is not None and epoch - self.best_epoch_ >= self.patience:
            net.stop_training()

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Restore the best weights."""
        if self.weights_ is not None:
            net.module_.load_state_dict(self.weights_)
            self.weights_ = None
            net.has_restored_ = True


class EpochProgress(Callback):
    """Move the bar of the phase ``"network"`` by an epoch, and show the losses behind it."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Advance the bar."""
        row = net.history[-1]
        advance("network", **{k: row[k] for k in ("train_loss", "valid_loss") if k in row})


class StopOnNaN(Callback):
    """Stop when loss or weights are not finite, and restore the weights of the epoch before.

    Warns
    -----
    UserWarning
        With the epoch, and what to change.
    """

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Copy the initial weights."""
        self.weights_ = _copy(net.module_)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Copy finite weights; otherwise restore the last ones and stop."""
        loss = net.history[-1, "train_loss"]
        finite = all(torch.isfinite(p).all() for p in net.module_.parameters())
        if math.isfinite(loss) and finite:
            self.weights_ = _copy(net.module_)
            return
        epoch = len(net.history)
        net.module_.load_state_dict(self.weights_)
        net.has_restored_ = True
        warnings.warn(
            f"The training loss became {loss} in epoch {epoch}; training stopped and the weights "
            f"of epoch {epoch - 1} are kept. Lower lr, or set precision='float32'.",
            UserWarning,
            stacklevel=2,
        )
        net.stop_training()

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Delete the copy."""
        self.weights_ = {}


class WeightAverage(Callback):
    """Average the weights over the steps; validation and prediction use the average.

    An exponential moving average, with a shorter memory in the first steps. It costs one pass over
    the weights a step, and smooths the effect of the last batches.

    Parameters
    ----------
    decay : float, default=0.99
        Weight of the previous average in each step; the memory is about ``1 / (1 - decay)`` steps.

    Notes
    -----
    With validation, the callbacks of ``on_epoch_end`` read and keep averages.
    """

    def __init__(self, decay: float = 0.99) -> None:
        self.decay = decay

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Start from the initial weights."""
        self.step_ = 0
        self.average_ = _floats(net.module_)
        self.current_: list[torch.Tensor] | None = None

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Swap in the average before the first batch of validation."""
        if not training and self.current_ is None:
            self.current_ = _floats(net.module_)
            _set(net.module_, self.average_)

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        """Update the average after a step."""
        if training:
            self.step_ += 1
            decay = min(self.decay, self.step_ / (self.step_ + 10))
            update = get_ema_multi_avg_fn(decay)
            update(self.average_, list(net.module_.parameters()), self.step_)

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Restore the current weights; until then, callbacks read those that were validated."""
        if self.current_ is not None:
            _set(net.module_, self.current_)
            self.current_ = None

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Set the average, unless the weights of the best epoch or before a NaN were restored."""
        if not net.has_restored_:
            _set(net.module_, self.average_)
        self.average_, self.current_ = [], None


def _floats(module: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def _set(module: torch.nn.Module, weights: list[torch.Tensor]) -> None:
    with torch.no_grad():
        torch._foreach_copy_(list(module.parameters()), weights)


def _copy(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}
