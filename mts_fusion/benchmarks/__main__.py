"""``python -m mts_fusion.benchmarks <table> --data-home PATH [--quick] [--out DIR]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ._tables import TABLES, Settings, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute one table and print it.

    Parameters
    ----------
    arguments : sequence of str or None, default=None
        The command line; None for that of the process.

    Returns
    -------
    int
        0, or 2 if data or an argument are not right.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mts_fusion.benchmarks", description="The tables of docs/benchmarks/."
    )
    subparsers = parser.add_subparsers(dest="table", required=True, metavar="TABLE")
    common = {"data_home", "out", "quick", "seeds", "methods", "in_process", "table"}
    for name in TABLES:
        table = load(name)
        sub = subparsers.add_parser(name, help=table.summary, description=table.summary)
        sub.add_argument("--data-home", help="folder of the data sets; default: MTS_FUSION_DATA")
        sub.add_argument(
            "--out", type=Path, help="folder that keeps the cells, so that a run can be resumed"
        )
        sub.add_argument(
            "--quick", action="store_true", help="shortened: shows that it runs, not what it gives"
        )
        sub.add_argument("--seeds", type=int, nargs="+", help=f"default: {list(table.seeds)}")
        sub.add_argument("--methods", nargs="+", help="rows to compute; default: all of the table")
        sub.add_argument(
            "--in-process", action="store_true", help="no process per cell, for debugging"
        )
        if table.arguments is not None:
            table.arguments(sub)
    given = parser.parse_args(arguments)
    table = load(given.table)
    settings = Settings(
        data_home=given.data_home,
        out=given.out,
        quick=given.quick,
        seeds=tuple(given.seeds or (table.seeds[:1] if given.quick else table.seeds)),
        methods=given.methods,
        isolate=not given.in_process,
        options={key: value for key, value in vars(given).items() if key not in common},
    )
    try:
        text = table.run(settings)
    except (FileNotFoundError, ImportError, ValueError) as error:
        sys.stderr.write(f"{parser.prog} {given.table}: {error}\n")
        return 2
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
