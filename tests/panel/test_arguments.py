"""Arguments held against annotations."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike
from typing_extensions import TypeAliasType

from mts_fusion.panel._arguments import check_types


def take(
    seconds: float = 1.0,
    n: int = 1,
    names: Sequence[str] = (),
    given: Mapping[str, int] | None = None,
) -> None:
    """Arguments of the usual kinds."""


@pytest.mark.parametrize(
    "given",
    [
        {"seconds": 2},
        {"seconds": np.float32(0.5), "n": np.int64(3)},
        {"names": ["a"]},
        {"names": ("a",)},
        {"names": np.array(["a"])},
        {"given": {"a": 1}},
        {"given": None},
    ],
)
def test_what_fits_passes(given):
    check_types(take, given)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"seconds": float("nan")}, ValueError, "seconds is a number, got nan"),
        ({"seconds": True}, TypeError, "seconds is a number, got True"),
        ({"n": 1.5}, TypeError, "n is a whole number, got 1.5"),
        ({"names": "abc"}, TypeError, "names is a list of strings, got 'abc'"),
        ({"names": b"abc"}, TypeError, "names is a list"),
        ({"names": {"a": 1}}, TypeError, "names is a list"),
        ({"names": [1]}, TypeError, "names is a list"),
        ({"names": np.array("a")}, TypeError, "names is a list"),
        ({"given": ["a"]}, TypeError, "given is a dict or None"),
    ],
)
def test_what_does_not_is_named(given, error, message):
    with pytest.raises(error, match=message):
        check_types(take, given)


ALIAS = TypeAliasType("ALIAS", ArrayLike)


@pytest.mark.parametrize("array", [ArrayLike, ALIAS, TypeAliasType("AliasOfAlias", ALIAS)])
def test_what_may_be_an_array_is_not_looked_at(array):
    def mean(x, n=1):
        pass

    mean.__annotations__ = {"x": array, "n": int}

    check_types(mean, {"x": [object()], "n": 2})
    with pytest.raises(TypeError, match="n is a whole number"):
        check_types(mean, {"x": [object()], "n": 2.5})
