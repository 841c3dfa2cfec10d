"""Seeds, threads and devices of torch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["pick_device", "seeded", "threads"]


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
    """Seed the random operations of torch in a block, and leave its global state unchanged.

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
    with _WithGenerator(torch.Generator().manual_seed(seed)):
        yield


_THREADS = threading.Lock()
_before: list[int] = []


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Use ``n`` threads for the operations of torch on the CPU.

    The order of the terms of a sum, and so its last bits, depends on the number of threads.

    Parameters
    ----------
    n : int or None
        Threads of each operation. None does not change the number.

    Notes
    -----
    The number is shared by the whole process: the last thread to leave restores the old one.

    Examples
    --------
    >>> with threads(1):
    ...     torch.get_num_threads()
    1
    """
    if n is None:
        yield
        return
    with _THREADS:
        _before.append(_before[0] if _before else torch.get_num_threads())
        torch.set_num_threads(n)
    try:
        yield
    finally:
        with _THREADS:
            before = _before.pop()
            if not _before:
                torch.set_num_threads(before)


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
    n_devices = torch.cuda.device_count() if requested.type == "cuda" else None
    if requested.type == "mps":
        n_devices = int(torch.backends.mps.is_available())
    if n_devices is not None and (requested.index or 0) >= n_devices:
        raise ValueError(
            f"device={device!r} was requested, but torch finds {n_devices} devices of this type. "
            "Set device='auto' to use an available one."
        )
    return device
