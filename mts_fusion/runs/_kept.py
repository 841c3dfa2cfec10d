"""Results that are kept while one panel is predicted again and again, as an inspection does."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["Kept", "content_key", "keeping", "kept_results"]

# Bytes of all results that are kept; what comes later is computed each time.
_MOST_BYTES = 2**30


class Kept:
    """Results by the object that computed them and a key of what they were computed from.

    Nothing is replaced: what comes first stays, and once a gigabyte is kept nothing is added.
    """

    def __init__(self) -> None:
        self._results: dict[tuple[int, Hashable], tuple[Any, Any]] = {}
        self._ids: set[int] = set()
        self._n_bytes = 0

    def get(self, owner: Any, key: Hashable) -> Any:
        """The result of an object, or None.

        Parameters
        ----------
        owner : object
            Who computed it.
        key : hashable
            From what.

        Returns
        -------
        object or None
            As it was put, not a copy.
        """
        return self._results.get((id(owner), key), (None, None))[0]

    def put(self, owner: Any, key: Hashable, result: Any) -> None:
        """Keep a result, unless too much is kept already.

        Parameters
        ----------
        owner : object
            Who computed it.
        key : hashable
            From what.
        result : array or Tensor
            Not to be changed.
        """
        if self._n_bytes + result.nbytes <= _MOST_BYTES:
            self._n_bytes += result.nbytes
            self._ids.add(id(result))
            self._results[id(owner), key] = result, owner  # which keeps its id

    def holds(self, result: Any) -> bool:
        """Whether a result is kept, this very object.

        Parameters
        ----------
        result : object
            Any.

        Returns
        -------
        bool
            If so, its ``id`` is no other's.
        """
        return id(result) in self._ids


_kept: ContextVar[Kept | None] = ContextVar("mts_fusion_kept", default=None)


@contextmanager
def keeping() -> Iterator[None]:
    """A block, in this thread, in which results are kept; at its end they are dropped.

    Yields
    ------
    None
        While they are.
    """
    token = _kept.set(Kept())
    try:
        yield
    finally:
        _kept.reset(token)


def kept_results() -> Kept | None:
    """What is kept in the block around; None outside of one.

    Returns
    -------
    Kept or None
        Of the innermost block.
    """
    return _kept.get()


def content_key(*arrays: Any) -> bytes:
    """A key that two equal sets of arrays share, and two others practically never.

    Parameters
    ----------
    *arrays : array or None
        Contiguous.

    Returns
    -------
    bytes
        16 of them.
    """
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array is None:
            digest.update(b"none")
        else:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.reshape(-1).view("u1"))
    return digest.digest()
