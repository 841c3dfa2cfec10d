"""A table is many cells: each is computed once, in a process of its own, and kept."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

__all__ = ["run_cells", "run_information"]

Cell = dict[str, Any]
Row = dict[str, Any]


def run_cells(
    cells: Sequence[Cell],
    work: Callable[[Cell], list[Row]],
    *,
    table: str,
    out: Path | None = None,
    isolate: bool = True,
) -> list[Row]:
    """Rows of all cells; those that are already in ``out`` are not computed again.

    Parameters
    ----------
    cells : sequence of dict
        What tells a cell from the others: data set, method, fold, seed, and every option that
        changes its numbers. Values that JSON can hold.
    work : callable
        ``work(cell)`` gives the rows of a cell.
    table : str
        Name of the table and of its files.
    out : Path or None, default=None
        Folder for ``<table>.jsonl``, a line a cell, written as soon as the cell is done, and
        ``<table>.csv``, a line a row. None keeps nothing. Lines that cannot be written, as on a
        full disk, are written with a later cell; damaged lines are reported and left.
    isolate : bool, default=True
        Whether each cell runs in a forked process, so that its peak memory is its own and the
        death of one is not that of all. Without effect where there is no fork.

    Returns
    -------
    list of dict
        Each row with the entries of its cell. A cell that failed has one row with ``error``; it is
        reported on standard error, not kept in ``<table>.jsonl``, and tried again next time.
    """
    kept = out / f"{table}.jsonl" if out is not None else None
    done = _read(kept)
    unwritten: list[str] = []
    rows: list[Row] = []
    information = run_information()
    for i, cell in enumerate(cells):
        key = json.dumps(cell, sort_keys=True)
        name = " ".join(str(value) for value in cell.values())
        if key not in done:
            start = time.perf_counter()
            _say(f"{table} {i + 1}/{len(cells)}: {name} ...")
            try:
                done[key] = _in_a_fork(work, cell) if isolate else work(cell)
            except Exception as error:  # a cell that fails is no reason to lose the others
                _say(f"{table} {i + 1}/{len(cells)}: {name} failed\n{error}")
                rows.append({**cell, "error": str(error).strip().splitlines()[-1]})
                continue
            _say(f"{table} {i + 1}/{len(cells)}: {name}: {time.perf_counter() - start:.0f} s")
            if kept is not None:
                line = json.dumps({"cell": cell, "rows": done[key], **information})
                unwritten = _append(kept, [*unwritten, line])
        rows += [{**cell, **row} for row in done[key]]
    if out is not None and rows:
        try:
            out.mkdir(parents=True, exist_ok=True)
            _write_csv(out / f"{table}.csv", rows)
        except OSError as error:
            _say(f"{out / table}.csv could not be written ({error}). Run it again to write it.")
    return rows


def _say(message: str) -> None:
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def _read(path: Path | None) -> dict[str, list[Row]]:
    """Rows by cell. Damaged lines are reported by number; one cut short at the end is removed."""
    if path is None or not path.exists():
        return {}
    done = {}
    lines = path.read_bytes().split(b"\n")
    last = lines.pop()  # empty, unless a kill cut it short
    for number, line in enumerate(lines, start=1):
        try:
            kept = json.loads(line)
            done[json.dumps(kept["cell"], sort_keys=True)] = [{**row} for row in kept["rows"]]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            reason = type(error).__name__
            _say(f"{path}, line {number} is damaged ({reason}), its cell is computed again")
    if last:
        _replace(path, b"".join(line + b"\n" for line in lines))
    return done


def _append(path: Path, lines: list[str]) -> list[str]:
    """Append whole lines to a file. Return those that could not be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            size = file.tell()
            try:
                file.write("".join(line + "\n" for line in lines).encode())
                file.flush()
            except OSError:
                os.truncate(path, size)
                raise
    except OSError as error:
        _say(f"{path} could not be written ({error}). {len(lines)} cells wait for the next one")
        return lines
    return []


def _replace(path: Path, content: bytes) -> None:
    """Exchange the content of a file, all of it or nothing."""
    new = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        new.write_bytes(content)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def _write_csv(path: Path, rows: list[Row]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _in_a_fork(work: Callable[[Cell], list[Row]], cell: Cell) -> list[Row]:
    if "fork" not in multiprocessing.get_all_start_methods():
        return work(cell)
    # The data are shared with the parent, which has computed nothing with torch so far: a fork of a
    # process whose thread pools are running would hang.
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    end_of_parent, alive = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(work, cell, sender, end_of_parent, alive))
    process.start()
    sender.close()
    end_of_parent.close()
    try:
        output = receiver.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"its process ended with code {process.exitcode}") from None
    except BaseException:
        process.terminate()
        raise
    process.join()
    if isinstance(output, str):
        raise RuntimeError(output)
    return output


def _answer(
    work: Callable[[Cell], list[Row]],
    cell: Cell,
    sender: Connection,
    end_of_parent: Connection,
    alive: Connection,
) -> None:
    alive.close()  # only the parent holds it, so that it closes when the parent dies
    threading.Thread(target=_end_with_parent, args=(end_of_parent,), daemon=True).start()
    try:
        sender.send(work(cell))
    except BaseException:
        sender.send(traceback.format_exc())


def _end_with_parent(end_of_parent: Connection) -> None:
    """Wait for the parent to die, then end this process."""
    try:
        end_of_parent.recv()
    finally:
        os._exit(1)


def run_information() -> dict[str, str]:
    """What a number needs to be believed: commit, machine, versions.

    Returns
    -------
    dict of str to str
        ``commit`` (``"unknown"`` outside a checkout, with ``"+"`` if files differ from it),
        ``machine``, ``python``, ``torch``.
    """
    from importlib.metadata import PackageNotFoundError, version

    here = Path(__file__).parent
    try:
        commit = _output(["git", "rev-parse", "--short", "HEAD"], here)
        commit += "+" if _output(["git", "status", "--porcelain", "-uno"], here) else ""
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = "none"
    return {
        "commit": commit,
        "machine": _processor(),
        "python": platform.python_version(),
        "torch": torch,
    }


def _output(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _processor() -> str:
    """Model and number of processors."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in information.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {available} processors"
