import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mts_fusion.benchmarks import _cells
from mts_fusion.benchmarks._cells import run_cells

CELLS = [{"method": "a", "seed": seed} for seed in range(3)]


def rows_of(cell):
    return [{"fraction": f, "score": cell["seed"] + f} for f in (0.0, 0.5)]


@pytest.mark.parametrize("isolate", [True, False])
def test_rows_carry_their_cell(isolate):
    rows = run_cells(CELLS, rows_of, table="t", isolate=isolate)
    assert rows[3] == {"method": "a", "seed": 1, "fraction": 0.5, "score": 1.5}
    assert len(rows) == 6


def test_what_is_done_is_not_done_again(tmp_path):
    run_cells(CELLS[:2], rows_of, table="t", out=tmp_path)

    def only_the_third(cell):
        assert cell["seed"] == 2
        return rows_of(cell)

    rows = run_cells(CELLS, only_the_third, table="t", out=tmp_path)
    assert len(rows) == 6
    with (tmp_path / "t.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6
    line = json.loads((tmp_path / "t.jsonl").read_text().splitlines()[0])
    assert {"cell", "rows", "commit", "machine", "torch"} <= set(line)


def test_a_line_cut_by_a_kill_is_computed_again(tmp_path):
    run_cells(CELLS[:2], rows_of, table="t", out=tmp_path)
    path = tmp_path / "t.jsonl"
    path.write_text(path.read_text()[:-20])
    assert len(run_cells(CELLS, rows_of, table="t", out=tmp_path)) == 6
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 3


@pytest.mark.parametrize("death", ["raises", "dies"])
def test_a_cell_that_fails_leaves_the_others(tmp_path, capfd, death):
    def work(cell):
        if cell["seed"] == 1:
            if death == "dies":
                os._exit(9)
            raise ValueError("no such thing")
        return rows_of(cell)

    rows = run_cells(CELLS, work, table="t", out=tmp_path)
    assert [row["seed"] for row in rows] == [0, 0, 1, 2, 2]
    wanted = "no such thing" if death == "raises" else "its process ended with code 9"
    assert wanted in rows[2]["error"]
    assert wanted in capfd.readouterr().err
    assert len(run_cells(CELLS, rows_of, table="t", out=tmp_path)) == 6


DAMAGED = {
    "cut": b'{"cell": {"method": "a", "se',
    "cut inside a character": '{"cell": {"method": "\u00e4'.encode()[:-1],
    "no dict": b"[1, 2]",
    "without rows": b'{"cell": {"method": "a", "seed": 0}}',
    "rows that are none": b'{"cell": {"method": "a", "seed": 0}, "rows": [1]}',
    "nested": b"[" * 100_000,
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_line_is_reported_by_number_and_the_rest_is_used(tmp_path, capfd, kind):
    run_cells(CELLS, rows_of, table="t", out=tmp_path)
    path = tmp_path / "t.jsonl"
    first, _, third = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, DAMAGED[kind], third, b""]))

    def only_the_second(cell):
        assert cell["seed"] == 1
        return rows_of(cell)

    capfd.readouterr()
    assert len(run_cells(CELLS, only_the_second, table="t", out=tmp_path)) == 6
    assert "t.jsonl, line 2 is damaged" in capfd.readouterr().err


def test_the_repair_of_a_file_is_all_or_nothing(tmp_path, monkeypatch):
    run_cells(CELLS[:2], rows_of, table="t", out=tmp_path)
    path = tmp_path / "t.jsonl"
    cut = path.read_bytes()[:-20]
    path.write_bytes(cut)

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_cells.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        run_cells(CELLS, rows_of, table="t", out=tmp_path)
    assert path.read_bytes() == cut
    assert {p.name for p in tmp_path.iterdir()} == {"t.jsonl", "t.csv"}


class _FullDisk(io.FileIO):
    """Writes a part of what it is given."""

    def write(self, content):
        super().write(content[:9])
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_said_and_the_lines_follow_with_a_later_cell(tmp_path, monkeypatch, capfd):
    really, calls = Path.open, []

    def open_(self, mode="r", **options):
        if self.name == "t.jsonl" and mode == "ab":
            calls.append(self)
            if len(calls) == 2:
                return _FullDisk(self, "ab")
        return really(self, mode, **options)

    monkeypatch.setattr(Path, "open", open_)
    assert len(run_cells(CELLS, rows_of, table="t", out=tmp_path)) == 6
    assert "t.jsonl could not be written ([Errno 28] No space left" in capfd.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [line["cell"]["seed"] for line in lines] == [0, 1, 2]


SLEEPS = """
import os, sys, time
from mts_fusion.benchmarks._cells import run_cells

def work(cell):
    print(os.getpid(), flush=True)
    time.sleep(60)

run_cells([{"a": 1}], work, table="t")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cells have no process of their own")
def test_no_child_computes_when_its_parent_was_killed():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SLEEPS]
    pipe = subprocess.PIPE
    parent = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)
    assert int(parent.stdout.readline()) != parent.pid
    parent.kill()
    # The pipe closes with the last process that holds it, and the child has a minute to sleep.
    parent.communicate(timeout=30)
