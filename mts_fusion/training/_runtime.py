"""Seeds, threads and devices of what torch computes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["pick_device", "seeded", "threads"]


class _Draws(TorchDispatchMode):
    """Hands a generator to every operation of this thread that draws without one."""

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
    """Draw the first weights of a network from a seed, leaving torch's global state as it was.

    Parameters
    ----------
    seed : int
        Seed of what this thread draws inside; what others draw meanwhile does not matter.

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
    with _Draws(torch.Generator().manual_seed(seed)):
        yield


_THREADS = threading.Lock()
_before: list[int] = []


@contextmanager
def threads(n: int | None) -> Iterator[None]:
    """Let torch compute with ``n`` threads on the CPU.

    The order of a sum, and with it the last bits, depends on the number of threads.

    Parameters
    ----------
    n : int or None
        Threads of each operation. None leaves the number alone.

    Notes
    -----
    The number is one for the whole process: the last thread to leave puts the old one back.

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
    """``"auto"`` as the accelerator if there is one, else the CPU; other names as they are.

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
        If torch does not know it, or finds none.

    Examples
    --------
    >>> pick_device("cpu")
    'cpu'
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is no device of torch. Give 'auto', 'cpu', 'cuda', 'cuda:1' or "
            "'mps'."
        ) from error
    found = torch.cuda.device_count() if asked.type == "cuda" else None
    if asked.type == "mps":
        found = int(torch.backends.mps.is_available())
    if found is not None and (asked.index or 0) >= found:
        raise ValueError(
            f"device={device!r} was asked for, but torch finds {found} of this kind. Set "
            "device='auto' to take what is there."
        )
    return device
