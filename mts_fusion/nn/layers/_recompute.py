"""Parts of a network that are computed again for the gradient, so that they need less memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["MANY_MODALITIES", "recompute"]

MANY_MODALITIES = 8
"""With more modalities than that, what all pairs of them need is not kept for the gradient."""


def recompute(module: nn.Module, function: Callable[[], Tensor]) -> Tensor:
    """What a function gives; in training nothing of its inside is kept for the gradient.

    Parameters
    ----------
    module : Module
        Has the parts that the function calls. Those that draw numbers from a generator of their
        own draw the same ones again.
    function : callable
        Without arguments.

    Returns
    -------
    Tensor
        With the gradient that it has without this.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> recompute(layer, lambda: layer(torch.ones(3, 2))).sum().backward()
    >>> layer.weight.grad
    tensor([[3., 3.]])
    """
    if not torch.is_grad_enabled():
        return function()
    generators = {
        id(g): g for part in module.modules() if (g := getattr(part, "generator", None)) is not None
    }

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), _replay(list(generators.values()))

    return checkpoint(function, use_reentrant=False, context_fn=contexts)


def _replay(generators: Sequence[torch.Generator]) -> AbstractContextManager:
    """A block in which generators draw what they draw next, and then go on as if it never was."""
    then = [g.get_state() for g in generators]

    @contextmanager
    def block() -> Iterator[None]:
        now = [g.get_state() for g in generators]
        for generator, state in zip(generators, then, strict=True):
            generator.set_state(state)
        try:
            yield
        finally:
            for generator, state in zip(generators, now, strict=True):
                generator.set_state(state)

    return block()
