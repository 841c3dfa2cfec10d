"""The tables of docs/benchmarks/ are the figures of the CSV files beside them."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.stem != "index")
FILES = sorted(FOLDER.glob("*.csv"))


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", FOLDER / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tables_of_a_page_are_those_of_its_csv_file(page: Path, tables: ModuleType) -> None:
    text = page.read_text()
    markers = tables.MARKER.findall(text)
    assert markers
    assert all(written == tables.table(options) for options, written in markers)
    assert text.count("<!-- table:") == len(markers)
    assert tables.render(text) == text


def test_a_table_shows_each_figure_under_its_method_and_share() -> None:
    text = (FOLDER / "dsads.md").read_text()
    lines = [_cells(line) for line in re.findall(r"^\|.*$", text, re.M)]
    shown = {line[0]: line[1:5] for line in lines[2:]}
    with (FOLDER / "dsads.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "macro_f1"]
    shares = ["0", "0.2", "0.4", "0.6"]
    compared = 0
    for row in rows:
        if row["method"] in shown and row["share_missing"] in shares:
            entry = shown[row["method"]][shares.index(row["share_missing"])].split(" ")[0]
            assert float(entry) == float(row["mean"])
            compared += 1
    assert compared > 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_csv_file_has_one_row_a_figure_with_its_commit(path: Path, tables: ModuleType) -> None:
    rows = tables.read(path.name)
    assert list(rows[0]) == tables.COLUMNS
    keys = {tuple(row[name] for name in tables.COLUMNS[:4]) for row in rows}
    assert len(keys) == len(rows)
    for row in rows:
        assert float(row["mean"]) > -1
        assert row["commit"] == "published" or re.match(r"[0-9a-f]{7}\b", row["commit"])


def test_every_csv_file_is_named_on_a_page() -> None:
    text = "".join(page.read_text() for page in PAGES)
    assert [path.name for path in FILES if path.name not in text] == []


def test_every_page_is_in_the_index() -> None:
    index = (FOLDER / "index.md").read_text()
    assert [page.name for page in PAGES if f"({page.name})" not in index] == []


def test_the_figures_of_the_readme_are_those_of_the_csv_files(tables: ModuleType) -> None:
    text = (FOLDER.parents[1] / "README.md").read_text()
    rows = re.findall(r"^\| \[.*?\]\(docs/benchmarks/(\w+)\.md\)(.*)$", text, re.M)
    shares = ["0", "0.2", "0.4", "0.6"]
    columns = ["PatternRidge", "Maestro|Fusion|Trace", "HistGradientBoosting", "ExtraTrees"]
    assert len(rows) == 7
    for page, row in rows:
        cells = _cells(row)[1:]
        assert len(cells) == len(columns)
        for method, cell in zip(columns, cells, strict=True):
            known = {
                tuple(round(float(figures[s]), 1 if page == "engines" else 3) for s in shares)
                for name, figures in _curves(tables.read(f"{page}.csv"))
                if re.match(method, name) and set(shares) <= figures.keys()
            }
            figures = tuple(float(number) for number in re.findall(r"\d*\.\d+", cell))
            assert figures in known or cell in ("not run", "see below"), (page, cell)


def test_the_figures_of_the_guide_are_those_of_the_csv_files(tables: ModuleType) -> None:
    text = (FOLDER.parent / "user_guide.md").read_text()
    rows = re.findall(r"^\| \[.*?\]\(benchmarks/(\w+)\.md\)(.*)$", text, re.M)
    columns = ["PatternRidge", "Maestro", "Fusion", "Trace|Maestro", "(?!Pattern|Fusion|Trace)"]
    compared = 0
    for page, row in rows:
        digits = 1 if page == "engines" else 3
        for method, cell in zip(columns, _cells(row), strict=True):
            known = {
                (round(float(figures["0"]), digits), round(float(figures["0.4"]), digits))
                for name, figures in _curves(tables.read(f"{page}.csv"))
                if re.match(method, name) and {"0", "0.4"} <= figures.keys()
            }
            for pair in re.findall(r"(\d*\.\d+)\**, \**(\d*\.\d+)", cell):
                assert tuple(map(float, pair)) in known, (page, cell)
                compared += 1
    assert len(rows) == 10
    assert compared > 35


def _curves(rows: list[dict[str, str]]) -> list[tuple[str, dict[str, str]]]:
    """For each dataset, method and metric the method and the mean at each share."""
    curves: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        key = (row["dataset"], row["method"], row["metric"])
        curves.setdefault(key, {})[row["share_missing"]] = row["mean"]
    return [(key[1], means) for key, means in curves.items()]


def test_the_figure_is_drawn_from_the_csv_files(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    figure = tmp_path / "figure.png"
    command = [sys.executable, FOLDER / "figure.py", "--figure", figure]
    subprocess.run(command, check=True, cwd=tmp_path, env=os.environ | {"MPLBACKEND": "agg"})
    drawn, stored = (image.open(path) for path in (figure, FOLDER / "score_by_missing.png"))
    assert "Hydraulic valve, 17 sensors, PatternRidge: [(0.0, 0.996)" in drawn.info["Description"]
    assert stored.info["Description"] == drawn.info["Description"]
    assert stored.size == drawn.size


def test_figures_of_a_run_replace_those_of_their_rows(tmp_path: Path) -> None:
    for name in ("tables.py", "record.py"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "set.csv").write_text(
        "dataset,method,share_missing,metric,mean,sd,folds,commit\n"
        "set,trees,0,ece,0.500,,1,old\nset,other,0,ece,0.600,,1,old\n"
    )
    (tmp_path / "set.md").write_text(
        "<!-- table: set.csv; dataset: set; metrics: ece, f1; shares: 0, 0.4 -->\n"
    )
    cells = [
        {
            "cell": {"method": "forest", "fold": fold, "seed": 0},
            "rows": [
                {"fraction": 0.0, "error": 0.1 + fold / 10, "f1": 0.9},
                {"fraction": 0.4, "error": 0.3, "f1": None},
            ],
        }
        for fold in (0, 1)
    ]
    (tmp_path / "cells.jsonl").write_text("".join(json.dumps(cell) + "\n" for cell in cells))
    command = ["record.py", "cells.jsonl", "set.csv", "--dataset", "set", "--commit", "new"]
    options = ["--metrics", "error=ece", "f1", "--rename", "forest=trees"]
    subprocess.run([sys.executable, *command, *options], cwd=tmp_path, check=True)

    text = (tmp_path / "set.md").read_text()
    assert "| trees | .150 (.071) | .300 (.000) | .900 (.000) |  | 2 | new |" in text
    assert "| other | .600 |  |  |  | 1 | old |" in text
