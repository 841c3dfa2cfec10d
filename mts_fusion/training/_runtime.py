"""Seeds, threads and devices of torch."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["available_device", "isolated", "pick_device", "seeded"]


class _WithGenerator(TorchDispatchMode):
    """Pass a generator to each random operation of this thread that has none."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        packet, name = func.overloadpacket, func._overloadname
        seeded_name = "generator" if name == "default" else f"{name}_generator"
        if seeded_name in packet.overloads():  # rand, randn, randperm, randint
            func = getattr(packet, seeded_name)
        if any(argument.name == "generator" for argument in func._schema.arguments):
            kwargs["generator"] = kwargs.get("generator") or self.generator
        return func(*args, **kwargs)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the random operations of torch in an isolated block.

    Parameters
    ----------
    seed : int
        Seed of the operations of this thread; other threads have no effect on them.

    Examples
    --------
    >>> from torch import nn
    >>> with seeded(0):
    ...     a = nn.Linear(2, 2)
    >>> with seeded(0):
    ...     b = nn.Linear(2, 2)
    >>> torch.equal(a.weight, b.weight)
    True
    """
    with isolated(None, grad=True), _WithGenerator(torch.Generator().manual_seed(seed)):
        yield


class _Own(threading.local):
    """By how many blocks this thread is held at the moment."""

    n_blocks = 0


class _Shared:
    """What is one for the whole process, and by how many blocks it is held at the moment."""

    def __init__(self) -> None:
        self.after_fork()
        self.is_forked = False

    def after_fork(self) -> None:
        """Forget the blocks of threads that do not exist in a child process."""
        self.lock = threading.Lock()
        self.n_blocks = 0
        self.n_threads = 1
        self.dtype = torch.float32
        # OpenMP of GNU waits for ever for the threads of the parent, unless there is only one.
        self.is_forked = True


_own = _Own()
_shared = _Shared()
os.register_at_fork(after_in_child=_shared.after_fork)


@contextmanager
def isolated(
    n_threads: int | None, *, grad: bool = False, device: str | None = None
) -> Iterator[None]:
    """Run torch with ``n_threads`` threads, and with the defaults of torch for everything else.

    The order of the terms of a sum, and so its last bits, depends on the number of threads. The
    user's default type and device, autocast and gradient mode have no effect in the block, and are
    as before after it.

    Parameters
    ----------
    n_threads : int or None
        Threads of each operation on the CPU. None does not change the number, except to 1 in a
        process that was forked, in which several threads may wait for ever.
    grad : bool, default=False
        Whether gradients are recorded, as in training; False is inference mode.
    device : str or None, default=None
        Where tensors are made that name no device. None is the CPU, or the device of the outer
        block.

    Notes
    -----
    torch has a number of threads for each thread that calls it, and one for those to come. The
    default type is of the whole process: the last block to end restores it.

    Examples
    --------
    >>> with isolated(1):
    ...     torch.get_num_threads()
    1
    """
    if n_threads is None and _shared.is_forked:
        n_threads = 1
    with _shared.lock:
        before = torch.get_num_threads()
        if _shared.n_blocks == 0:
            _shared.n_threads, _shared.dtype = before, torch.get_default_dtype()
            torch.set_default_dtype(torch.float32)
        elif before == n_threads and not _own.n_blocks:
            before = _shared.n_threads  # a new thread begins with the number of another's block
        _shared.n_blocks += 1
    _own.n_blocks += 1
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    try:
        with _modes(device), torch.inference_mode(not grad), torch.set_grad_enabled(grad):
            yield
    finally:
        if n_threads is not None:
            torch.set_num_threads(before)
        _own.n_blocks -= 1
        with _shared.lock:
            _shared.n_blocks -= 1
            if _shared.n_blocks == 0:
                torch.set_default_dtype(_shared.dtype)


@contextmanager
def _modes(device: str | None) -> Iterator[None]:
    """Turn off autocast in the outermost block of this thread, and set the default device."""
    with ExitStack() as stack:
        if _own.n_blocks == 1:
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            device = device or "cpu"
        if device is not None and torch.get_default_device() != torch.device(device):
            stack.enter_context(torch.device(device))
        yield


def available_device(device: str) -> str:
    """The device on which something was trained, or the CPU if torch does not find it here.

    Parameters
    ----------
    device : str
        A device of torch.

    Returns
    -------
    str
        A device of torch.

    Examples
    --------
    >>> available_device("cpu")
    'cpu'
    """
    try:
        return pick_device(device)
    except ValueError:
        return "cpu"


def pick_device(device: str) -> str:
    """Resolve ``"auto"`` to the GPU if torch finds one, else to the CPU; check other names.

    Parameters
    ----------
    device : str
        ``"auto"``, or a device of torch.

    Returns
    -------
    str
        A device of torch.

    Raises
    ------
    ValueError
        If torch does not know the device, or does not find it.

    Examples
    --------
    >>> pick_device("cpu")
    'cpu'
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        requested = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is no device of torch. Give 'auto', 'cpu', 'cuda', 'cuda:1' or "
            "'mps'."
        ) from error
    if requested.type == "meta":
        raise ValueError("device='meta' holds no numbers. Give 'auto', 'cpu', 'cuda' or 'mps'.")
    n_devices = torch.cuda.device_count() if requested.type == "cuda" else None
    if requested.type == "mps":
        n_devices = int(torch.backends.mps.is_available())
    if n_devices is not None and (requested.index or 0) >= n_devices:
        raise ValueError(
            f"device={device!r} was requested, but torch finds {n_devices} devices of this type. "
            "Set device='auto' to use an available one."
        )
    return device
