"""Every example runs offline, from anywhere, and saves its figure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("plot_*.py"))
JOURNEYS = {"plot_wearable", "plot_ward"}  # in test_journeys.py


def test_examples_say_what_they_show() -> None:
    assert len(EXAMPLES) >= 4
    for path in EXAMPLES:
        title, line = path.read_text().removeprefix('"""\n').splitlines()[:2]
        assert line == "=" * len(title), path.name


def test_the_live_example_prints_a_line_a_window() -> None:
    path = EXAMPLES[0].with_name("live_wristband.py")
    done = subprocess.run(
        [sys.executable, path, "--max-epochs", "1"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(path.parents[1])},
        timeout=300,
    )
    lines = done.stdout.splitlines()[1:]
    assert len(lines) == 23  # of twelve minutes; the last one ends with the streams
    assert lines[0].endswith("bvp eda temp hr")
    assert lines[-1].endswith(" hr")


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if path.stem not in JOURNEYS], ids=lambda path: path.stem
)
def test_example_runs_and_saves_its_figure(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = tmp_path / "figure.png"
    subprocess.run(
        [sys.executable, path, "--figure", figure],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg"},
        timeout=900,
    )
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]
