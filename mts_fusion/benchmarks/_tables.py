"""Which tables there are, their settings, and how rows become the text of a table."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ._cells import run_information

__all__ = [
    "TABLES",
    "Settings",
    "Table",
    "failures",
    "load",
    "markdown",
    "mean_and_spread",
    "median_and_range",
    "page",
    "summarise",
]

Row = dict[str, Any]

# Table -> file of this package that has it as `TABLE`. To add one, write the file and its line.
TABLES: dict[str, str] = {
    "dsads": "_dsads",
    "patterns": "_patterns",
    "pattern-speed": "_pattern_speed",
    "comparison": "_comparison",
    "maestro": "_maestro",
    "ablation": "_ablation",
    "fusion": "_fusion",
    "pamap2": "_pamap2",
    "trace-synthetic": "_trace_synthetic",
    "trace-ablation": "_trace_ablation",
    "trace-representation": "_trace_representation",
    "clinical": "_clinical",
    "physionet2012-imputation": "_physionet2012_imputation",
    "engines-imputation": "_engines_imputation",
    "physionet2012-mortality": "_physionet2012_mortality",
    "imputation-speed": "_imputation_speed",
    "speed": "_speed",
    "features": "_features",
    "inspection": "_inspection",
}


@dataclass(frozen=True)
class Settings:
    """What the command line says.

    Parameters
    ----------
    data_home : path or None
        Folder of the data sets.
    out : Path or None
        Folder that keeps the cells.
    quick : bool
        Whether the run is shortened; the table then says so.
    seeds : tuple of int
        Seeds of methods and masks.
    methods : list of str or None
        Names of the rows; None for those of the table.
    isolate : bool
        Whether each cell gets a process of its own.
    options : dict
        What the table itself asks.
    """

    data_home: str | None = None
    out: Path | None = None
    quick: bool = False
    seeds: tuple[int, ...] = (0,)
    methods: list[str] | None = None
    isolate: bool = True
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table.

    Parameters
    ----------
    summary : str
        One line for ``--help``.
    run : callable
        ``run(settings)`` computes the cells and gives the text of the table.
    seeds : tuple of int, default=(0, 1, 2)
        Seeds if the command line names none; a shortened run takes the first.
    arguments : callable or None, default=None
        ``arguments(parser)`` adds what only this table asks; arrives in ``settings.options``.
    """

    summary: str
    run: Callable[[Settings], str]
    seeds: tuple[int, ...] = (0, 1, 2)
    arguments: Callable[[argparse.ArgumentParser], None] | None = None


def load(name: str) -> Table:
    """The table of that name.

    Parameters
    ----------
    name : str
        A key of ``TABLES``.

    Returns
    -------
    Table
        Of its file.
    """
    table: Table = import_module(f"{__package__}.{TABLES[name]}").TABLE
    return table


def page(parts: Sequence[str]) -> str:
    """Paragraphs and tables one under another, and what they were made with at the end.

    Parameters
    ----------
    parts : sequence of str
        Paragraphs and tables.

    Returns
    -------
    str
        Markdown; the last line has commit, machine and versions.
    """
    made_with = ", ".join(f"{key} {value}" for key, value in run_information().items())
    return "\n\n".join([*parts, made_with])


def failures(rows: Sequence[Row]) -> list[str]:
    """What the text of a table says of cells that failed.

    Parameters
    ----------
    rows : sequence of dict
        Of :func:`run_cells`; a failed cell has one with ``error``.

    Returns
    -------
    list of str
        One line, or none.
    """
    n_failed = sum("error" in row for row in rows)
    if not n_failed:
        return []
    return [f"INCOMPLETE: {n_failed} cells failed; see standard error."]


def summarise(rows: Sequence[Row], by: Sequence[str], column: str) -> dict[tuple[Any, ...], Row]:
    """Mean and spread of a column, for each combination of other columns.

    Parameters
    ----------
    rows : sequence of dict
        Rows with ``fold`` and ``seed``.
    by : sequence of str
        Columns that identify the entries of the table.
    column : str
        Numbers; rows that lack it or have None are left out.

    Returns
    -------
    dict of tuple to dict
        ``mean``: mean over folds of the mean over seeds; ``folds``: standard deviation over folds
        of that mean; ``seeds``: mean over folds of the standard deviation over seeds, each NaN
        where there is only one; ``n``.
    """
    entries: dict[tuple[Any, ...], dict[Any, list[float]]] = {}
    for row in rows:
        if row.get(column) is not None:
            of_entry = entries.setdefault(tuple(row[b] for b in by), {})
            of_entry.setdefault(row.get("fold"), []).append(row[column])
    return {
        entry: {
            "mean": float(np.mean([np.mean(x) for x in of_folds.values()])),
            "folds": _sd([float(np.mean(x)) for x in of_folds.values()]),
            "seeds": float(np.mean([_sd(x) for x in of_folds.values()])),  # NaN if one has one
            "n": sum(len(x) for x in of_folds.values()),
        }
        for entry, of_folds in entries.items()
    }


def _sd(numbers: Sequence[float]) -> float:
    return float(np.std(numbers, ddof=1)) if len(numbers) > 1 else float("nan")


def median_and_range(numbers: Sequence[float], digits: int) -> str:
    """Text of repeats of one measurement.

    Parameters
    ----------
    numbers : sequence of float
        At least one.
    digits : int
        Digits behind the point.

    Returns
    -------
    str
        Median, then in brackets the least and the most.

    Examples
    --------
    >>> median_and_range([1.0, 4.0, 2.25], 1)
    '2.2 (1.0-4.0)'
    """
    least, middle, most = (
        f"{x:.{digits}f}" for x in (min(numbers), statistics.median(numbers), max(numbers))
    )
    return f"{middle} ({least}-{most})"


def mean_and_spread(entry: Row | None, digits: int = 3) -> str:
    """Text of one entry of :func:`summarise`.

    Parameters
    ----------
    entry : dict or None
        Mean and spreads; None where there is none.
    digits : int, default=3
        Digits behind the point.

    Returns
    -------
    str
        Mean, then in brackets the standard deviation over folds and over seeds, ``-`` where there
        is only one.

    Examples
    --------
    >>> mean_and_spread({"mean": 0.9301, "folds": 0.0361, "seeds": 0.002, "n": 6})
    '.930 (.036, .002)'
    >>> mean_and_spread(None)
    '-'
    """
    if entry is None:
        return "-"
    mean, folds, seeds = (_number(entry[key], digits) for key in ("mean", "folds", "seeds"))
    return mean if entry["n"] == 1 else f"{mean} ({folds}, {seeds})"


def _number(number: float, digits: int) -> str:
    if np.isnan(number):
        return "-"
    text = f"{number:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown.

    Parameters
    ----------
    header : sequence of str
        Names of the columns.
    lines : sequence of sequence of str
        As many entries each.

    Returns
    -------
    str
        Padded so that it is a table in a terminal too.

    Examples
    --------
    >>> print(markdown(["method", "F1"], [["trees", ".93"]]))
    | method | F1  |
    | ------ | --- |
    | trees  | .93 |
    """
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    texts = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in [header, ["-" * width for width in widths], *lines]
    ]
    return "\n".join(texts)
