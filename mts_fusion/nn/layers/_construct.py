"""What constructors have in common: options by name, and a width that heads can share."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

__all__ = ["check_heads", "construct"]


def construct(cls: Any, *args: Any, options: Mapping[str, Any], **kwargs: Any) -> Any:
    """Build an object with those options that its constructor names.

    Classes of one registry need different options: an LSTM has no attention heads. Each names what
    it uses, and the network that builds them hands all of its options to every one.

    Parameters
    ----------
    cls : type
        A class.
    *args : object
        Positional arguments, which every class takes.
    options : dict of str to object
        Keyword arguments; those that the constructor does not name are left out.
    **kwargs : object
        More keyword arguments, none of which is left out.

    Returns
    -------
    object
        An instance of ``cls``.

    Examples
    --------
    >>> import torch
    >>> construct(torch.nn.Linear, 3, 2, options={"bias": False, "n_heads": 4})
    Linear(in_features=3, out_features=2, bias=False)
    """
    named = inspect.signature(cls).parameters
    chosen = {name: value for name, value in options.items() if name in named}
    return cls(*args, **(chosen | kwargs))


def check_heads(d_model: int, n_heads: int, *, name: str = "d_model") -> None:
    """Raise unless a width can be split evenly between the heads of an attention.

    Parameters
    ----------
    d_model : int
        The width.
    n_heads : int
        Heads.
    name : str, default="d_model"
        Name of the width in the message.

    Raises
    ------
    ValueError
        If there is no head, or the width is not a multiple of their number.
    """
    if n_heads < 1 or d_model % n_heads:
        raise ValueError(
            f"{name} is a multiple of n_heads, got {name}={d_model} and n_heads={n_heads}."
        )
