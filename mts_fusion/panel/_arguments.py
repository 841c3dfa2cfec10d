"""Arguments held against the annotations of their function, so that errors name them."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from inspect import unwrap
from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np

__all__ = ["as_floats", "check_at_least", "check_seed", "check_types"]

_NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}
_NAMES: dict[Any, str] = {
    **_NUMBERS,
    bool: "True or False",
    str: "a string",
    type(None): "None",
    Mapping: "a dict",
    dict: "a dict",
    PathLike: "a path",
    Callable: "a function",
}


def check_types(function: Any, given: Mapping[str, Any], of: str = "") -> None:
    """Raise unless arguments are what the annotations of a function say.

    Parameters
    ----------
    function : function or dataclass
        Annotated. What may be an array, or anything, is not looked at.
    given : dict of str to object
        Its arguments; other entries, as ``locals()`` has them, are left alone.
    of : str, default=""
        What has the arguments, for the message.

    Raises
    ------
    TypeError
        Names the argument, what is wanted and what came. A truth value is no number.
    ValueError
        If a number is NaN.

    Examples
    --------
    >>> def wait(seconds: float | None = None) -> None:
    ...     check_types(wait, locals())
    >>> wait("long")
    Traceback (most recent call last):
    TypeError: seconds is a number or None, got 'long'.
    """
    for name, hint in _hints(function).items():
        if name not in given or _fits(given[name], hint):
            continue
        value = given[name]
        error = f"{name}{of} is {_described(hint)}, got {_shown(value)}."
        is_nan = isinstance(value, float) and value != value
        raise ValueError(error) if is_nan else TypeError(error)


def as_floats(name: str, given: Any) -> np.ndarray:
    """An argument as an array of float64.

    Parameters
    ----------
    name : str
        Of the argument.
    given : array-like
        Numbers.

    Returns
    -------
    array
        Of any shape.

    Raises
    ------
    TypeError
        If it holds anything else.
    """
    try:
        array = np.asarray(given)
        if array.dtype.kind in "fiub":
            return array.astype(np.float64, copy=False)
        if array.dtype.kind == "O":
            return array.astype(np.float64)
    except (TypeError, ValueError):
        pass
    raise TypeError(f"{name} is an array of numbers, got {_shown(given)}.")


def check_at_least(low: float, **numbers: float) -> None:
    """Raise unless each number is finite and not below a bound.

    Parameters
    ----------
    low : float
        The lowest that is allowed.
    **numbers : float
        By the name of the argument.

    Raises
    ------
    ValueError
        Names the argument.
    """
    for name, value in numbers.items():
        if not low <= value < np.inf:
            wanted = "finite" if value > low else f"at least {low}"
            raise ValueError(f"{name} is {wanted}, got {value!r}.")


def check_seed(random_state: Any) -> np.random.RandomState:
    """A generator of random numbers, as scikit-learn makes it of ``random_state``.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        None for the global generator of numpy.

    Returns
    -------
    RandomState
        The generator.

    Raises
    ------
    ValueError
        If it is something else.
    """
    from sklearn.utils import check_random_state

    try:
        if isinstance(random_state, bool):
            raise TypeError
        return check_random_state(random_state)
    except (ValueError, TypeError):
        raise ValueError(
            "random_state is a whole number in [0, 2**32 - 1], a RandomState or None, got "
            f"{_shown(random_state)}."
        ) from None


@cache
def _hints(function: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(unwrap(function))
    return {name: hint for name, hint in hints.items() if name != "return" and _is_plain(hint)}


def _is_plain(hint: Any) -> bool:
    """Whether it is neither an array nor anything at all."""
    while hasattr(hint, "__value__"):  # numpy's ArrayLike is an alias from Python 3.12 on
        hint = hint.__value__
    origin = typing.get_origin(hint) or hint
    if origin in (typing.Union, types.UnionType):
        return all(_is_plain(option) for option in typing.get_args(hint))
    is_array = origin is np.ndarray or getattr(origin, "_is_protocol", False)  # as in ArrayLike
    return not (origin is Any or origin is object or is_array)


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in inner)
    if origin is typing.Literal:  # which names there are is said where they are looked up
        return isinstance(value, str)
    if origin is bool:
        return isinstance(value, (bool, np.bool_))
    if origin in _NUMBERS:
        kind = Integral if origin is int else Real
        return isinstance(value, kind) and not isinstance(value, bool) and value == value
    if _is_list(origin):
        is_fixed = origin is not tuple or isinstance(value, (tuple, list))
        return is_fixed and _holds(value, inner[0] if inner else Any)
    return isinstance(value, origin)


def _is_list(origin: Any) -> bool:
    return (
        isinstance(origin, type)
        and issubclass(origin, Collection)
        and not issubclass(origin, (str, Mapping))
        and origin.__module__ in ("builtins", "collections.abc")
    )


def _holds(values: Any, hint: Any) -> bool:
    """Whether it is a list, or what is like one, of such entries."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        return False
    if not hasattr(values, "__len__") or getattr(values, "ndim", 1) == 0:
        return False
    return not _is_plain(hint) or all(_fits(value, hint) for value in values)


def _described(hint: Any) -> str:
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_described(option) for option in inner)
    if origin is typing.Literal:
        return " or ".join(map(repr, inner))
    if _is_list(origin):
        entry = inner[0] if inner else Any
        of = _described(entry) if _is_plain(entry) else "entries"
        return f"a list of {of.removeprefix('a ')}s"
    return _NAMES.get(origin, f"of type {getattr(origin, '__name__', origin)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:60]}... of type {type(value).__name__}"
