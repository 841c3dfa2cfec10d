"""Tables of numbers as text, parsed in one step."""

from __future__ import annotations

import re
import warnings

import numpy as np
from numpy.typing import NDArray

__all__ = ["numbers"]


def numbers(
    text: bytes, n_columns: int, what: str, *, first_line: int | None = None
) -> NDArray[np.float64]:
    """Table of numbers of shape ``(rows, n_columns)``, parsed in one step.

    Parameters
    ----------
    text : bytes
        Rows of numbers divided by commas or blanks; ``NaN`` and, between commas, nothing are NaN.
    n_columns : int
        Columns of the table.
    what : str
        Name of the file, for the message.
    first_line : int or None, default=None
        Line of the file in which the text begins. If given, every row is counted, not only the
        first and all together, and the message names the line that is damaged.

    Returns
    -------
    ndarray of shape (rows, n_columns)
        The numbers.

    Raises
    ------
    ValueError
        If there is something else than numbers, or another number of columns.

    Examples
    --------
    >>> numbers(b"1,2\\n,NaN\\n", 2, "a.csv")
    array([[ 1.,  2.],
           [nan, nan]])
    """
    rows = text.strip()
    if re.search(rb"\n[ \t\r]*\n", rows):  # blank lines
        rows = b"\n".join(row for line in rows.split(b"\n") if (row := line.strip()))
    if b",," in rows or b",\n" in rows or b"\n," in rows:  # empty fields, which have no number
        rows = re.sub(rb"(?m)(?<=,)(?=[,\r\n]|\Z)|^(?=,)", b"NaN", rows)
    n_rows = rows.count(b"\n") + bool(rows)
    rows = rows.replace(b",", b" ")
    first = rows.split(b"\n", 1)[0].split()
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            # numpy warns, and later raises, where it meets something that is no number
            table = np.fromstring(rows.decode("ascii", "replace"), sep=" ")
        except (ValueError, DeprecationWarning):
            table = np.empty(0)
    whole = len(first) == n_columns and table.size == n_rows * n_columns
    if first_line is not None and not (whole and (_fields(rows) == n_columns).all()):
        _name_the_damaged_line(text, n_columns, what, first_line)
    if not whole:
        raise ValueError(
            f"{what} has {len(first)} columns in its first and {table.size} numbers in {n_rows} "
            f"rows; {n_columns} numbers a row are wanted. The file may be damaged."
        )
    return table.reshape(n_rows, n_columns)


def _fields(rows: bytes) -> NDArray[np.intp]:
    """Fields of each row of a text in which blanks divide them."""
    signs = np.frombuffer(rows, dtype=np.uint8)
    is_text = signs > ord(" ")
    begins = is_text & ~np.concatenate([[False], is_text[:-1]])
    ends = np.flatnonzero(signs == ord("\n"))
    return np.diff(np.cumsum(begins)[ends], prepend=0, append=int(begins.sum()))


def _name_the_damaged_line(text: bytes, n_columns: int, what: str, first_line: int) -> None:
    for line, row in enumerate(text.splitlines(), start=first_line):
        fields = row.split(b",") if b"," in row else row.split()
        if row.strip() and len(fields) != n_columns:
            raise ValueError(
                f"{what}, line {line}: {n_columns} numbers are wanted, got {len(fields)}. The file "
                "may be damaged."
            )
        for field in fields:
            try:
                float(field.strip().replace(b"_", b"?") or b"nan")  # float takes 1_000
            except ValueError:
                raise ValueError(
                    f"{what}, line {line}: {n_columns} numbers are wanted, got "
                    f"{field.decode('utf-8', 'replace')!r}. The file may be damaged."
                ) from None
