"""Time of a call, and the rate of the matrix products that a step of Maestro cannot do without."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["matmul_rates", "products", "seconds_of"]

Product = tuple[int, int, int, int]


def seconds_of(call: Callable[[], Any]) -> tuple[float, float]:
    """Processor time and time of the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - wall


def products(n_modalities: int, n_tokens: int, batch: int, hidden: int) -> list[Product]:
    """Products ``(b, n, i, o)`` of the layers: b times ``(n, i) @ (i, o)``, all projections.

    Two layers within modalities, each of which halves the tokens, and two across; width 64.
    """
    width, m = 64, n_modalities
    shapes = []
    for b, n in ((m, batch * n_tokens), (m, batch * n_tokens // 2)):
        layer = [(width, 3 * width), (width, width), (width, hidden), (hidden, width)]
        shapes += [(b, n, i, o) for i, o in layer] + [(b, n // 2, 2 * width, width)]
    n = m * batch * n_tokens // 4
    shapes += 2 * [(1, n, i, o) for i, o in ((width, 3 * width), (width, width))]
    shapes += 2 * [(4, n // 4, i, o) for i, o in ((width, hidden), (hidden, width))]
    return shapes


def matmul_rates(shapes: list[Product]) -> Callable[[], tuple[float, float]]:
    """A function that measures MACs a second: of these products, and at 1024 cubed.

    Each product forward and both products of its backward pass, into memory that is there already.
    """
    import torch

    calls: list[Callable[[], Any]] = []
    macs = 0.0
    made = {}
    for b, n, i, o in shapes:
        if (b, n, i, o) not in made:
            x, w, y = torch.randn(b, n, i), torch.randn(b, i, o), torch.randn(b, n, o)
            forward = partial(torch.bmm, x, w, out=torch.empty_like(y))
            to_input = partial(torch.bmm, y, w.transpose(1, 2), out=torch.empty_like(x))
            to_weight = partial(torch.bmm, x.transpose(1, 2), y, out=torch.empty_like(w))
            made[b, n, i, o] = [forward, to_input, to_weight]
        calls += made[b, n, i, o]
        macs += 3.0 * b * n * i * o
    square, out = torch.randn(1024, 1024), torch.empty(1024, 1024)

    def measure() -> tuple[float, float]:
        seconds = sum(seconds_of(call)[0] for call in calls)
        large = min(seconds_of(partial(torch.mm, square, square, out=out))[0] for _ in range(3))
        return macs / seconds, 1024**3 / large

    measure()
    return measure
