"""Checks of the callbacks and parameters of skorch that a user adds to the training."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from skorch.callbacks import Callback, Checkpoint, EarlyStopping, LRScheduler

from ._scores import is_scoring

__all__ = [
    "check_callbacks",
    "check_monitors",
    "check_net_params",
    "has_lr_scheduler",
    "is_early_stopping",
]

# Parameters of skorch.NeuralNet that a PanelNet reads and its estimator does not set.
_NET_PARAMS = ("compile", "gradient_clip", "n_threads", "torch_load_kwargs", "verbose")


def _instances(callbacks: Sequence[Any] | None) -> list[Any]:
    """The callbacks themselves, of pairs ``(name, callback)`` too."""
    return [one[1] if isinstance(one, tuple) and len(one) == 2 else one for one in callbacks or []]


def check_callbacks(callbacks: Sequence[Any] | None) -> None:
    """Raise unless all are callbacks of skorch.

    Parameters
    ----------
    callbacks : sequence of skorch.callbacks.Callback, or of (str, Callback), or None
        From the user.

    Raises
    ------
    TypeError
        If one is no instance of a callback.
    """
    for one in _instances(callbacks):
        if not isinstance(one, Callback):
            raise TypeError(
                f"callbacks holds {one!r}; instances of skorch.callbacks.Callback are wanted."
            )


def check_monitors(callbacks: Sequence[Any] | None, *, has_validation: bool) -> None:
    """Raise if a callback monitors or scores held-out samples and there are none.

    Parameters
    ----------
    callbacks : sequence of skorch.callbacks.Callback, or of (str, Callback), or None
        From the user.
    has_validation : bool
        Whether samples are held out.

    Raises
    ------
    ValueError
        Names the callback.
    """
    for one in _instances(callbacks):
        if is_scoring(one) and not one.on_train and not has_validation:
            raise ValueError(
                f"{type(one).__name__} scores held-out samples, but there are none. Set "
                "validation_fraction, give more samples, or set its on_train=True."
            )
        monitor = getattr(one, "monitor", None)
        watches = isinstance(one, (EarlyStopping, Checkpoint, LRScheduler))
        if watches and not has_validation and str(monitor).startswith("valid"):
            raise ValueError(
                f"{type(one).__name__} monitors {monitor!r}, but no samples are held out. Set "
                "validation_fraction, give more samples, or set its monitor to "
                f"{str(monitor).replace('valid', 'train', 1)!r}."
            )


def has_lr_scheduler(callbacks: Sequence[Any] | None) -> bool:
    """Whether a callback sets the learning rate.

    Parameters
    ----------
    callbacks : sequence of skorch.callbacks.Callback, or of (str, Callback), or None
        From the user.

    Returns
    -------
    bool
        True if one is an ``LRScheduler``.
    """
    return any(isinstance(one, LRScheduler) for one in _instances(callbacks))


def is_early_stopping(error: KeyboardInterrupt) -> bool:
    """Whether ``skorch.callbacks.EarlyStopping`` has raised this.

    Parameters
    ----------
    error : KeyboardInterrupt
        What ended a training.

    Returns
    -------
    bool
        False for Ctrl-C.
    """
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    return where is not None and isinstance(where.tb_frame.f_locals.get("self"), EarlyStopping)


def check_net_params(net_params: Mapping[str, Any] | None, optimizer: Any, own: str) -> None:
    """Raise unless each parameter has an effect and is not one of the estimator.

    Parameters
    ----------
    net_params : dict of str to object, or None
        From the user.
    optimizer : callable
        What ``optimizer__*`` are parameters of.
    own : str
        Name of the estimator, for the message.

    Raises
    ------
    ValueError
        Names the parameters.
    """
    names = sorted(str(name) for name in net_params or {})
    unknown = [
        name
        for name in names
        if name not in _NET_PARAMS
        and (not name.startswith("optimizer__") or name == "optimizer__weight_decay")
    ]
    if unknown:
        raise ValueError(
            f"net_params names {unknown}, but takes only {list(_NET_PARAMS)} and optimizer__* but "
            f"its weight_decay. Use the parameters of {own} of these names, if it has them."
        )
    known = inspect.signature(optimizer).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in known.values())
    prefix = "optimizer__"
    others = [n for n in names if n.startswith(prefix) and n.removeprefix(prefix) not in known]
    if others and not takes_all:
        raise ValueError(f"net_params names {others}, which {optimizer.__name__} does not have.")
