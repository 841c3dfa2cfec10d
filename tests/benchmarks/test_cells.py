import csv
import json
import os

import pytest

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
