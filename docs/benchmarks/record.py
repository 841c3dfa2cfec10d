"""Write figures of a run into a CSV file beside this file, and the pages made of it.

    python docs/benchmarks/record.py CELLS.jsonl trace.csv --dataset "japanese_vowels, draws" \\
        --commit 4f19ea9 --metrics macro_f1 coverage=coverage_90

CELLS.jsonl is what a command of ``mts_fusion.benchmarks`` keeps in the folder of ``--out``. Rows
there were for this data set, methods, shares and metrics are replaced; others stay.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from pathlib import Path
from typing import Any

from tables import COLUMNS, HERE, main, read

from mts_fusion.benchmarks._tables import summarise


def rows_of(path: str) -> list[dict[str, Any]]:
    """Rows of a file of cells, with what their cells say."""
    with Path(path).open() as file:
        cells = [json.loads(line) for line in file]
    return [{**cell["cell"], **row} for cell in cells for row in cell["rows"]]


def entries(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> list[dict[str, str]]:
    """Lines of the CSV file."""
    names = dict(pair.split("=", 1) for pair in arguments.rename)
    n_folds = {m: len({r["fold"] for r in rows if r["method"] == m}) for m in names_of(rows)}
    found = []
    for metric in arguments.metrics:
        column, label = (metric.split("=") * 2)[:2]
        for (method, key), entry in summarise(rows, ["method", arguments.by], column).items():
            share = f"{key:g}" if arguments.by == "fraction" else ""
            found.append(
                {
                    "dataset": arguments.dataset,
                    "method": names.get(method, method),
                    "share_missing": share,
                    "metric": label if arguments.by == "fraction" else key,
                    "mean": f"{entry['mean']:.{arguments.digits}f}",
                    "sd": text(entry["folds"], arguments.digits),
                    "folds": str(n_folds[method]),
                    "commit": arguments.commit,
                }
            )
    order = list(names_of(rows))
    return sorted(found, key=lambda row: [names.get(m, m) for m in order].index(row["method"]))


def names_of(rows: list[dict[str, Any]]) -> dict[str, None]:
    """The methods, in order."""
    return dict.fromkeys(row["method"] for row in rows)


def text(number: float, digits: int) -> str:
    """A number, or nothing for NaN."""
    return "" if math.isnan(number) else f"{number:.{digits}f}"


def record() -> None:
    """Read the arguments, the cells and the CSV file, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", help="file of cells")
    parser.add_argument("file", help="name of a CSV file beside this file")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--commit", required=True, help="at which the cells were computed")
    parser.add_argument("--metrics", nargs="+", required=True, help="column, or column=its name")
    parser.add_argument("--methods", nargs="+", help="default: all")
    parser.add_argument("--rename", nargs="+", default=[], help="method=its name in the table")
    parser.add_argument("--by", default="fraction", help="column of the shares, or of the metrics")
    parser.add_argument("--folds", nargs="+", help="default: all")
    parser.add_argument("--digits", type=int, default=3)
    arguments = parser.parse_args()
    rows = [
        row
        for row in rows_of(arguments.cells)
        if arguments.by in row
        and (not arguments.methods or row["method"] in arguments.methods)
        and (not arguments.folds or str(row["fold"]) in arguments.folds)
    ]
    new = {key(row): row for row in entries(rows, arguments)}
    lines = [new.pop(key(row), row) for row in read(arguments.file)]
    with (HERE / arguments.file).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*lines, *new.values()])
    main()


def key(row: dict[str, str]) -> tuple[str, ...]:
    """What a line is about."""
    return tuple(row[column] for column in COLUMNS[:4])


if __name__ == "__main__":
    record()
